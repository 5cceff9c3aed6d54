"""Results of studies on disk, beside the runs: RUNS/studies/STUDY-…/result.json, whole or absent, found again by what was asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeVar

import torch
from pydantic import ValidationError

from speedcore import provenance
from speedcore.data.dataset import Dataset
from speedcore.errors import RunError
from speedcore.ladders.scale import Scale
from speedcore.recipe import Frozen, Recipe
from speedcore.runs import RunStore, staged
from speedcore.studies.findings import Finding

Record = TypeVar("Record", bound=Frozen)


class StudyRecord(Frozen):
    """What every study's result says: on which data, from which recipe, at which scale, on what machine.

    train_images: of the scaled data set. scale: `Scale` as a table. device: "cpu" or "cuda". left_out: what had to wait, in
    sentences.
    """

    version: Literal[1] = 1
    study: str
    dataset: str
    fingerprint: str
    official: bool
    classes: int
    train_images: int
    recipe: Recipe
    scale: dict[str, float]
    device: str
    left_out: tuple[str, ...] = ()
    provenance: dict

    @property
    def scaled(self) -> Scale:
        return Scale(**self.scale)

    @property
    def runs(self) -> tuple[str, ...]:
        """Keys of the runs beside that it was made from."""
        return ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What its source found, and whether it is seen here."""
        return ()

    @property
    def caption(self) -> str:
        """What tables and figures are of."""
        official = "" if self.official else " (not the official files)"
        return f"{self.dataset}{official}, {self.scaled.text}; {self.train_images:,} training images, {self.device}"


def common(study: str, small: Dataset, recipe: Recipe, scale: Scale, device: str) -> dict:
    """The fields that all records share. small: the scaled data set; recipe: what the study's recipes are made from."""
    return {"study": study, "dataset": small.name, "fingerprint": small.fingerprint, "official": small.provenance.official,
            "classes": len(small.classes), "train_images": len(small.train), "recipe": recipe, "scale": vars(scale),
            "device": torch.device(device).type, "provenance": provenance.collect(device)}


def folder(store: RunStore, study: str, asked: list) -> Path:
    """Where the answer to `asked` (plain data) lies."""
    return store.root / "studies" / f"{study}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]}"


def write(path: Path, record: Frozen) -> Path:
    with staged(path) as scratch:
        (scratch / "result.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path / "result.json"


def read(path: Path, kind: type[Record]) -> Record | None:
    """The record in the folder `path`; None if there is none. Raises RunError if it cannot be read."""
    try:
        return kind.model_validate_json((path / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(f"{path / 'result.json'} cannot be read ({str(error).splitlines()[0]}); remove the folder to have it "
                       f"measured again.") from None


def stored(store: RunStore, study: str, kind: type[Record]) -> Iterator[Record]:
    """The results of `study` beside the runs, in the order of their folders' names."""
    for path in sorted((store.root / "studies").glob(f"{study}-*/result.json")):
        if _study_of(path) == study:  # results of other studies, or of earlier versions, may begin with the same name
            yield read(path.parent, kind)


def _study_of(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove its folder to have it measured again.") from None
    return content.get("study") if isinstance(content, dict) else None
