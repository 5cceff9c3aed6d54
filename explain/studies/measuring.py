"""Any preregistered outcome of a finished run: read from its explanation, or measured once and kept beside the runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from explain import metrics
from explain.explaining import explain_run
from explain.geometry import Extent, extents
from explain.masks import foreground
from explain.methods import heatmaps
from explain.metrics import Summary
from explain.models import ExplainError
from explain.outcomes import both_right, normalised_mass
from explain.preregistration import NORMALISED_MASS, Outcome
from explain.selection import first_of_each_class
from speedcore.augment import Normalise
from speedcore.data.dataset import Dataset
from speedcore.recipe import Frozen
from speedcore.runs import Run, RunStore, staged

_FEW = 10  # images of each class for what takes fifty passes an image


class Kept(Frozen):
    """result.json of one outcome of one run."""

    run: str
    outcome: Outcome
    images: int
    found: Summary


def value(run: Run, pair: tuple[Run, Run], dataset: Dataset, outcome: Outcome, store: RunStore, device: str,
          images_per_class: int) -> float | None:
    """The outcome of `run`, which is one of `pair`; None where nothing could be scored.

    pair: decides which images both arms get right. images_per_class: test images of each class, the first of the split.
    Raises ExplainError for a measure that no run has by itself.
    """
    if outcome.measure != NORMALISED_MASS:
        if outcome.subset == "both right":
            raise ExplainError(f"outcome '{outcome.name}': the subset 'both right' is there for {NORMALISED_MASS} alone.")
        return _kept(run, dataset, outcome, store, device, images_per_class).mean
    explanation = explain_run(run, dataset, store.root, images_per_class=images_per_class, device=device, method=outcome.method)
    return normalised_mass(explanation, outcome, both_right(explanation, pair) if outcome.subset == "both right" else None)


def _kept(run: Run, dataset: Dataset, outcome: Outcome, store: RunStore, device: str, images_per_class: int) -> Summary:
    asked = [run.record.weights_sha256, dataset.fingerprint, outcome.model_dump(exclude={"name", "bound", "subset"}),
             images_per_class]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:10]
    path = store.root / "studies" / f"outcome-{run.record.key}-{outcome.measure}-{digest}"
    try:
        return Kept.model_validate_json((path / "result.json").read_text(encoding="utf-8")).found
    except FileNotFoundError:
        pass
    except (OSError, ValidationError) as error:
        raise ExplainError(f"{path / 'result.json'} cannot be read ({str(error).splitlines()[0]}); remove the folder {path} to "
                           f"have it measured again.") from None
    found, images = _measure(run, dataset, outcome, device, images_per_class)
    with staged(path) as folder:
        kept = Kept(run=run.record.key, outcome=outcome, images=images, found=found)
        (folder / "result.json").write_text(kept.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return found


def _measure(run: Run, dataset: Dataset, outcome: Outcome, device: str, images_per_class: int) -> tuple[Summary, int]:
    if outcome.measure not in _MEASURES:
        raise ExplainError(f"outcome '{outcome.name}': {outcome.measure} is not the outcome of a single run; choose "
                           f"{', '.join((NORMALISED_MASS, *_MEASURES))}.")
    if outcome.measure == "occlusion_agreement":
        images_per_class = min(images_per_class, _FEW)
    rows = first_of_each_class(dataset.test.labels, images_per_class)
    images = Normalise.of(run.record.data)(dataset.test.images[rows])
    network = run.network().to(device)
    targets = dataset.test.labels[rows]
    if outcome.target == "predicted":
        targets = torch.from_numpy(run.predictions["logits"])[rows].argmax(1)
    module = network.explain_layers[outcome.layer]
    maps = heatmaps(network, images, targets, [module], outcome.method)[module][:, 0]
    place = extents(network, images[:1], [module])[module]
    values = _MEASURES[outcome.measure](_Made(network, images, targets, maps, module, place, dataset, rows, outcome.method))
    return Summary.of(values, metrics.is_dead(maps)), len(rows)


class _Made:
    """What the measures are given: a network, normalised images, targets, and maps of a module with their place."""

    def __init__(self, network: nn.Module, images: Tensor, targets: Tensor, maps: Tensor, module: str, place: Extent,
                 dataset: Dataset, rows: Tensor, method: str):
        self.network, self.images, self.targets, self.maps = network, images, targets, maps
        self.module, self.place, self.dataset, self.rows, self.method = module, place, dataset, rows, method

    @property
    def masks(self) -> Tensor:
        truth = foreground(self.dataset, self.rows)
        if truth is None:
            raise ExplainError(f"data set '{self.dataset.name}' has no object masks, so nothing can be said to lie on an "
                               f"object.")
        return truth.masks

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.images.shape[2:])

    def again(self, images: Tensor, method: str | None = None) -> Tensor:
        """Maps of other images, by the same method at the same module; or of the image by another method."""
        layers = [self.module] if method is None else None
        return next(iter(heatmaps(self.network, images, self.targets, layers, method or self.method).values()))[:, 0]


_MEASURES: dict[str, Callable[[_Made], Tensor]] = {
    "relevance_rank": lambda m: metrics.relevance_rank(m.maps, m.masks, m.place),
    "pointing_game": lambda m: metrics.pointing_game(m.maps, m.masks, m.place),
    "gini": lambda m: metrics.gini(m.maps),
    "entropy": lambda m: metrics.entropy(m.maps),
    "deletion": lambda m: metrics.deletion(m.network, m.images, m.targets, m.maps, m.place),
    "insertion": lambda m: metrics.insertion(m.network, m.images, m.targets, m.maps, m.place),
    "flip_consistency": lambda m: metrics.flip_consistency(m.maps, m.again(m.images.flip(-1)), m.size, m.place),
    "occlusion_agreement": lambda m: metrics.occlusion_agreement(m.maps, m.again(m.images, "occlusion"), m.place),
}
