"""The explanation of a run on disk: one folder, whole or absent, found again by what it was made from.

    RUNS/explanations/mnist-with-record-s0-1a2b3c4d-grad-cam-0123456789ab/
        explanation.json  what was explained, how, and the summary of each layer (`ExplanationRecord`)
        arrays.npz        per image; see `Explanation.arrays`
        manifest.sha256   of both (`speedcore.store.folders`)
    RUNS/explanations/set-aside/…  explanations that were damaged, whole, as they were found

Maps are kept as they come: signed, fp32, at the method's own resolution. Colour comes later, in the overlay.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import JsonValue, ValidationError

from explain.attribution.geometry import Extent
from explain.metrics import Score
from explain.models import ExplainError
from explain.selection import Gallery
from speedcore import limits
from speedcore.errors import Damaged, notice
from speedcore.recipe import Frozen
from speedcore.store import reading
from speedcore.store.fields import Count, Line, Name, Seed, Share
from speedcore.store.folders import MANIFEST, Folder, set_aside, staged

SCHEMA_VERSION: Literal[3] = 3
_RECORD, _ARRAYS = "explanation.json", "arrays.npz"
FOLDER = "explanations"
Target = Literal["true", "predicted"]
TARGETS: tuple[Target, ...] = ("true", "predicted")


class LayerRecord(Frozen):
    """One explained layer, or the image itself (module "image"). `top` to `right`: the rectangle of the image that its
    cells tile, in pixels.

    exact: whether that follows from strides and padding; else the map is stretched over the image. n: measured images.
    dead: share of them whose true-class map is empty (`metrics.is_empty`). gini: mean concentration of the others.
    score: relevance mass of the true-class maps, and controls: "uniform", "gaussian", "another_image", "wrong_class",
    "untrained", both where masks exist. flip_consistency: mean, where they do not.
    """

    module: str
    height: int
    width: int
    top: float
    left: float
    bottom: float
    right: float
    exact: bool
    n: Count
    dead: Share
    gini: float | None
    score: Score | None = None
    controls: dict[str, Score] = {}
    flip_consistency: float | None = None

    @property
    def extent(self) -> Extent:
        return Extent(self.top, self.left, self.bottom, self.right, self.exact)


class CascadeRecord(Frozen):
    """Parameter randomisation (`metrics.parameter_randomisation`), means over `images` measured images.

    modules: re-initialised one after the other, from the head down. similarity: layer -> a rank correlation with the trained
    network's map a step, None where no map is alive. another_image: layer -> that of two different images' maps, the trained
    network's both: how alike any two maps are, below which no cascade need fall.
    """

    modules: tuple[str, ...]
    images: int
    similarity: dict[str, tuple[float | None, ...]]
    another_image: dict[str, float | None]


class ExplanationRecord(Frozen):
    """explanation.json. method: its name in `explain.METHODS`; how: what that is, with its constants, in words. cascade: of
    methods that explain layers. sealed: whether a manifest belongs to it; older explanations have none."""

    schema_version: Literal[3] = SCHEMA_VERSION
    run: Name
    weights_sha256: str
    dataset: Line
    fingerprint: Line
    classes: tuple[str, ...]
    arm: Name
    seed: Seed
    method: Name
    how: str
    gallery: Gallery
    measured: str
    foreground: str | None
    wrong_class: str = "the class after the true one, the first after the last"
    layers: dict[str, LayerRecord]
    cascade: CascadeRecord | None = None
    arrays_sha256: str
    provenance: dict[str, JsonValue]
    sealed: bool = False


@dataclass(frozen=True)
class Explanation:
    """A finished explanation on disk.

    arrays: gallery_index, gallery_label, gallery_predicted (g,) int64, gallery_confidence (g,) float32 and
    LAYER_true, LAYER_predicted (g, h, w) float32 of the gallery's images; measured_index (m,) int64 and, an image,
    LAYER_dead, LAYER_gini, LAYER_flip_consistency or foreground, LAYER_ceiling, LAYER_mass_KIND (m,) float64; LAYER_class_mean
    (K, h, w) float32, for each class the mean over its measured images of the true-class maps' positive part (an empty map has
    none; a class without images has NaN).
    """

    path: Path
    record: ExplanationRecord
    arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, path: Path | str) -> Explanation:
        """Read an explanation and compare all of it with its manifest.

        Raises Damaged naming the file that is not what was written, ExplainError for one of another version.
        """
        folder = Folder(Path(path), (_RECORD, _ARRAYS), "remove the folder to have it made again")
        text, _ = folder.content(_RECORD, limits.RECORD)
        try:
            version = reading.json_object(text).get("schema_version")
            if version != SCHEMA_VERSION:
                raise ExplainError(f"{path} was written with explanation schema {version!r}, this version reads "
                                   f"{SCHEMA_VERSION}; {folder.cure}.")
            record = ExplanationRecord.model_validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise folder.damaged(_RECORD, f"field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except ValueError as error:
            raise folder.damaged(_RECORD, error) from None
        if record.sealed != folder.checked:
            raise folder.damaged(MANIFEST, "it is missing" if record.sealed else "it does not belong to this explanation")
        content, digest = folder.content(_ARRAYS, limits.ARRAYS)
        if digest != record.arrays_sha256:
            raise folder.damaged(_ARRAYS, f"its sha256 is not arrays_sha256 of {_RECORD}")
        try:
            arrays = reading.arrays(content)
            _compare(record, arrays)
            return cls(folder.path, record, arrays)
        except KeyError as error:
            raise folder.damaged(_ARRAYS, f"it has no array {error}") from None
        except ValueError as error:
            raise folder.damaged(_ARRAYS, error) from None

    def maps(self, layer: str, target: Target = "true") -> Float[np.ndarray, "g h w"]:
        """Signed maps of the gallery's images at `layer` ("middle", "last"; "image" for methods that explain no layer)."""
        if layer not in self.record.layers or target not in TARGETS:
            raise ExplainError(f"there are no maps for layer '{layer}' and target '{target}'; layers: "
                               f"{', '.join(self.record.layers)}; targets: {', '.join(TARGETS)}.")
        return self.arrays[f"{layer}_{target}"]


