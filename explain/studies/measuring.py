"""Any preregistered outcome of a finished run: read from its explanation, or measured once and kept beside the runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from explain import metrics
from explain.attribution.explaining import explain_run
from explain.attribution.geometry import Extent, extents, size_of
from explain.attribution.layers import named_layers
from explain.attribution.masks import foreground
from explain.attribution.methods import heatmaps
from explain.claim.outcomes import both_right, normalised_mass
from explain.claim.preregistration import NORMALISED_MASS, Outcome
from explain.metrics import Summary
from explain.models import ExplainError
from explain.selection import first_of_each_class
from speedcore.data.dataset import Dataset
from speedcore.recipe import Frozen
from speedcore.store.fields import Name
from speedcore.store.runs import Run, RunStore
from speedcore.studies import records
from speedcore.techniques.augment import Normalise

# Images of each class, at most, for what takes many passes an image: fifty, and seventeen for the maps and for a control.
_FEW = {"occlusion_agreement": 10, "deletion": 30, "insertion": 30}
VERSION = 3
# Null controls of which the arms' difference may be other than zero: a uniform map or a blob in the middle is the same in both,
# and so is the map of the untrained network, for a pair begins with the same weights.
NULLS = ("wrong_class", "another_image")


class Kept(Frozen):
    """result.json of one outcome of one run. nulls: the same of the null controls that it was taken of."""

    run: Name
    outcome: Outcome
    images: int
    found: Summary
    nulls: dict[str, Summary] = {}


def value(run: Run, pair: tuple[Run, Run], dataset: Dataset, outcome: Outcome, store: RunStore, device: str,
          images_per_class: int) -> float | None:
    """The outcome of `run`, which is one of `pair`; None where nothing could be scored.

    pair: decides which images both arms get right. images_per_class: test images of each class, the first of the split.
    Raises ExplainError for a measure that no run has by itself.
    """
    if outcome.measure == NORMALISED_MASS:
        return _mass(run, pair, dataset, outcome, store, device, images_per_class, "true")
    if outcome.subset == "both right":
        raise ExplainError(f"outcome '{outcome.name}': the subset 'both right' is there for {NORMALISED_MASS} alone.")
    return _kept(run, dataset, outcome, store, device, images_per_class).found.mean


def nulls(run: Run, pair: tuple[Run, Run], dataset: Dataset, outcome: Outcome, store: RunStore, device: str,
          images_per_class: int) -> dict[str, float | None]:
    """The outcome, had the run's maps been those of a null control: of `NULLS`, those that the measure is taken of."""
    if outcome.measure == NORMALISED_MASS:
        return {kind: _mass(run, pair, dataset, outcome, store, device, images_per_class, kind) for kind in NULLS}
    return {kind: found.mean for kind, found in _kept(run, dataset, outcome, store, device, images_per_class).nulls.items()}


def _mass(run: Run, pair: tuple[Run, Run], dataset: Dataset, outcome: Outcome, store: RunStore, device: str,
          images_per_class: int, kind: str) -> float | None:
    explanation = explain_run(run, dataset, store.root, images_per_class=images_per_class, device=device, method=outcome.method)
    rows = both_right(explanation, pair) if outcome.subset == "both right" else None
    return normalised_mass(explanation, outcome, rows, kind)


def _kept(run: Run, dataset: Dataset, outcome: Outcome, store: RunStore, device: str, images_per_class: int) -> Kept:
    asked = [VERSION, run.record.weights_sha256, dataset.fingerprint, outcome.model_dump(exclude={"name", "bound", "subset"}),
             images_per_class]
    path = records.folder(store, f"outcome-{run.record.key}-{outcome.measure}", asked)
    if existing := records.read(path, Kept):
        return existing
    kept = _measure(run, dataset, outcome, device, images_per_class)
    records.write(path, kept)
    return kept


