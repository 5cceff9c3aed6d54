"""The explanation of a run on disk: one folder, whole or absent, found again by what it was made from.

    RUNS/explanations/mnist-with-record-s0-1a2b3c4d-grad-cam-0123456789ab/
        explanation.json  what was explained, how, and the summary of each layer (`ExplanationRecord`)
        arrays.npz        per image; see `Explanation.arrays`

Maps are kept as they come: signed, fp32, at the method's own resolution. Colour comes later, in the overlay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import ValidationError

from explain.geometry import Extent
from explain.metrics import Score
from explain.models import ExplainError
from explain.selection import Gallery
from speedcore.recipe import Frozen
from speedcore.runs import staged

SCHEMA_VERSION = 3
FOLDER = "explanations"
TARGETS = ("true", "predicted")
Target = Literal["true", "predicted"]


class LayerRecord(Frozen):
    """One explained layer, or the image itself (module "image"). `top` to `right`: the rectangle of the image that its
    cells tile, in pixels.

    exact: whether that follows from strides and padding; else the map is stretched over the image. n: measured images.
    dead: share of them whose true-class map is dead (`metrics.is_dead`). gini: mean concentration of the others.
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
    n: int
    dead: float
    gini: float | None
    score: Score | None = None
    controls: dict[str, Score] = {}
    flip_consistency: float | None = None

    @property
    def extent(self) -> Extent:
        return Extent(self.top, self.left, self.bottom, self.right, self.exact)


class CascadeRecord(Frozen):
    """Parameter randomisation (`metrics.parameter_randomisation`), means over `images` measured images.

    modules: drawn anew one after the other, from the head down. similarity: layer -> a rank correlation with the trained
    network's map a step, None where no map is alive. another_image: layer -> that of two different images' maps, the trained
    network's both: how alike any two maps are, below which no cascade need fall.
    """

    modules: tuple[str, ...]
    images: int
    similarity: dict[str, tuple[float | None, ...]]
    another_image: dict[str, float | None]


class ExplanationRecord(Frozen):
    """explanation.json. method: its name in `explain.METHODS`; how: what that is, with its constants, in words. cascade: of
    methods that explain layers."""

    schema_version: Literal[3] = SCHEMA_VERSION
    run: str
    weights_sha256: str
    dataset: str
    fingerprint: str
    classes: tuple[str, ...]
    arm: str
    seed: int
    method: str
    how: str
    gallery: Gallery
    measured: str
    foreground: str | None
    wrong_class: str = "the class after the true one, the first after the last"
    layers: dict[str, LayerRecord]
    cascade: CascadeRecord | None = None
    arrays_sha256: str
    provenance: dict


@dataclass(frozen=True)
class Explanation:
    """A finished explanation on disk.

    arrays: gallery_index, gallery_label, gallery_predicted (g,) int64, gallery_confidence (g,) float32 and
    LAYER_true, LAYER_predicted (g, h, w) float32 of the gallery's images; measured_index (m,) int64 and, an image,
    LAYER_dead, LAYER_gini, LAYER_flip_consistency or foreground, LAYER_ceiling, LAYER_mass_KIND (m,) float64; LAYER_class_mean
    (K, h, w) float32, for each class the mean over its measured images of the true-class maps' positive part (a dead map has
    none; a class without images has NaN).
    """

    path: Path
    record: ExplanationRecord
    arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, path: Path | str) -> Explanation:
        """Read and verify an explanation. Raises ExplainError naming what is wrong with it."""
        path = Path(path)
        cure = f"remove the folder {path} to have it made again"
        try:
            content = json.loads((path / "explanation.json").read_text(encoding="utf-8"))
            version = content.get("schema_version") if isinstance(content, dict) else None
            if version != SCHEMA_VERSION:
                raise ExplainError(f"{path} was written with explanation schema {version!r}, this version reads "
                                   f"{SCHEMA_VERSION}; {cure}.")
            record = ExplanationRecord.model_validate(content)
            if _digest(path / "arrays.npz") != record.arrays_sha256:
                raise ExplainError(f"{path / 'arrays.npz'} is not the file that was written; {cure}.")
            with np.load(path / "arrays.npz", allow_pickle=False) as arrays:
                return cls(path, record, dict(arrays))
        except FileNotFoundError as error:
            raise ExplainError(f"{path} is not a whole explanation: {Path(error.filename).name} is missing; {cure}.") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ExplainError(f"{path / 'explanation.json'}: field {'.'.join(map(str, first['loc']))}: {first['msg']}; "
                               f"{cure}.") from None
        except (OSError, ValueError) as error:
            raise ExplainError(f"{path} cannot be read ({error}); {cure}.") from None

    def maps(self, layer: str, target: Target = "true") -> Float[np.ndarray, "g h w"]:
        """Signed maps of the gallery's images at `layer` ("middle", "last"; "image" for methods that explain no layer)."""
        if layer not in self.record.layers or target not in TARGETS:
            raise ExplainError(f"there are no maps for layer '{layer}' and target '{target}'; layers: "
                               f"{', '.join(self.record.layers)}; targets: {', '.join(TARGETS)}.")
        return self.arrays[f"{layer}_{target}"]


def save(path: Path, arrays: Mapping[str, np.ndarray], **fields) -> Explanation:
    """Write an explanation so that it exists whole or not at all; `fields` are those of `ExplanationRecord`."""
    with staged(path) as folder:
        np.savez(folder / "arrays.npz", **arrays)
        record = ExplanationRecord(arrays_sha256=_digest(folder / "arrays.npz"), **fields)
        (folder / "explanation.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return Explanation(path, record, dict(arrays))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
