"""Look at heatmaps: `inspect` one run, `compare` two. What they return shows itself in any notebook.

    import explain
    pair = explain.compare("runs/shapes-with-…", "runs/shapes-without-…")
    pair                                 # in a notebook: static HTML, no script, no widget
    pair.only(cls="circle", wrong=True)  # the same, narrowed; colours keep their meaning
    pair.at(layer="last").figure()       # a matplotlib figure
    pair.save("pair.html")               # or .png, .svg
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure

from explain import cards, drawing, page
from explain.artefact import Explanation
from explain.explaining import Observer, arm_title, explain_run, explain_runs
from explain.methods import METHODS
from explain.models import ExplainError
from explain.overlay import Scale, overlay
from speedcore import data as datasets
from speedcore.data.dataset import Dataset
from speedcore.errors import RunError
from speedcore.runs import Run, RunStore


def inspect(run: Run | Path | str, dataset: Dataset | None = None, *, layer: str | None = None, target: str = "true",
            root: Path | str | None = None, images_per_class: int | None = None, method: str = "grad-cam",
            observer: Observer | None = None) -> Inspection:
    """Heatmaps of one run: the first test images of each class, and images that it gets wrong.

    run: a run, its folder, or its name in the store of runs. dataset: None loads the run's own. layer: "middle"
    (14-16 cells a side), "last", or "image" for a method that explains no layer; None takes the first of these that there
    is. target: maps for the "true" or the "predicted" class. method: a name in `explain.METHODS`. Maps are made once and
    kept in `root`/explanations (None: beside the run). observer: told of progress. Raises UserError.
    """
    run = opened(run)
    dataset = dataset or datasets.load(run.record.data.name)
    made = explain_run(run, dataset, root, images_per_class=images_per_class, method=method, observer=observer)
    return Inspection(dataset, (made,)).at(layer or next(iter(made.record.layers)), target)


def compare(first: Run | Path | str, second: Run | Path | str, dataset: Dataset | None = None, *, layer: str | None = None,
            target: str = "true", root: Path | str | None = None, images_per_class: int | None = None,
            method: str = "grad-cam", observer: Observer | None = None) -> Inspection:
    """Heatmaps of two runs of one data set side by side, on the same images and one scale. Otherwise as `inspect`.

    Shown are the first test images of each class, and images that exactly one of the two gets wrong.
    """
    first, second = opened(first), opened(second)
    dataset = dataset or datasets.load(first.record.data.name)
    made = tuple(arm[0] for arm in explain_runs([first], [second], dataset, root, images_per_class, observer=observer,
                                                method=method))
    return Inspection(dataset, made).at(layer or next(iter(made[0].record.layers)), target)


@dataclass(frozen=True)
class Inspection:
    """Heatmaps of one or two runs on the same images. Filters and choices return a new one.

    explanations: of one gallery. rows: which of its images are looked at; None for all.
    """

    dataset: Dataset
    explanations: tuple[Explanation, ...]
    layer: str = "middle"
    target: str = "true"
    rows: tuple[int, ...] | None = None

    def at(self, layer: str | None = None, target: str | None = None) -> Inspection:
        """At another layer, or for another class. Raises ExplainError if there are no such maps."""
        other = replace(self, layer=layer or self.layer, target=target or self.target)
        for explanation in other.explanations:
            explanation.maps(other.layer, other.target)
        return other

    def only(self, cls: str | int | None = None, wrong: bool | None = None, disagree: bool | None = None) -> Inspection:
        """Only images of class `cls` (name or number), that any run gets wrong (or none does), that the runs answer
        differently (or alike). None leaves a condition out. Raises ExplainError for an unknown class.
        """
        keep = np.isin(np.arange(len(self._first["gallery_label"])), self._rows)
        answers = np.stack([e.arrays["gallery_predicted"] for e in self.explanations])
        if cls is not None:
            keep &= self._first["gallery_label"] == self._class_number(cls)
        if wrong is not None:
            keep &= (answers != self._first["gallery_label"]).any(0) == wrong
        if disagree is not None:
            keep &= (answers != answers[0]).any(0) == disagree
        return replace(self, rows=tuple(np.flatnonzero(keep).tolist()))

    @cached_property
    def scale(self) -> Scale:
        """One for all images and runs at this layer and target; filters do not change it."""
        return Scale.of([e.maps(self.layer, self.target) for e in self.explanations], self.method)

    @property
    def data(self) -> dict:
        """Arrays of the images looked at: image (n, C, H, W) uint8, index, label (n,), and under "runs" for each run
        predicted, confidence (n,) and map (n, h, w): signed, fp32, native resolution.
        """
        rows = self._rows
        index = self._first["gallery_index"][rows]
        return {"image": self.dataset.test.images[index].numpy(), "index": index,
                "label": self._first["gallery_label"][rows],
                "runs": {name: {"predicted": e.arrays["gallery_predicted"][rows],
                                "confidence": e.arrays["gallery_confidence"][rows],
                                "map": e.maps(self.layer, self.target)[rows]}
                         for name, e in zip(self.names, self.explanations, strict=True)}}

    @property
    def names(self) -> tuple[str, ...]:
        """What the runs are called here: their arm, and where that does not tell them apart, seed or key too."""
        records = [e.record for e in self.explanations]
        for words in ([arm_title(r.arm) for r in records], [f"{arm_title(r.arm)}, seed {r.seed}" for r in records]):
            if len(set(words)) == len(words):
                return tuple(words)
        return tuple(f"{r.run} ({letter})" for r, letter in zip(records, "AB", strict=False))

    @property
    def method(self) -> str:
        """What made the maps, as it is written: "Grad-CAM"."""
        name = self.explanations[0].record.method
        return METHODS[name].title if name in METHODS else name

    def save(self, path: Path | str) -> Path:
        """Write a page (.html) or a figure (.png, .svg). Raises ExplainError."""
        path = Path(path)
        if path.suffix not in (".html", ".png", ".svg"):
            raise ExplainError(f"cannot save as '{path.name}': give a name that ends in .html, .png or .svg.")
        try:
            if path.suffix == ".html":
                path.write_text(page.document(cards.page_of(self)), encoding="utf-8")
            else:
                self.figure().savefig(path, dpi=200)
        except OSError as error:
            raise ExplainError(f"cannot write {path}: {error.strerror or error}; choose another place.") from None
        return path

    def figure(self, limit: int = 20) -> Figure:
        """Up to `limit` images, ten to a row, each above its maps, and the scale below. Raises ExplainError if none."""
        return drawing.figure(self, limit)

    def overlays(self) -> dict[str, UInt8[np.ndarray, "n H W 3"]]:
        """For each run, the images looked at with its maps over them, RGB."""
        content = self.data
        return {name: overlay(content["image"], content["runs"][name]["map"], self.scale, e.record.layers[self.layer].extent)
                for name, e in zip(self.names, self.explanations, strict=True)}

    def sections(self) -> list[tuple[str, list[int]]]:
        """The gallery's groups: title and positions among the images looked at; empty groups are left out."""
        position = {row: i for i, row in enumerate(self._rows)}
        found, start = [], 0
        for group in self.explanations[0].record.gallery.groups:
            rows = range(start, start + len(group.indices))
            start += len(group.indices)
            found.append((group.title, [position[row] for row in rows if row in position]))
        return [(title, rows) for title, rows in found if rows]

    def _repr_html_(self) -> str:
        return page.fragment(cards.page_of(self))

    def __repr__(self) -> str:
        return (f"Inspection of {' and '.join(e.record.run for e in self.explanations)}: {len(self._rows)} images, "
                f"{self.method}, layer '{self.layer}', {self.target} class")

    @property
    def _first(self) -> dict[str, np.ndarray]:
        return self.explanations[0].arrays

    @property
    def _rows(self) -> list[int]:
        return list(range(len(self._first["gallery_index"]))) if self.rows is None else list(self.rows)

    def _class_number(self, cls: str | int) -> int:
        classes = self.dataset.classes
        if cls in classes:
            return classes.index(cls)
        if isinstance(cls, int) and not isinstance(cls, bool) and 0 <= cls < len(classes):
            return cls
        raise ExplainError(f"there is no class {cls!r}; classes: {', '.join(classes)}, or a number from 0 to "
                           f"{len(classes) - 1}.")


def opened(run: Run | Path | str) -> Run:
    """The run in that folder, or of that name in the store of runs. Raises RunError."""
    if isinstance(run, Run):
        return run
    if Path(run).is_dir():
        return Run.open(run)
    store = RunStore()
    if found := store.find(str(run)):
        return found
    known = [entry.name for entry in store][:8]
    raise RunError(f"there is no run '{run}': neither a folder nor a name in {store.root}. "
                   + (f"There: {', '.join(known)}." if known else "No run is there; name the folder of one."))