def _measure(run: Run, dataset: Dataset, outcome: Outcome, device: str, images_per_class: int) -> Kept:
    if outcome.measure not in _MEASURES:
        raise ExplainError(f"outcome '{outcome.name}': {outcome.measure} is not the outcome of a single run; choose "
                           f"{', '.join((NORMALISED_MASS, *_MEASURES))}.")
    rows = first_of_each_class(dataset.test.labels, min(images_per_class, _FEW.get(outcome.measure, images_per_class)))
    images = Normalise.of(run.record.data)(dataset.test.images[rows])
    network = run.network().to(device).to(memory_format=torch.channels_last)
    targets = dataset.test.labels[rows]
    if outcome.target == "predicted":
        targets = torch.from_numpy(run.predictions["logits"])[rows].argmax(1)
    measure, module = _MEASURES[outcome.measure], named_layers(network)[outcome.layer]
    wanted = [targets, metrics.wrong_class(targets, len(dataset.classes))]
    true, wrong = heatmaps(network, images, wanted, [module], outcome.method)[module].unbind(1)
    made = _Made(network, images, targets, true, module, extents(network, images[:1], [module])[module], dataset, rows,
                 outcome.method)
    other = metrics.another_image(len(rows)) if len(rows) > 1 else torch.zeros(1, dtype=torch.int64)
    maps = {"wrong_class": wrong, "another_image": true[other]}
    found = {kind: Summary.of(measure.take(made, maps[kind]), metrics.is_empty(maps[kind])) for kind in measure.nulls}
    return Kept(run=run.record.key, outcome=outcome, images=len(rows), nulls=found,
                found=Summary.of(measure.take(made, true), metrics.is_empty(true)))


class _Made:
    """What the measures are given: a network, normalised images, targets, and their true maps at a module with its place."""

    def __init__(self, network: nn.Module, images: Tensor, targets: Tensor, maps: Tensor, module: str, place: Extent,
                 dataset: Dataset, rows: Tensor, method: str):
        self.network, self.images, self.targets, self.maps = network, images, targets, maps
        self.module, self.place, self.dataset, self.rows, self.method = module, place, dataset, rows, method

    @cached_property
    def masks(self) -> Tensor:
        truth = foreground(self.dataset, self.rows)
        if truth is None:
            raise ExplainError(f"data set '{self.dataset.name}' has no object masks, so nothing can be said to lie on an "
                               f"object.")
        return truth.masks

    @cached_property
    def mirrored(self) -> Tensor:
        """Maps of the mirror images, by the same method at the same module."""
        return heatmaps(self.network, self.images.flip(-1), self.targets, [self.module], self.method)[self.module][:, 0]

    @cached_property
    def occluded(self) -> Tensor:
        return next(iter(heatmaps(self.network, self.images, self.targets, method="occlusion").values()))[:, 0]

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.images)


@dataclass(frozen=True)
class _Measure:
    """take: (what was made, maps in the place of the true ones) -> a value an image. nulls: of which controls it is taken too."""

    take: Callable[[_Made, Tensor], Tensor]
    nulls: tuple[str, ...] = NULLS


_MEASURES = {
    "relevance_rank": _Measure(lambda m, maps: metrics.relevance_rank(maps, m.masks, m.place)),
    "pointing_game": _Measure(lambda m, maps: metrics.pointing_game(maps, m.masks, m.place)),
    "gini": _Measure(lambda m, maps: metrics.gini(maps)),
    "entropy": _Measure(lambda m, maps: metrics.entropy(maps)),
    # Seventeen passes an image each: another image's map is the stricter control, for it is a map of this network's own kind.
    "deletion": _Measure(lambda m, maps: metrics.deletion(m.network, m.images, m.targets, maps, m.place), ("another_image",)),
    "insertion": _Measure(lambda m, maps: metrics.insertion(m.network, m.images, m.targets, maps, m.place), ("another_image",)),
    "flip_consistency": _Measure(lambda m, maps: metrics.flip_consistency(maps, m.mirrored, m.size, m.place)),
    "occlusion_agreement": _Measure(lambda m, maps: metrics.occlusion_agreement(maps, m.occluded, m.place)),
}
