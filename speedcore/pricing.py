"""What recipes cost on this machine: a second of throwaway training becomes seconds for a whole run.

`options` gives the recipes that a request admits, each with its price; `speedcore.planning` chooses among them.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from speedcore import recipes
from speedcore.clock import ClockPolicy, Phase, Stopwatch
from speedcore.data import batches as data_path
from speedcore.data.dataset import Dataset, Split
from speedcore.recipe import Recipe
from speedcore.trainee import Trainee, synchroniser
from speedcore.training import full_steps, steps_per_epoch

# A plan leaves this share of a limit free: machines here and there are noisy.
PLANNED_SHARE = 0.96
_PROBE_SECONDS = 1.0
PLAN_VERSION = 1


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
    device: str = "cpu"
    data_mode: str | None = None

    def key(self, fingerprints: Iterable[str], chosen: Iterable[str]) -> str:
        """Names the plan: the request, the data, and the content of the recipes it may choose from."""
        content = json.dumps([PLAN_VERSION, vars(self), sorted(fingerprints), sorted(chosen), torch.get_num_threads()],
                             default=lambda recipe: recipe.name)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def candidates(request: Request, dataset: str) -> list[Recipe]:
    """Recipes that the request admits, the most wanted first."""
    names = ("article", "record", "sprint") if request.recipe == "auto" else (request.recipe,)
    found = [name if isinstance(name, Recipe) else recipes.get(name, dataset) for name in names]
    return [r.changed(data=request.data_mode) for r in found] if request.data_mode else found


@dataclass(frozen=True)
class Throughput:
    """Seconds of one training step at the recipe's batch, and of the forward pass of one image."""

    step_seconds: float
    forward_seconds: float


def measure(dataset: Dataset, recipe: Recipe, device: torch.device, quick: bool = False) -> Throughput:
    """Train a throwaway network for about a second and time its steps.

    quick: a few small batches only, good to a factor of two: enough to see that a recipe is out of reach.
    """
    batch = min(recipe.batch_size, 64) if quick else recipe.batch_size
    few = Split(dataset.train.images[:4 * batch], dataset.train.labels[:4 * batch])
    trial = recipe.changed(batch_size=min(batch, len(few)))
    trainee = Trainee(dataset, trial, 0, device)
    batches = iter(data_path.of_recipe(trial, few.to(device), 0, trainee.normalise))
    trainee.network.train()
    wait = synchroniser(device)
    for _ in range(1 if device.type == "cpu" else 5):
        trainee.step(*next(batches), factor=0.01)
    wait()
    watch, laps = Stopwatch(), []
    while len(laps) < 2 or (not quick and (len(laps) < 3 or watch.seconds() < _PROBE_SECONDS) and len(laps) < 200):
        lap = Stopwatch()
        trainee.step(*next(batches), factor=0.01)
        wait()
        laps.append(lap.seconds())
    # The median: one interruption by another program must not decide what fits.
    step_seconds = statistics.median(laps) * recipe.batch_size / trial.batch_size
    trainee.network.eval()
    images = few.images[:batch]
    trainee.logits(images)
    wait()
    watch = Stopwatch()
    trainee.logits(images)
    wait()
    return Throughput(step_seconds, watch.seconds() / len(images))


@dataclass(frozen=True)
class Option:
    """One recipe for one data set, with its price."""

    dataset: Dataset
    recipe: Recipe
    reason: str
    throughput: Throughput
    full: int
    per_epoch: int

    @property
    def explain_seconds(self) -> float:
        """Maps for up to a thousand images, several targets and the untrained control: about 12 forward passes."""
        return 12 * min(1000, len(self.dataset.test)) * self.throughput.forward_seconds

    @property
    def overhead(self) -> float:
        """Seconds around one run's steps: looks at validation, batch-norm's statistics, test, views, saving, explanation."""
        recipe = self.recipe
        looks = 10 * min(recipe.validation, len(self.dataset.train) // 10)
        images = looks + recipe.precise_norms + len(self.dataset.test) * recipe.test_time.count
        return 0.8 + images * self.throughput.forward_seconds + self.explain_seconds

    def beside_training(self, policy: ClockPolicy) -> float:
        """Seconds of one run other than its steps that a budget under `policy` has to hold."""
        if not policy.counts(Phase.TEST):
            return self.recipe.precise_norms * self.throughput.forward_seconds
        return self.overhead - self.explain_seconds + sum(self.dataset.provenance.seconds.values())

    @property
    def full_seconds(self) -> float:
        return self.full * self.throughput.step_seconds / PLANNED_SHARE

    @property
    def least_seconds(self) -> float:
        return self.recipe.min_epochs * self.per_epoch * self.throughput.step_seconds / PLANNED_SHARE

    def steps_in(self, seconds: float) -> int:
        return int(min(self.full, seconds * PLANNED_SHARE / self.throughput.step_seconds))


def options(dataset: Dataset, request: Request, device: torch.device) -> list[Option]:
    """The recipes in reach on this device, the most wanted first; none where every batch is larger than the data set.

    Asked to choose, the article's recipe is among them only where all of it fits the budget: a quick look first, since
    measuring it well takes minutes where it is far out of reach.
    """
    found, declined = [], []
    for recipe in candidates(request, dataset.name):
        per_epoch = steps_per_epoch(dataset, recipe)
        if per_epoch < 1:
            continue
        full = full_steps(dataset, recipe)
        throughput = None
        if request.recipe == "auto" and recipe.name == "article":
            expected = full * measure(dataset, recipe, device, quick=True).step_seconds
            if expected <= 1.5 * request.budget:
                throughput = measure(dataset, recipe, device)
                expected = full * throughput.step_seconds
            if expected > request.budget * PLANNED_SHARE:
                declined.append(f"the article's recipe would need about {duration(expected)} a run here, more than the "
                                f"budget of {duration(request.budget)}")
                continue
        throughput = throughput or measure(dataset, recipe, device)
        reason = "asked for" if request.recipe != "auto" else "; ".join([*declined, f"'{recipe.name}' fits"])
        found.append(Option(dataset, recipe, reason, throughput, full, per_epoch))
    return found


def duration(seconds: float) -> str:
    """Seconds for people: seconds, minutes or hours to three digits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