def _compare(record: ExplanationRecord, arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if the record's summaries are not those of the arrays."""
    def check(what: str, recorded: float | None, values: np.ndarray | None) -> None:
        known = values[~np.isnan(values)] if values is not None else []
        found = float(np.mean(known)) if len(known) else None
        if recorded is None or found is None:
            same = recorded is found
        else:
            same = math.isclose(recorded, found, rel_tol=1e-5, abs_tol=1e-6)
        if not same:
            raise ValueError(f"the record's {what} is {recorded}, and these numbers say {found}")

    shown, measured = len(record.gallery.indices), len(arrays["measured_index"])
    for name, layer in record.layers.items():
        for target in TARGETS:
            if arrays[f"{name}_{target}"].shape != (shown, layer.height, layer.width):
                raise ValueError(f"maps of layer '{name}' are not {shown} of {layer.height}×{layer.width} cells")
        if layer.n != measured:
            raise ValueError(f"the record's {name}: n is {layer.n}, and {measured} images were measured")
        check(f"{name}: dead", layer.dead, arrays[f"{name}_dead"].astype(float))
        check(f"{name}: gini", layer.gini, arrays[f"{name}_gini"])
        check(f"{name}: flip_consistency", layer.flip_consistency, arrays.get(f"{name}_flip_consistency"))
        if layer.score is not None:
            check(f"{name}: mass", layer.score.mass, arrays[f"{name}_mass_true"])


def find(path: Path) -> Explanation | None:
    """The explanation in the folder `path`; None if there is none, or a damaged one, which is named and set aside, whole."""
    if not os.path.lexists(path):
        return None
    try:
        return Explanation.open(path)
    except Damaged as error:
        notice(f"{error} It was set aside, in {set_aside(path)}, and is made again.")
        return None


def save(path: Path, arrays: Mapping[str, np.ndarray], **fields: Any) -> Explanation:
    """Write an explanation so that it exists whole or not at all; `fields` are those of `ExplanationRecord`."""
    named: dict[str, Any] = {**arrays}  # Any: savez has keywords of its own beside the names
    with staged(path) as folder:
        np.savez(folder / _ARRAYS, **named)
        digest = reading.sha256_of(folder / _ARRAYS, limits.ARRAYS)
        record = ExplanationRecord(arrays_sha256=digest, sealed=True, **fields)
        (folder / _RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Explanation(path, record, dict(arrays))
