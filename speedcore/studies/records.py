"""Results of studies on disk, beside the runs: RUNS/studies/STUDY-…/result.json, whole or absent, found again by what was asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, JsonValue

from speedcore.data.dataset import Dataset
from speedcore.errors import RunError
from speedcore.ladders.scale import Scale, ScaleTable
from speedcore.machine import provenance
from speedcore.machine.device import resolve
from speedcore.recipe import Frozen, Recipe
from speedcore.store import records
from speedcore.store.fields import Count, Line, Name
from speedcore.store.runs import RunStore
from speedcore.studies.findings import Finding

Record = TypeVar("Record", bound=Frozen)
FILE = "result.json"


class StudyRecord(Frozen):
    """What every study's result says: on which data, from which recipe, at which scale, on what machine.

    train_images: of the scaled data set. scale: `Scale` as a table. device: "cpu" or "cuda". left_out: what had to wait, in
    sentences.
    """

    version: Literal[1] = 1
    study: Name
    dataset: Line
    fingerprint: Line
    official: bool
    classes: Annotated[int, Field(ge=1, le=2**31)]
    train_images: Count
    recipe: Recipe
    scale: ScaleTable
    device: Name
    left_out: tuple[str, ...] = ()
    provenance: dict[str, JsonValue]

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


def common(study: str, small: Dataset, recipe: Recipe, scale: Scale, device: str) -> dict[str, Any]:
    """The fields that all records share. small: the scaled data set; recipe: what the study's recipes are made from."""
    on = resolve(device)
    return {"study": study, "dataset": small.name, "fingerprint": small.fingerprint, "official": small.provenance.official,
            "classes": len(small.classes), "train_images": len(small.train), "recipe": recipe, "scale": vars(scale),
            "device": on.type, "provenance": provenance.collect(on)}


def folder(store: RunStore, study: str, asked: list[Any]) -> Path:
    """Where the answer to `asked` (plain data) lies."""
    return store.root / "studies" / f"{study}-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]}"


def write(path: Path, record: Frozen) -> Path:
    """Keep `record` as the answer that lies at `path`, in place of an earlier one. Raises RunError."""
    return records.write(path / FILE, record)


def read(path: Path, kind: type[Record]) -> Record | None:
    """The record in the folder `path`; None if there is none, or a damaged one, which is named and set aside: it is made
    again."""
    return records.take(path / FILE, kind, whole=path)


def just_kept(path: Path, kind: type[Record]) -> Record:
    """The record that this process has put into the folder `path`. Raises RunError if somebody took it away."""
    found = read(path, kind)
    if found is None:
        raise RunError(f"{path} was removed while it was being written; run the same command again.")
    return found


def stored(store: RunStore, study: str, kind: type[Record]) -> Iterator[Record]:
    """The results of `study` beside the runs, in the order of their folders' names; damaged ones are named and left out."""
    for path in sorted((store.root / "studies").glob(f"{study}-*/{FILE}")):
        # Results of other studies, or of earlier versions, may begin with the same name.
        if records.field(path, "study", otherwise=study) == study and (found := records.look(path, kind)) is not None:
            yield found


def looked_at(store: RunStore, pattern: str, kind: type[Record]) -> Iterator[Record]:
    """The records in the folders beside the runs whose names fit `pattern`, in their order; damaged ones are named and left
    out."""
    for path in sorted((store.root / "studies").glob(f"{pattern}/{FILE}")):
        if (found := records.look(path, kind)) is not None:
            yield found
