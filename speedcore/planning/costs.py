"""What recipes cost on this machine: a second of throwaway training becomes seconds for a whole run.

`options` gives the recipes that a request admits, each with its price; `speedcore.planning.plan` chooses among them.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch

from speedcore import recipes
from speedcore.clock import ClockPolicy, Phase, Stopwatch
from speedcore.data import streams
from speedcore.data.dataset import Dataset, Split
from speedcore.machine import arithmetic
from speedcore.machine.device import resolve
from speedcore.planning import flops
from speedcore.recipe import Recipe
from speedcore.training.loop import full_steps, steps_per_epoch
from speedcore.training.settle import Settled, settle
from speedcore.training.state import TrainState, synchroniser

# A plan leaves this share of a limit free: machines here and there are noisy.
PLANNED_SHARE = 0.96
_PROBE_SECONDS, _PROBE_IMAGES = 0.5, 64
# No recipe uses a machine this many times better than a narrower one did that was timed there.
_BETTER_USE = 3.0
PLAN_VERSION = 2


@dataclass(frozen=True)
class Request:
    """What a build was asked for. within: seconds for the whole build, None for no cap. seeds: None to choose.

    recipe: "auto", a name, a TOML file, or a Recipe itself.
    """

    recipe: str | Recipe = "auto"
    budget: float = 1000.0
    policy: str = "article"
    within: float | None = 900.0
    seeds: int | None = None
    device: str = "auto"
    data_mode: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", str(resolve(self.device)))

    def key(self, fingerprints: Iterable[str], chosen: Iterable[str]) -> str:
        """Names the plan: the request, the data, the content of the recipes it may choose from, and the machine."""
        machine = arithmetic.signature(torch.device(self.device))
        content = json.dumps([PLAN_VERSION, vars(self), sorted(fingerprints), sorted(chosen), machine],
                             default=lambda recipe: recipe.name)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def candidates(request: Request, dataset: str) -> list[Recipe]:
    """Recipes that the request admits, the most wanted first."""
    names = ("article", "record", "sprint", "dash-augmented") if request.recipe == "auto" else (request.recipe,)
    found = [name if isinstance(name, Recipe) else recipes.get(name, dataset) for name in names]
    return [r.changed(data=request.data_mode) for r in found] if request.data_mode else found


@dataclass(frozen=True)
class Throughput:
    """Seconds of one training step at the recipe's batch, and of the forward pass of one image."""

    step_seconds: float
    forward_seconds: float


def measure(dataset: Dataset, recipe: Recipe, device: torch.device) -> Throughput:
    """Train a throwaway network for a moment and time its steps.

    On a CPU a few images stand for a batch: gradients cost as much image by image, an update is taken whole.
    """
    images = recipe.batch_size if device.type != "cpu" else _few_images(recipe)
    few = Split(dataset.train.images[:2 * images], dataset.train.labels[:2 * images])
    trial = recipe.changed(batch_size=min(images, len(few)))
    state = TrainState(dataset, trial, 0, device)
    batches = iter(streams.of_recipe(trial, few.to(device), 0, state.normalise))
    state.network.train()
    wait = synchroniser(device)
    for _ in range(1 if device.type == "cpu" else 5):
        state.step(*next(batches), factor=0.01)
    wait()
    watch, gradients, updates = Stopwatch(), [], []
    while len(gradients) < 2 or (watch.seconds() < _PROBE_SECONDS and len(gradients) < 100):
        lap = Stopwatch()
        state.gradients(*next(batches))
        wait()
        gradients.append(lap.seconds())
        lap = Stopwatch()
        state.optimizer.step(0.01)
        wait()
        updates.append(lap.seconds())
    # The median: one interruption by another program must not decide what fits.
    step_seconds = statistics.median(gradients) * recipe.batch_size / trial.batch_size + statistics.median(updates)
    state.network.eval()
    few = few.images[:trial.batch_size]
    state.logits(few)
    wait()
    watch = Stopwatch()
    state.logits(few)
    wait()
    return Throughput(step_seconds, watch.seconds() / len(few))


