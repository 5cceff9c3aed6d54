"""Batch-norm's scales and biases in training, as the series' eighth part looks at them before it freezes the scales.

    python -m speedcore study batch-norm-scales --data DIR --seeds 1 --scale data=0.4,width=0.25

The recipe is that of the rung before (ghost batch-norm, eighteen epochs). The source finds that weight decay moves the scales far
more than learning does, that they are at about a quarter by the middle of training, and that the last layer's are larger. Beside
the measured scales stands what weight decay alone would make of a scale that starts at 1: the same optimiser over the same rates,
with no gradient.

Runs keep the weights that a training ends with. So this study trains with its own eyes open, through `training.fit`, and keeps
what it saw for each seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from speedcore import stats
from speedcore.clock import POLICIES, Budget, Ledger
from speedcore.data import streams
from speedcore.data.dataset import Dataset
from speedcore.errors import RecipeError
from speedcore.ladders.scale import Scale
from speedcore.machine.device import resolve
from speedcore.machine.queue import synchroniser
from speedcore.planning.rounds import check_steps, in_rounds
from speedcore.recipe import Frozen, Recipe, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.studies import records
from speedcore.studies.findings import RULE, Finding, Question, answer
from speedcore.studies.records import StudyRecord
from speedcore.techniques.augment import Normalise
from speedcore.training import loop
from speedcore.training.callback import Callback, ProgressEvent
from speedcore.training.job import Job
from speedcore.training.settle import settled
from speedcore.training.state import TrainState

if TYPE_CHECKING:
    from rich.console import Console

NAME, RECIPE, DATASET = "batch-norm-scales", "page-tricks-ghost", "cifar10"
SAMPLES = 60
QUANTILES = (0.1, 0.5, 0.9)
MIDDLE = 0.25  # what the source reads off its plot at the middle of training
SOURCE = "How to train your ResNet, part 8: bag of tricks"

Say = Callable[[str], None]


class Trajectory(Frozen):
    """A layer's values over the sampled steps: mean over its channels, and quantiles (10, 50 and 90 %), each (samples,)."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    median: tuple[float, ...]
    high: tuple[float, ...]


class Watched(Frozen):
    """One training. steps: of the samples, 0 before the first. decay: a scale under weight decay alone, at these steps.

    scales, biases: by the layer's name, from the first to the last.
    """

    seed: int
    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    decay: tuple[float, ...]
    scales: dict[str, Trajectory]
    biases: dict[str, Trajectory]
    loss: float
    seconds: float

    @property
    def middle(self) -> int:
        """The sample nearest to the middle of training."""
        return min(range(len(self.steps)), key=lambda i: abs(self.steps[i] - self.steps[-1] / 2))

    def away(self, layer: str, alone: bool) -> float:
        """How far a layer's mean scale lies from where decay alone would have it (or from 1, where it started), on average."""
        means = self.scales[layer].mean
        return stats.mean([abs(mean - (decay if alone else 1.0)) for mean, decay in zip(means, self.decay, strict=True)])


