"""The runs of a ladder or a study, seed by seed: what stands is found, what is missing is made, as far as the time goes.

Seeds are outermost, so that whatever time allows is balanced over all that is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import DivergedError, RecipeError
from speedcore.planning.run import whole_key, whole_run
from speedcore.recipe import Recipe
from speedcore.store.runs import Run, RunStore
from speedcore.training import loop
from speedcore.training.callback import Callback

SEEDS = 3
MOST_SEEDS = 30


class Task(Protocol):
    """One thing that is done with each seed."""

    def exists(self, seed: int) -> bool: ...

    def do(self, seed: int) -> Any: ...

    def seconds(self, result: Any) -> float: ...


@dataclass(frozen=True)
class Training:
    """A task: one run of all the recipe's epochs."""

    dataset: Dataset
    recipe: Recipe
    store: RunStore
    device: str
    callback: Callback | None = None
    arm: str = "with"

    def exists(self, seed: int) -> bool:
        return self.store.find(whole_key(self.dataset, self.recipe, self.arm, seed, self.device)) is not None

    def do(self, seed: int) -> Run:
        return whole_run(self.dataset, self.recipe, self.arm, seed, self.store, self.device, self.callback)

    def seconds(self, result: Run) -> float:
        """All but what loading took, which is done already."""
        return sum(s for phase, s in result.record.ledger.items() if phase not in ("provision", "load"))


def most(seeds: int | None, within: float | None) -> int:
    """Rounds that there will be at most: `seeds` where it is said; else 3, or as many as a time may ever hold."""
    return seeds or (SEEDS if within is None else MOST_SEEDS)


def in_rounds(tasks: Mapping[str, Task], seeds: int | None, within: float | None,
              keep: Callable[[dict[str, list[Any]], tuple[str, ...]], None]) -> None:
    """Do each task with seeds 0, 1, ...; `keep` is told after each round: results by task, and what had to wait.

    seeds: how many; where None, as many rounds as fit into `within` seconds, 3 without it. A round that no longer fits is left
    out; of the first one, whatever comes after the time has run out. What diverges is left out and named.
    """
    watch = Stopwatch()
    found: dict[str, list[Any]] = {name: [] for name in tasks}
    left_out: list[str] = []
    for seed in range(most(seeds, within)):
        missing = [name for name, task in tasks.items() if not task.exists(seed)]
        if within is not None and seed and missing:
            whole = all(found.values())
            needed = sum(tasks[name].seconds(found[name][-1]) for name in missing) if whole else math.inf
            if watch.seconds() + needed > within:
                if seeds:
                    left_out.append(f"seeds {seed} to {seeds - 1} were left out because the time ran out; the same command "
                                    f"continues.")
                    keep(found, tuple(left_out))
                return
        for name, task in tasks.items():
            if within is not None and seed == 0 and name in missing and any(found.values()) and watch.seconds() > within:
                left_out.append(f"{name} was left out because the time ran out; the same command continues.")
                continue
            try:
                found[name].append(task.do(seed))
            except DivergedError as error:
                left_out.append(f"{name}, seed {seed}, is left out: it diverged. {error}")
        keep(found, tuple(left_out))


def too_short(small: Dataset, recipe: Recipe) -> bool:
    """Would a run of `recipe` on the scaled data set take less than two steps?"""
    return recipe.epochs * loop.steps_per_epoch(small, recipe) < 2


def check_steps(study: str, small: Dataset, recipe: Recipe) -> None:
    """Raises RecipeError if a run of `recipe` on the scaled data set would take less than two steps."""
    if too_short(small, recipe):
        raise RecipeError(f"study '{study}' is impossible at this scale: {recipe.epochs:.3g} epochs of {len(small.train)} images "
                          f"in batches of {recipe.batch_size} are less than two steps; choose a larger --scale.")