def _few_images(recipe: Recipe) -> int:
    """About `_PROBE_IMAGES`, in as many groups as the network's ghost batch-norm wants."""
    groups = getattr(recipe.network, "ghost", 1)
    return min(recipe.batch_size, max(1, _PROBE_IMAGES // groups) * groups)


@dataclass(frozen=True)
class Candidate:
    """One recipe for one data set, with its price. arithmetic: why it is in the precision that it is in."""

    dataset: Dataset
    recipe: Recipe
    reason: str
    throughput: Throughput
    full: int
    per_epoch: int
    arithmetic: str = ""

    @property
    def explain_seconds(self) -> float:
        """Maps for up to a thousand images, several targets and the untrained control: about 12 forward passes."""
        return 12 * min(1000, len(self.dataset.test)) * self.throughput.forward_seconds

    @property
    def overhead(self) -> float:
        """Seconds around one run's steps: looks at validation, batch-norm's statistics, test, views, saving, explanation."""
        recipe = self.recipe
        looks = 10 * min(recipe.val_images, len(self.dataset.train) // 10)
        images = looks + recipe.bn_recalibration_images + len(self.dataset.test) * recipe.tta.count
        return 0.8 + images * self.throughput.forward_seconds + self.explain_seconds

    def beside_training(self, policy: ClockPolicy) -> float:
        """Seconds of one run other than its steps that a budget under `policy` has to hold."""
        if not policy.counts(Phase.TEST):
            return self.recipe.bn_recalibration_images * self.throughput.forward_seconds
        return self.overhead - self.explain_seconds + sum(self.dataset.provenance.seconds.values())

    @property
    def full_seconds(self) -> float:
        return self.full * self.throughput.step_seconds / PLANNED_SHARE

    @property
    def floor(self) -> int:
        """Steps below which no run is planned."""
        return min(self.full, self.recipe.min_steps)

    @property
    def least(self) -> int:
        """Steps below which a smaller recipe or fewer seeds are preferred."""
        return min(self.full, max(self.floor, math.ceil(self.recipe.min_epochs * self.per_epoch)))

    def seconds_of(self, steps: int, policy: ClockPolicy) -> float:
        """What a budget under `policy` has to hold for so many steps."""
        return steps * self.throughput.step_seconds / PLANNED_SHARE + self.beside_training(policy)

    def steps_in(self, seconds: float) -> int:
        return int(min(self.full, seconds * PLANNED_SHARE / self.throughput.step_seconds + 1e-6))


def options(dataset: Dataset, request: Request, device: torch.device,
            timed: dict[str, Throughput] | None = None) -> list[Candidate]:
    """The recipes in reach on this device, the most wanted first; none where every batch is larger than the data set.

    Asked to choose, the article's recipe is among them only where all of it fits the budget. The cheapest are timed first: what
    is out of reach even at several times their use of the machine is not timed at all, which would take minutes.
    timed: what was timed before, of networks and images of the same kind; filled on.
    """
    found, declined, best_use = [], [], 0.0
    timed = {} if timed is None else timed
    asked = candidates(request, dataset.name)
    for recipe in reversed(asked):
        per_epoch = steps_per_epoch(dataset, recipe)
        if per_epoch < 1:
            continue
        full, choosing = full_steps(dataset, recipe), request.recipe == "auto" and len(asked) > 1
        wanted = full if recipe.name == "article" else math.ceil(recipe.min_epochs * per_epoch)
        operations = recipe.batch_size * _operations(dataset, recipe) if choosing else 0.0
        at_best = wanted * operations / (_BETTER_USE * best_use) if best_use else 0.0
        if choosing and at_best > request.budget:
            declined.append(f"{_named(recipe)} would need more than {duration(at_best)} a run here, and the budget is "
                            f"{duration(request.budget)}")
            continue
        why = settle(recipe, dataset, device) if recipe.precision == "auto" else Settled(recipe, "")
        throughput = _timed(timed, dataset, why.recipe, device)
        best_use = max(best_use, operations / throughput.step_seconds)
        expected = full * throughput.step_seconds
        if choosing and recipe.name == "article" and expected > request.budget * PLANNED_SHARE:
            declined.append(f"{_named(recipe)} would need about {duration(expected)} a run here, more than the budget of "
                            f"{duration(request.budget)}")
            continue
        found.append(Candidate(dataset, why.recipe, "asked for", throughput, full, per_epoch, why.why))
    if request.recipe == "auto":
        found = [replace(one, reason="; ".join([*reversed(declined), f"'{one.recipe.name}' fits"])) for one in found]
    return found[::-1]


def _operations(dataset: Dataset, recipe: Recipe) -> float:
    """Of training on one image."""
    return flops.of_recipe(recipe, dataset.channels, dataset.size, len(dataset.classes)).step


def _named(recipe: Recipe) -> str:
    return "the article's recipe" if recipe.name == "article" else f"recipe '{recipe.name}'"


def _timed(timed: dict[str, Throughput], dataset: Dataset, recipe: Recipe, device: torch.device) -> Throughput:
    """`measure`, once for all data sets whose images are of one kind."""
    key = json.dumps([recipe.network.model_dump(), recipe.optimizer.kind, recipe.batch_size, recipe.precision,
                      recipe.convolutions, recipe.channels_last, recipe.data, dataset.channels, dataset.size,
                      len(dataset.classes)])
    if key not in timed:
        timed[key] = measure(dataset, recipe, device)
    return timed[key]


def duration(seconds: float) -> str:
    """Seconds for people: seconds, minutes or hours to three digits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
