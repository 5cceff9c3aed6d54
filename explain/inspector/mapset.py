"""Heatmaps of one or two runs on the same images, to narrow and to sort: what an `Inspection` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, UInt8

from explain.artefact import Explanation, Target
from explain.attribution.explaining import arm_title
from explain.attribution.masks import foreground
from explain.attribution.methods import METHODS
from explain.inspector.overlay import STRENGTH, Scale, heat, overlay
from explain.metrics.measures import Measure, measures
from explain.models import ExplainError
from speedcore.data.dataset import Dataset


@dataclass(frozen=True)
class MapSet:
    """Heatmaps of one or two runs on the same images. Filters and choices return a new one.

    explanations: of one gallery, method after method, and for each method run after run. layer, target: which maps.
    rows: which of the gallery's images are shown, in this order; None for all. chosen: the method, None the first.
    code: Python that makes this inspection again, as `shown`; "" if it was not made by `inspect` or `compare`.
    """

    dataset: Dataset
    explanations: tuple[Explanation, ...]
    layer: str = "middle"
    target: Target = "true"
    rows: tuple[int, ...] | None = None
    chosen: str | None = None
    code: str = ""

    # --- which maps ----------------------------------------------------------------------------------------------------

    def at(self, layer: str | None = None, target: Target | None = None, method: str | None = None) -> Self:
        """At another layer, for another class, by another method. Raises ExplainError if there are no such maps.

        Where the method has no maps of the layer that was looked at and none is named, its first layer is taken.
        """
        if method is not None and method not in self.methods:
            raise ExplainError(f"there are no maps by '{method}' here; there are {', '.join(self.methods)}. Name it in "
                               f"explain.inspect(…, method=…) to have them made.")
        other = replace(self, chosen=method or self.chosen, target=target or self.target)
        there = other.arms[0].record.layers
        other = replace(other, layer=layer or (self.layer if self.layer in there else next(iter(there))))
        for explanation in other.arms:
            explanation.maps(other.layer, other.target)
        return other

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that there are maps by."""
        return tuple(dict.fromkeys(e.record.method for e in self.explanations))

    @property
    def arms(self) -> tuple[Explanation, ...]:
        """The explanations by the method looked at, one a run."""
        wanted = self.chosen or self.methods[0]
        return tuple(e for e in self.explanations if e.record.method == wanted)

    @property
    def method(self) -> str:
        """What made the maps, as it is written: "Grad-CAM"."""
        name = self.arms[0].record.method
        return METHODS[name].title if name in METHODS else name

    @property
    def names(self) -> tuple[str, ...]:
        """What the runs are called here: their arm, and where that does not tell them apart, seed or key too."""
        records = [e.record for e in self.arms]
        for words in ([arm_title(r.arm) for r in records], [f"{arm_title(r.arm)}, seed {r.seed}" for r in records]):
            if len(set(words)) == len(words):
                return tuple(words)
        return tuple(f"{r.run} ({letter})" for r, letter in zip(records, "AB", strict=False))

    @cached_property
    def scale(self) -> Scale:
        """One for all images and runs by this method at this layer and target; filters do not change it."""
        return Scale.of([e.maps(self.layer, self.target) for e in self.arms], self.method)

    # --- which images --------------------------------------------------------------------------------------------------

    def only(self, cls: str | int | None = None, wrong: bool | str | None = None, disagree: bool | None = None,
             confidence: tuple[float, float] | None = None) -> Self:
        """Only images of class `cls` (name or number), that any run gets wrong (or, if False, none), that the runs predict
        differently (or alike), that any run predicts with a confidence from one bound to the other, 0..1.

        wrong: also "all", what every run gets wrong, or a run's name: what that run alone gets wrong. None leaves a
        condition out. Raises ExplainError for an unknown class or run.
        """
        label = self._first["gallery_label"][self.looked_at]
        predicted, confident = (np.stack([e.arrays[f"gallery_{what}"][self.looked_at] for e in self.arms])
                         for what in ("predicted", "confidence"))
        keep = np.ones(len(label), bool)
        if cls is not None:
            keep &= label == self._class_number(cls)
        if wrong is not None:
            keep &= self._wrong(predicted != label, wrong)
        if disagree is not None:
            keep &= (predicted != predicted[0]).any(0) == disagree
        if confidence is not None:
            keep &= ((confident >= confidence[0]) & (confident <= confidence[1])).any(0)
        return replace(self, rows=tuple(np.asarray(self.looked_at, int)[keep].tolist()))

    def sorted(self, by: str, run: int | str = 0, descending: bool = False) -> Self:
        """In the order of a measure: "index", "confidence", or a name in `measures`.

        run: whose value counts, 0 or 1, or "difference" for the first's less the second's. Images without a value come
        last; of equal ones the order stays. Raises ExplainError.
        """
        known = {"index": np.stack([self._first["gallery_index"]] * len(self.arms)),
                 "confidence": np.stack([e.arrays["gallery_confidence"] for e in self.arms]),
                 **{name: measure.values for name, measure in self.measures.items()}}
        if by not in known:
            raise ExplainError(f"nothing is called '{by}' here; sort by {', '.join(known)}.")
        values = known[by].astype(np.float64)
        if run != "difference" and run not in range(len(values)) or run == "difference" and len(values) != 2:
            raise ExplainError(f"run must be {' or '.join(map(str, range(len(values))))}"
                               f"{', or difference' if len(values) == 2 else ''}; found {run!r}.")
        value = (values[0] - values[1] if isinstance(run, str) else values[run])[self.looked_at]
        order = np.argsort(np.where(np.isnan(value), np.inf, -value if descending else value), kind="stable")
        return replace(self, rows=tuple(np.asarray(self.looked_at, int)[order].tolist()))

    def image(self, *index: int) -> Self:
        """Only these images, by their row in the test split. Raises ExplainError for one that is not among those shown."""
        place = {self._first["gallery_index"][row]: row for row in self.looked_at}
        if missing := [i for i in index if i not in place]:
            raise ExplainError(f"test image {missing[0]} is not among the {len(place)} that are looked at.")
        return replace(self, rows=tuple(place[i] for i in index))

    @property
    def looked_at(self) -> list[int]:
        """Positions in the gallery of the images looked at, in their order."""
        return list(range(len(self._first["gallery_index"]))) if self.rows is None else list(self.rows)

    # --- what there is to see ------------------------------------------------------------------------------------------

    @property
    def data(self) -> dict[str, Any]:
        """Arrays of the images looked at: image (n, C, H, W) uint8, index, label (n,), and under "runs" for each run
        predicted, confidence (n,) and map (n, h, w): signed, fp32, native resolution.
        """
        rows = self.looked_at
        index = self._first["gallery_index"][rows]
        return {"image": self.dataset.test.images[index].numpy(), "index": index,
                "label": self._first["gallery_label"][rows],
                "runs": {name: {"predicted": e.arrays["gallery_predicted"][rows],
                                "confidence": e.arrays["gallery_confidence"][rows],
                                "map": e.maps(self.layer, self.target)[rows]}
                         for name, e in zip(self.names, self.arms, strict=True)}}

    @cached_property
    def measures(self) -> Mapping[str, Measure]:
        """Name -> measure of all the gallery's images (whatever the filters), for the maps looked at."""
        index = self.dataset.test.labels.new_tensor(self._first["gallery_index"])
        return measures([e.maps(self.layer, self.target) for e in self.arms],
                        [e.record.layers[self.layer].extent for e in self.arms], self.dataset.size,
                        foreground(self.dataset, index))

    def means(self) -> dict[str, dict[str, Any]]:
        """Per class, of the images looked at: their number, mean image (C, H, W) 0..255, and for each run the mean of the
        maps' positive parts, upsampled to the image (H, W). Empty maps count as zero. Classes without images are left out.
        """
        content, found = self.data, {}
        heats = {name: heat(run["map"], self.dataset.size, e.record.layers[self.layer].extent)
                 for (name, run), e in zip(content["runs"].items(), self.arms, strict=True)}
        for number, name in enumerate(self.dataset.classes):
            if (of_class := content["label"] == number).any():
                found[name] = {"n": int(of_class.sum()), "image": content["image"][of_class].mean(0),
                               "runs": {run: upsampled[of_class].mean(0) for run, upsampled in heats.items()}}
        return found

    def overlays(self, strength: float = STRENGTH) -> dict[str, UInt8[np.ndarray, "n H W 3"]]:
        """For each run, the images looked at with its maps over them, RGB. strength: opacity at the scale's limit."""
        content = self.data
        return {name: overlay(content["image"], content["runs"][name]["map"], self.scale,
                              e.record.layers[self.layer].extent, strength)
                for name, e in zip(self.names, self.arms, strict=True)}

    @property
    def _first(self) -> dict[str, np.ndarray]:
        return self.explanations[0].arrays

    def _wrong(self, wrong: Bool[np.ndarray, "runs n"], how: bool | str) -> Bool[np.ndarray, " n"]:
        if isinstance(how, bool):
            return wrong.any(0) == how
        if how == "all":
            return np.all(wrong, 0)
        if how not in self.names:
            raise ExplainError(f"wrong is True, False, 'all', or a run: {', '.join(map(repr, self.names))}; found {how!r}.")
        return wrong[self.names.index(how)] & (wrong.sum(0) == 1)

    def _class_number(self, cls: str | int) -> int:
        classes = self.dataset.classes
        if cls in classes:
            return classes.index(cls)
        if isinstance(cls, int) and not isinstance(cls, bool) and 0 <= cls < len(classes):
            return cls
        raise ExplainError(f"there is no class {cls!r}; classes: {', '.join(classes)}, or a number from 0 to "
                           f"{len(classes) - 1}.")