class ScalesRecord(StudyRecord):
    """result.json."""

    watched: tuple[Watched, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(self.watched[0].scales)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        return _findings(self)


class Samples:
    """Scales and biases of the batch-norm layers of a network in training, collected on the way."""

    def __init__(self, network: nn.Module):
        self._layers = {name: module for name, module in network.named_modules()
                        if isinstance(module, nn.BatchNorm2d) and module.weight.requires_grad}
        self.steps: list[int] = []
        self._seen: dict[str, list[list[float]]] = {}

    def __bool__(self) -> bool:
        return bool(self._layers)

    def take(self, step: int) -> None:
        self.steps.append(step)
        for name, module in self._layers.items():
            for kind, parameter in (("scale", module.weight), ("bias", module.bias)):
                values = parameter.detach().float()
                reading = [values.mean().item(), *torch.quantile(values, torch.tensor(QUANTILES, device=values.device)).tolist()]
                self._seen.setdefault(f"{kind} {name}", []).append(reading)

    def trajectories(self, kind: str) -> dict[str, Trajectory]:
        """kind: "scale" or "bias"."""
        return {name: Trajectory(**dict(zip(("mean", "low", "median", "high"), map(tuple, zip(*self._seen[f"{kind} {name}"],
                                                                                        strict=True)), strict=True)))
                for name in self._layers}


def watch(dataset: Dataset, recipe: Recipe, seed: int, device: str, say: Say = lambda line: None) -> Watched:
    """Train `recipe` on `dataset` once, as `training.train` would, and look at its batch-norms on the way.

    Raises RecipeError for recipes whose scales are not trained, or not by SGD with the rate inside the momentum buffer.
    """
    spec = recipe.optimizer
    if not isinstance(spec, SGDConfig) or not spec.lr_in_buffer:
        raise RecipeError(f"study '{NAME}' knows what weight decay alone does under SGD with the rate inside the momentum "
                          f"buffer; recipe '{recipe.name}' has another optimiser, choose for example {RECIPE}.")
    on = resolve(device)
    recipe = settled(recipe, dataset, on)
    ledger = Ledger(synchroniser(on))
    train, _ = loop.hold_out(dataset.train, recipe.val_images)
    batches = streams.of_recipe(recipe, train.to(on), seed, Normalise.of(dataset))
    state = TrainState(dataset, recipe, seed, on)
    samples = Samples(state.network)
    if not samples:
        raise RecipeError(f"recipe '{recipe.name}' trains no batch-norm scales, so there is nothing to watch; choose for example "
                          f"{RECIPE}.")
    state.whiten(train)
    steps = loop.full_steps(dataset, recipe)
    every = max(1, steps // SAMPLES)

    class Sampling(Callback):
        def on_progress(self, event: ProgressEvent) -> None:
            # On a GPU a callback is told of some steps only.
            if event.step >= samples.steps[-1] + every or event.step == steps:
                samples.take(event.step)
                say(f"seed {seed}: step {event.step} of {steps}, loss {event.loss:.3f}")

    samples.take(0)
    job = Job(f"{NAME}-s{seed}", recipe, "with", seed, Budget(math.inf, POLICIES["article"]), math.inf, steps, steps)
    _, history = loop.fit(state, batches, train, None, job, ledger, Sampling())
    alone = (1.0, *decay_alone(history.lr, spec))
    losses = history.steps(batches.steps_per_epoch)["loss"]
    last = losses[-max(1, len(losses) // 20):]
    return Watched(seed=seed, steps=tuple(samples.steps), epochs=tuple(step / batches.steps_per_epoch for step in samples.steps),
                   decay=tuple(alone[step] for step in samples.steps), scales=samples.trajectories("scale"),
                   biases=samples.trajectories("bias"), loss=stats.mean(last), seconds=sum(ledger.seconds().values()))


def decay_alone(rates: Sequence[float], spec: SGDConfig) -> list[float]:
    """A value that starts at 1, after each step at these rates, if weight decay were all that moves it.

    With the rate inside the buffer: v = m·v + lr·d·w, and w loses lr·d·w + m·v. A rate that is
    multiplied for biases and scales comes with a decay divided by as much, so that both cancel.
    """
    value, velocity, found = 1.0, 0.0, []
    for rate in rates:
        pull = rate * spec.weight_decay * value
        velocity = spec.momentum * velocity + pull
        value -= pull + spec.momentum * velocity
        found.append(value)
    return found


@dataclass(frozen=True)
class Watching:
    """A task: one seed's training, watched, or what an earlier call saw of it."""

    dataset: Dataset
    recipe: Recipe
    device: str
    known: dict[int, Watched]
    say: Say

    def exists(self, seed: int) -> bool:
        return seed in self.known

    def do(self, seed: int) -> Watched:
        return self.known.get(seed) or watch(self.dataset, self.recipe, seed, self.device, self.say)

    def seconds(self, result: Watched) -> float:
        return result.seconds


def study(dataset: Dataset, recipe: Recipe, store: RunStore, device: str, scale: Scale, seeds: int | None = None,
          within: float | None = None, say: Say = lambda line: None) -> tuple[ScalesRecord, Path]:
    """Watch what has not been watched, and keep the result; returns it and where it lies.

    dataset: as loaded, whole. recipe: as it is known, whole; its looks at the test set are left out. Raises RecipeError.
    """
    small, scaled = scale.dataset(dataset), scale.recipe(recipe.changed(peek=None))
    check_steps(NAME, small, scaled)
    path = records.folder(store, NAME, [recipe.hash, vars(scale), small.fingerprint, resolve(device).type,
                                        torch.get_num_threads()])
    before = records.read(path, ScalesRecord)
    known = {w.seed: w for w in before.watched} if before else {}
    shared = records.common(NAME, small, recipe, scale, device)

    def keep(found: dict[str, list[Watched]], left_out: tuple[str, ...]) -> None:
        known.update({w.seed: w for watched in found.values() for w in watched})
        records.write(path, ScalesRecord(**shared, left_out=left_out, watched=tuple(known[seed] for seed in sorted(known))))

    in_rounds({"training": Watching(small, scaled, device, dict(known), say)}, seeds, within, keep)
    return records.just_kept(path, ScalesRecord), path / "result.json"


def _findings(record: ScalesRecord) -> tuple[Finding, ...]:
    """The source's findings that are a direction: what moves scales, and where the last layer's lie at the end."""
    *others, last = record.layers
    control = tuple(stats.mean([w.away(layer, alone=False) - w.away(layer, alone=True) for layer in record.layers])
                    for w in record.watched)
    ahead = tuple(w.scales[last].mean[-1] - stats.mean([w.scales[layer].mean[-1] for layer in others])
                  for w in record.watched if others)
    return answer([
        Question("scales move largely as weight decay alone would move them",
                 "how much nearer to decay’s own curve than to 1 mean scales lie, on average over training", control),
        Question("the last layer’s scales end above those of the others", "last layer’s mean scale less the others’ mean",
                 ahead)])


def readings(record: ScalesRecord) -> tuple[str, ...]:
    """Where scales lie in the middle of training, in a sentence."""
    others = record.layers[:-1] or record.layers
    middle = [stats.mean([w.scales[layer].mean[w.middle] for layer in others]) for w in record.watched]
    alone = stats.mean([w.decay[w.middle] for w in record.watched])
    spread = stats.sd(middle)
    return (f"In the middle of training the mean scale (without the last layer) is {stats.mean(middle):.3f}"
            f"{'' if spread is None else f' ± {spread:.3f}'} over {_seeds(record)}; decay alone would have it at {alone:.3f}; "
            f"the source reads off about {MIDDLE:g}, in a training of {record.recipe.epochs:g} epochs of all images.",)


def show(record: ScalesRecord, out: Console) -> None:
    """Print one row a layer, and what was found."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("layer", no_wrap=True)
    for heading in ("scale, middle", "scale, end", "10 to 90 %", "bias, end", "10 to 90 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows(record):
        table.add_row(*row)
    epochs = record.watched[0].epochs[-1]
    out.print(f"Batch-norm’s scales and biases over {epochs:.3g} epochs of {record.recipe.name}, {record.caption}; means over "
              f"channels and {_seeds(record)}.", markup=False, soft_wrap=True)
    out.print(table)
    for sentence in (*(finding.sentence for finding in record.findings), *readings(record), f"{RULE}.", *record.left_out):
        out.print(sentence, markup=False, soft_wrap=True)


def _seeds(record: ScalesRecord) -> str:
    return f"{len(record.watched)} {'seed' if len(record.watched) == 1 else 'seeds'}"


def rows(record: ScalesRecord) -> list[tuple[str, ...]]:
    """One a layer: name, mean scale in the middle and at the end with its quantiles, bias at the end with its quantiles."""
    def mean(kind: str, layer: str, part: str, middle: bool = False) -> str:
        values = [getattr(getattr(w, kind)[layer], part)[w.middle if middle else -1] for w in record.watched]
        return f"{stats.mean(values):.3f}"

    return [(layer, mean("scales", layer, "mean", True), mean("scales", layer, "mean"),
             f"{mean('scales', layer, 'low')} to {mean('scales', layer, 'high')}", mean("biases", layer, "mean"),
             f"{mean('biases', layer, 'low')} to {mean('biases', layer, 'high')}") for layer in record.layers]
