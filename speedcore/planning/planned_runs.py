"""What is to be trained: the runs that a plan holds for each data set, and the jobs that they come to."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from speedcore.checks import ARMS, one_of
from speedcore.clock import POLICIES, Budget
from speedcore.data.dataset import Dataset
from speedcore.planning.costs import PLANNED_SHARE
from speedcore.planning.request import PLAN_VERSION, Request
from speedcore.planning.run_key import run_key
from speedcore.recipe import Frozen, Recipe
from speedcore.store.fields import Amount, Line, Some
from speedcore.training.job import Job

MOST_SEEDS = 10
# The rest is planned again where a step of its first pair took so many times more or less than planned.
REPLAN = 1.5


class PlannedRuns(Frozen):
    """What is to be trained on one data set: both arms of `recipe`, for seeds 0..seeds − 1.

    steps: planned for each run; full_steps: all of the recipe's epochs. limit: seconds of training that one
    run may take here. run_seconds: estimate for one run with its tests and its share of the explanations. arithmetic: why the
    recipe's precision is what it is.
    """

    dataset: Line
    fingerprint: Line
    recipe: Recipe
    reason: str
    seeds: Annotated[int, Field(ge=1, le=10_000)]
    steps: Some
    full_steps: Some
    steps_per_epoch: Some
    step_seconds: Amount
    limit: Amount | None
    run_seconds: Amount
    explain_seconds: Amount
    arithmetic: str = ""

    @property
    def epochs(self) -> float:
        return self.steps / self.steps_per_epoch

    @property
    def estimate(self) -> float:
        """Seconds for all runs of both arms."""
        return 2 * self.seeds * self.run_seconds

    @property
    def cut_short(self) -> bool:
        return self.steps < self.full_steps

    def steps_within(self, seconds: float, step_seconds: float) -> int:
        """Steps of that length that a limit would be planned to hold, at most all of them."""
        return int(min(self.full_steps, seconds * PLANNED_SHARE / step_seconds + 1e-6))


class Plan(Frozen):
    """The runs of a build, data set by data set, and what a person should know about them.

    machine: the device in words. left_out: data sets for which nothing is planned, with the reason.
    """

    version: int = PLAN_VERSION
    request: str
    planned: tuple[PlannedRuns, ...]
    notes: tuple[str, ...] = ()
    machine: str = ""
    left_out: dict[str, str] = {}

    @property
    def estimate(self) -> float:
        return sum(runs.estimate for runs in self.planned)

    def answers(self, request: str, datasets: list[Dataset]) -> bool:
        """Whether it is the plan for that request (`Request.key`), and for data sets of these names."""
        known = {(dataset.name, dataset.fingerprint) for dataset in datasets}
        return (self.version, self.request) == (PLAN_VERSION, request) and known.issuperset(
            (runs.dataset, runs.fingerprint) for runs in self.planned)


def jobs(planned: PlannedRuns, request: Request) -> list[tuple[Job, Job]]:
    """The paired jobs of one data set, seed by seed: (with, without) augmentation."""
    return [pair(planned, request, seed) for seed in range(planned.seeds)]


def pair(planned: PlannedRuns, request: Request, seed: int) -> tuple[Job, Job]:
    """The jobs of one seed: (with, without) augmentation."""
    budget = Budget(request.budget, POLICIES[request.clock])
    augmented, without = (job(planned, budget, request.device, arm, seed) for arm in ARMS)
    return augmented, without


def job(planned: PlannedRuns, budget: Budget, device: str, arm: str, seed: int) -> Job:
    """One of the planned runs. Its key names data, recipe, arm, seed, limits and device, not what was measured."""
    one_of("arm", arm, ARMS)
    recipe = planned.recipe if arm == "with" else planned.recipe.without_augmentation()
    limit = math.inf if planned.limit is None else planned.limit
    key = run_key(recipe, planned.dataset, planned.fingerprint, arm, seed, budget, limit, device)
    return Job(key, recipe, arm, seed, budget, limit, planned.steps, planned.full_steps,
               stretch=planned.cut_short and arm == "with", arithmetic=planned.arithmetic)


def revised(planned: PlannedRuns, request: Request, step_seconds: float, pair_seconds: float) -> PlannedRuns:
    """What is planned after the first pair, where a step took so much less or more than planned; itself where it did not.

    step_seconds, pair_seconds: measured, the second with tests, saving and the explanations that were planned. The time that
    was given stays what it was, and decides how many pairs there are now. Where the pair's steps were enough the limit stays
    too, and the pair with it.
    """
    if 1 / REPLAN <= step_seconds / planned.step_seconds <= REPLAN:
        return planned
    limit = math.inf if planned.limit is None else planned.limit
    beside = pair_seconds / 2 - planned.steps_within(limit, step_seconds) * step_seconds
    held, given = planned.steps_within(limit, step_seconds), planned.estimate
    floor = min(planned.full_steps, planned.recipe.min_steps)
    if held < floor:
        needed = floor * step_seconds / PLANNED_SHARE
        limit = min(request.budget, max(needed, limit))
        held = min(planned.full_steps, int(limit * PLANNED_SHARE / step_seconds + 1e-6))
    run_seconds = held * step_seconds + beside
    fits = planned.seeds if request.within is None else max(1, min(MOST_SEEDS, int(given / (2 * run_seconds))))
    seeds = request.seeds or fits
    return planned.model_copy(update={"seeds": seeds, "steps": max(1, held), "step_seconds": step_seconds,
                                     "run_seconds": run_seconds, "limit": None if math.isinf(limit) else limit})
