"""What the training loop is given beside the data: a job, one run to train."""

from __future__ import annotations

from dataclasses import dataclass

from speedcore.clock import Budget
from speedcore.recipe import Recipe
from speedcore.training.schedule import Replan


@dataclass(frozen=True)
class Job:
    """One run to train.

    limit: seconds that training may take under the budget's rule; at most `budget.seconds`, less where a build
    shares its time among many runs. steps: how many to take. full_steps: how many all of the recipe's epochs are.
    stretch: more than `steps` may be taken, up to `full_steps`, where the machine turns out faster than planned. arithmetic: why
    the recipe's precision is what it is, in a sentence. replay: the re-plans of a recorded run, to train its weights again
    exactly.
    """

    key: str
    recipe: Recipe
    arm: str
    seed: int
    budget: Budget
    limit: float
    steps: int
    full_steps: int
    stretch: bool = False
    arithmetic: str = ""
    replay: tuple[Replan, ...] | None = None
