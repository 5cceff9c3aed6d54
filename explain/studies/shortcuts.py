"""Do heatmaps show what networks rely on? Networks trained with a planted shortcut, where the answer is known.

`shapes` with a shortcut (a patch in the corner, or the background's hue) that betrays the class in a share of the training
images. How far a network relies on it is measured, not guessed: the same test images once with every shortcut right, once
with every shortcut swapped to a wrong class, and nothing else changed. The fall of accuracy is its reliance. If heatmaps
are to be believed, their mass on the shortcut rises with it from network to network. This is looked at before anything is
read off the arms of other experiments.

    RUNS/studies/shortcut-model-…/result.json   one network (`ModelRecord`), so that what was measured is not measured again
    RUNS/studies/shortcuts-…/result.json        the whole study (`StudyRecord`)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from explain.attribution.geometry import extents
from explain.attribution.layers import named_layers
from explain.claim.preregistration import preregistration
from explain.metrics import Score, control_maps, scores
from explain.models import ExplainError
from explain.selection import first_of_each_class
from speedcore import stats
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.data.shapes import SHORTCUTS, TEST, TRAIN, Spec, make_shapes, shortcut_split, swap_shortcut
from speedcore.machine import provenance
from speedcore.machine.device import resolve
from speedcore.planning.run import whole_key, whole_run
from speedcore.recipe import Frozen, Recipe
from speedcore.stats import Interval, Verdict, by_interval
from speedcore.store.fields import Name, Seed, Share
from speedcore.store.runs import Run, RunStore
from speedcore.studies import records
from speedcore.techniques.augment import Normalise
from speedcore.training import evaluate
from speedcore.training.callback import Callback

VERSION: Literal[1] = 1
CORRELATIONS = (0.0, 0.5, 0.9, 1.0)
ARMS = ("without", "with")
LAYERS = ("middle", "last")



class LayerRecord(Frozen):
    """The true-class maps of one layer: how much lies on the shortcut, on the object, and of null controls on the shortcut."""

    shortcut: Score
    object: Score
    controls: dict[str, Score]


class ModelRecord(Frozen):
    """One network. Accuracies (shares of 1) on test images whose shortcuts are all right, and all swapped to a wrong class;
    probabilities: the mean one of the true class on the same images."""

    shortcut: str
    correlation: Share
    arm: Name
    seed: Seed
    run: Name
    weights_sha256: str
    accuracy_right: Share
    accuracy_swapped: Share
    probability_right: Share
    probability_swapped: Share
    layers: dict[str, LayerRecord]

    @property
    def reliance(self) -> float:
        """Accuracy that swapping the shortcut takes away: 0 for a network that never looks at it."""
        return self.accuracy_right - self.accuracy_swapped

    def mass(self, layer: str) -> float | None:
        """Normalised mass of the maps on the shortcut; None where no map could be scored."""
        return self.layers[layer].shortcut.score


class StudyRecord(Frozen):
    """result.json of the study."""

    version: Literal[1] = VERSION
    recipe: Recipe
    train_images: int
    test_images: int
    images_per_class: int
    method: str
    device: str
    models: tuple[ModelRecord, ...]
    provenance: dict[str, Any]


class Study(NamedTuple):
    """The record, where it lies, and what was left out for want of time, in sentences."""

    record: StudyRecord
    path: Path
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Tracking:
    """Whether mass on a shortcut follows measured reliance: Spearman's correlation over n networks, and its interval.

    tracks: the interval lies wholly above 0; contradicts: wholly below; cannot tell: neither.
    """

    shortcut: str
    layer: str
    n: int
    correlation: float | None
    interval: Interval | None

    @property
    def verdict(self) -> Verdict:
        return by_interval(self.interval, Verdict.TRACKS, Verdict.CONTRADICTS)


def tracking(models: Sequence[ModelRecord], shortcut: str, layer: str) -> Tracking:
    """Over the networks trained with that shortcut of which any map could be scored."""
    own = [m for m in models if m.shortcut == shortcut]
    n, found = following([m.reliance for m in own], [m.mass(layer) for m in own])
    return Tracking(shortcut, layer, n, found, stats.rank_interval(found, n))


def following(reliance: Sequence[float], masses: Sequence[float | None]) -> tuple[int, float | None]:
    """(n, rank correlation) over the networks that have a mass; no correlation where ranks do not differ or n is 0."""
    known = [pair for pair in zip(reliance, masses, strict=True) if pair[1] is not None]
    return len(known), stats.rank_correlation(*zip(*known, strict=True)) if known else None


def study(recipe: Recipe, store: RunStore, device: str = "auto", shortcuts: Sequence[str] = SHORTCUTS,
          correlations: Sequence[float] = CORRELATIONS, seeds: int = 2, arms: Sequence[str] = ARMS, train: int = TRAIN,
          test: int = TEST, images_per_class: int = 100, callback: Callback | None = None,
          seconds_left: Callable[[], float] = lambda: math.inf) -> Study:
    """Train, swap, explain what is missing, and keep the result.

    recipe: of the arm with augmentation. seeds: networks of each shortcut, correlation and arm. They are outermost: the result
    is kept after each, and every finished network stays whatever happens to the rest. seconds_left: asked before each network
    but the first that is missing; what takes longer than the one before is left out. Raises ExplainError, DataError, RunError.
    """
    _check(shortcuts, correlations, arms, seeds, images_per_class)
    # In one order, so that the same study is found again however it was asked for.
    arms = [arm for arm in ARMS if arm in arms]
    wanted = [(shortcut, float(c)) for shortcut in SHORTCUTS if shortcut in shortcuts for c in sorted(set(correlations))]
    device = str(resolve(device))
    method, on = preregistration().claim("logical").primary.method, torch.device(device).type
    asked = [recipe.hash, train, test, images_per_class, method, on, wanted, arms]
    path = records.folder(store, f"shortcuts-{recipe.name}", asked)
    # What an earlier call with more seeds measured stays on record.
    existing = records.read(path, StudyRecord)
    before = existing.models if existing else ()
    models = {(m.seed, m.shortcut, m.correlation, m.arm): m for m in before}
    datasets: dict[tuple[str, float], Dataset] = {}
    missing, last = 0, 0.0
    for seed in range(seeds):
        for shortcut, correlation in wanted:
            data = datasets.get((shortcut, correlation)) or make_shapes(train, test, 0, shortcut, correlation, 1.0)
            datasets[shortcut, correlation] = data
            for arm in arms:
                chosen = recipe if arm == "with" else recipe.without_augmentation()
                fresh = store.find(whole_key(data, chosen, arm, seed, device)) is None
                if fresh and last and seconds_left() < last:
                    missing += 1
                    continue
                watch = Stopwatch()
                run = whole_run(data, chosen, arm, seed, store, device, callback)
                models[seed, shortcut, correlation, arm] = measured(run, data, store, device, images_per_class, method)
                last = watch.seconds() if fresh else last
        record = StudyRecord(recipe=recipe, train_images=train, test_images=test, images_per_class=images_per_class,
                             method=method, device=on, provenance=provenance.collect(device),
                             models=tuple(models[key] for key in sorted(models, key=lambda key: (key[1:], key[0]))))
        records.write(path, record)
    left_out = (f"{missing} of {len(wanted) * len(arms) * seeds} networks were left out because the time ran out; the same "
                f"command continues.",) if missing else ()
    return Study(record, path / "result.json", left_out)


def measured(run: Run, dataset: Dataset, store: RunStore, device: str, images_per_class: int, method: str) -> ModelRecord:
    """What the run's network relies on and where its maps lie, measured or found on disk.

    dataset: the made shapes that the run was trained on, every shortcut of whose test split is right.
    """
    asked = [VERSION, run.record.weights_sha256, dataset.fingerprint, images_per_class, method]
    path = records.folder(store, f"shortcut-model-{run.record.key}", asked)
    if existing := records.read(path, ModelRecord):
        return existing
    spec, network, normalise = Spec.parse(dataset.name), run.network().to(device), Normalise.of(run.record.data)
    labels, masks, swapped = dataset.test.labels, dataset.test.masks, swap_shortcut(dataset)
    if spec.shortcut is None or masks is None:
        raise ExplainError(f"'{dataset.name}' has no planted shortcut; give shapes that were made with one.")
    answers = {name: evaluate.logits(network, images, normalise).cpu() for name, images in
               (("right", dataset.test.images), ("swapped", swapped.split.images))}
    rows = first_of_each_class(labels, images_per_class)
    patches = shortcut_split(spec).shortcut[rows]
    images, true = normalise(dataset.test.images[rows]), labels[rows]
    modules = {name: named_layers(network)[name] for name in LAYERS}
    made = control_maps(network, images, true, list(dict.fromkeys(modules.values())), method)
    places = extents(network, images[:1], list(modules.values()))
    layers = {}
    for name, module in modules.items():
        maps = {kind: made[module][kind] for kind in ("true", "wrong_class", "untrained")}
        on_shortcut, _ = scores(maps, patches, places[module])
        on_object, _ = scores({"true": maps["true"]}, masks[rows], places[module])
        layers[name] = LayerRecord(shortcut=on_shortcut.pop("true"), object=on_object["true"], controls=on_shortcut)
    record = ModelRecord(
        shortcut=spec.shortcut, correlation=spec.train_correlation, arm=run.record.arm, seed=run.record.seed,
        run=run.record.key, weights_sha256=run.record.weights_sha256, layers=layers,
        **{f"accuracy_{name}": (found.argmax(1) == labels).double().mean().item() for name, found in answers.items()},
        **{f"probability_{name}": found.softmax(1).gather(1, labels[:, None]).double().mean().item()
           for name, found in answers.items()})
    records.write(path, record)
    return record


def load_all(store: RunStore) -> Iterator[StudyRecord]:
    """The studies beside the runs, in the order of their names."""
    yield from records.looked_at(store, "shortcuts-*", StudyRecord)


def _check(shortcuts: Sequence[str], correlations: Sequence[float], arms: Sequence[str], seeds: int, images: int) -> None:
    for name, values, known in (("shortcut", shortcuts, SHORTCUTS), ("arm", arms, ARMS)):
        wrong = [value for value in values if value not in known]
        if wrong or not values:
            raise ExplainError(f"there is no {name} '{', '.join(map(str, wrong))}'; choose {' or '.join(known)}.")
    if not correlations or any(not 0 <= c <= 1 for c in correlations):
        raise ExplainError(f"correlations are shares of the training images, 0 to 1; found "
                           f"{', '.join(f'{c:g}' for c in correlations) or 'none'}.")
    if seeds < 1 or images < 1:
        raise ExplainError(f"at least one seed and one image a class are needed; found {seeds} and {images}.")
