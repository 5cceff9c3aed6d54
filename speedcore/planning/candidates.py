"""The recipes in reach for a data set, each with its price on this machine; `speedcore.planning.sharing` chooses among them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import torch

from speedcore.clock import Budget, ClockPolicy, Phase
from speedcore.data.dataset import Dataset
from speedcore.planning import costs, flops
from speedcore.planning.costs import PLANNED_SHARE, Throughput, duration
from speedcore.planning.request import Request
from speedcore.recipe import Recipe
from speedcore.training.loop import full_steps, steps_per_epoch
from speedcore.training.settle import Settled, settle

# No recipe uses a machine this many times better than a narrower one did that was timed there.
_BETTER_USE = 3.0


@dataclass(frozen=True)
class Candidate:
    """One recipe for one data set, with its price. full_steps: all of its epochs. arithmetic: why it is in the precision that it
    is in."""

    dataset: Dataset
    recipe: Recipe
    reason: str
    throughput: Throughput
    full_steps: int
    steps_per_epoch: int
    arithmetic: str = ""

    @property
    def explain_seconds(self) -> float:
        """Maps for up to a thousand images, several targets and the untrained control: about 12 forward passes."""
        return 12 * min(1000, len(self.dataset.test)) * self.throughput.forward_seconds

    @property
    def overhead(self) -> float:
        """Seconds around one run's steps: validation, batch-norm's statistics, test, TTA, saving, explanation."""
        recipe = self.recipe
        validation = 10 * min(recipe.val_images, len(self.dataset.train) // 10)
        images = validation + recipe.bn_recalibration_images + len(self.dataset.test) * recipe.tta.count
        return 0.8 + images * self.throughput.forward_seconds + self.explain_seconds

    def beside_training(self, clock: ClockPolicy) -> float:
        """Seconds of one run other than its steps that a budget under `clock` has to hold."""
        if not clock.counts(Phase.TEST):
            return self.recipe.bn_recalibration_images * self.throughput.forward_seconds
        return self.overhead - self.explain_seconds + sum(self.dataset.provenance.seconds.values())

    @property
    def full_seconds(self) -> float:
        return self.full_steps * self.throughput.step_seconds / PLANNED_SHARE

    @property
    def floor(self) -> int:
        """Steps below which no run is planned."""
        return min(self.full_steps, self.recipe.min_steps)

    @property
    def least(self) -> int:
        """Steps below which a smaller recipe or fewer seeds are preferred."""
        return min(self.full_steps, max(self.floor, math.ceil(self.recipe.min_epochs * self.steps_per_epoch)))

    def seconds_of(self, steps: int, clock: ClockPolicy) -> float:
        """What a budget under `clock` has to hold for so many steps."""
        return steps * self.throughput.step_seconds / PLANNED_SHARE + self.beside_training(clock)

    def steps_in(self, seconds: float) -> int:
        return int(min(self.full_steps, seconds * PLANNED_SHARE / self.throughput.step_seconds + 1e-6))


def candidates(dataset: Dataset, request: Request, device: torch.device,
               timed: dict[str, Throughput] | None = None) -> list[Candidate]:
    """The recipes in reach on this device, the most wanted first; none where every batch is larger than the data set.

    Asked to choose, the article's recipe is among them only where all of it fits the budget. The cheapest are timed first: what
    is out of reach even at several times their use of the machine is not timed at all, which would take minutes.
    timed: what was timed before, of networks and images of the same kind; filled on.
    """
    found, declined, best_use = [], [], 0.0
    timed = {} if timed is None else timed
    asked = request.recipes(dataset.name)
    choosing = request.recipe == "auto" and len(asked) > 1
    for recipe in reversed(asked):
        per_epoch = steps_per_epoch(dataset, recipe)
        if per_epoch < 1:
            continue
        least = full_steps(dataset, recipe) if recipe.name == "article" else math.ceil(recipe.min_epochs * per_epoch)
        operations = recipe.batch_size * _operations(dataset, recipe) if choosing else 0.0
        at_best = least * operations / (_BETTER_USE * best_use) if best_use else 0.0
        if choosing and at_best > request.budget:
            declined.append(f"{_named(recipe)} would need more than {duration(at_best)} a run here, and the budget is "
                            f"{duration(request.budget)}")
            continue
        candidate = price(dataset, recipe, device, timed)
        best_use = max(best_use, operations / candidate.throughput.step_seconds)
        expected = candidate.full_steps * candidate.throughput.step_seconds
        if choosing and recipe.name == "article" and expected > request.budget * PLANNED_SHARE:
            declined.append(f"{_named(recipe)} would need about {duration(expected)} a run here, more than the budget of "
                            f"{duration(request.budget)}")
            continue
        found.append(candidate)
    if request.recipe == "auto":
        found = [replace(one, reason="; ".join([*reversed(declined), f"'{one.recipe.name}' fits"])) for one in found]
    return found[::-1]


def price(dataset: Dataset, recipe: Recipe, device: torch.device, timed: dict[str, Throughput] | None = None) -> Candidate:
    """One recipe, settled and timed. timed: as for `candidates`."""
    chosen = settle(recipe, dataset, device) if recipe.precision == "auto" else Settled(recipe, "")
    return Candidate(dataset, chosen.recipe, "asked for", _timed({} if timed is None else timed, dataset, chosen.recipe, device),
                     full_steps(dataset, recipe), steps_per_epoch(dataset, recipe), chosen.why)


def too_dear(candidate: Candidate, budget: Budget) -> str | None:
    """Why `budget` does not hold even the fewest steps of a recipe that are worth training; None where it does."""
    needed = candidate.seconds_of(candidate.floor, budget.policy)
    if needed <= budget.seconds:
        return None
    held = max(0, candidate.steps_in(budget.seconds - candidate.beside_training(budget.policy)))
    steps = "no step" if held == 0 else f"only {held} step{'s' if held > 1 else ''}"
    floor = "from which on it is known to learn" if candidate.floor < candidate.full_steps else "that all of its epochs are"
    fewer = f", fewer than the {candidate.floor} {floor}" if candidate.floor > 1 else ""
    return (f"{budget.seconds:.3g} s hold {steps} of recipe '{candidate.recipe.name}' (one takes "
            f"{candidate.throughput.step_seconds:.3g} s here){fewer}; raise --budget to {duration(needed)} or more, or choose a "
            f"smaller recipe.")


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
        timed[key] = costs.measure(dataset, recipe, device)
    return timed[key]
