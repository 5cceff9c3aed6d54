"""How fast can this machine get there? One fixed recipe over several seeds: seconds, and the share of runs that made it.

No run is stopped by what it scores: each trains its recipe to the end and is tested once.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speedcore import recipes, stats
from speedcore.data.dataset import Dataset
from speedcore.errors import UserError
from speedcore.planning.run import run as train
from speedcore.recipe import Recipe
from speedcore.recipes import targets
from speedcore.stats import Interval
from speedcore.store.runs import Run, RunStore
from speedcore.training import health
from speedcore.training.callback import Callback

if TYPE_CHECKING:
    from rich.console import Console

# Seconds are this clock's, and the budget is kept under it.
CLOCK = "dawnbench"


def made_it(accuracy: float, target: float) -> bool:
    """Whether an accuracy in percent is the target or more: 9,470 of 10,000 are 94.7 %, though 100 · 0.947 is a little less."""
    return accuracy >= target - 1e-9


@dataclass(frozen=True)
class Answer:
    """Finished runs of one recipe, one a seed, seen against a target accuracy in percent."""

    dataset: str
    target: float
    recipe: Recipe
    runs: tuple[Run, ...]

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy of each run in percent, with views where the recipe has them."""
        return [100 * run.record.accuracy for run in self.runs]

    @property
    def seconds(self) -> list[float]:
        return [run.record.clocks[CLOCK] for run in self.runs]

    @property
    def reached(self) -> float:
        """The share of runs that made it."""
        return stats.mean([made_it(accuracy, self.target) for accuracy in self.accuracies])

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the median seconds; None for fewer than six runs."""
        return stats.median_interval(self.seconds)

    @property
    def cut_short(self) -> int:
        """How many runs the budget ended before the recipe's last epoch."""
        return sum(run.record.epochs < self.recipe.epochs - 1 / run.record.steps_per_epoch for run in self.runs)

    def summary(self) -> dict[str, Any]:
        """Plain data, as `--json` prints it."""
        interval = self.interval
        return {"dataset": self.dataset, "target": self.target, "n": len(self.runs),
                "mean_accuracy": stats.mean(self.accuracies), "reached": self.reached,
                "median_seconds": stats.median(self.seconds),
                "interval": [interval.low, interval.high] if interval else None, "recipe": self.recipe.name,
                "epochs": self.recipe.epochs}


def check_accuracy(accuracy: float, classes: int | None = None) -> None:
    """Raises UserError unless `accuracy` is a percentage; with the number of classes, one that guessing does not reach."""
    if not (math.isfinite(accuracy) and 0 < accuracy <= 100):
        raise UserError(f"--accuracy {accuracy:g} is no accuracy in percent; write a number such as 99 or 93.5.")
    if classes and accuracy <= 100 / classes:
        raise UserError(f"--accuracy {accuracy:g}: guessing among {classes} classes is right {100 / classes:.3g} % of the time; "
                        f"write a percentage above that, such as 99 or 93.5.")


def choose(name: str, accuracy: float, recipe: str | None) -> tuple[Recipe, str]:
    """The recipe to train and why: the one asked for, else the fastest known for that accuracy. Raises RecipeError."""
    if recipe is None:
        return targets.choose(name, accuracy)
    chosen = recipes.get(recipe, name)
    return chosen, f"recipe '{chosen.name}', {chosen.epochs:g} epochs: asked for."


def reach(dataset: Dataset, accuracy: float, recipe: Recipe, seeds: int, budget: float, store: RunStore, device: str,
          callback: Callback | None = None) -> Answer:
    """Train `recipe` for seeds 0..seeds − 1, each within `budget` seconds; runs that stand are reused."""
    runs = tuple(train(dataset, recipe, budget, seed, store=store, device=device, callback=callback, clock=CLOCK)
                 for seed in range(seeds))
    return Answer(dataset.name, accuracy, recipe, runs)


def show(answer: Answer, out: Console) -> None:
    """Print the answer as a table, and what has to be known about it."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    row = {"data set": answer.dataset, "target": f"{answer.target:g} %", "recipe": answer.recipe.name,
           "epochs": f"{answer.recipe.epochs:g}", "runs": str(len(answer.runs)),
           "mean accuracy": f"{stats.mean(answer.accuracies):.2f} %",
           "reached by": f"{round(answer.reached * len(answer.runs))} of {len(answer.runs)}",
           "median seconds": f"{stats.median(answer.seconds):.2f}",
           "95 % interval": f"{answer.interval.low:.2f} to {answer.interval.high:.2f}" if answer.interval else "–"}
    for heading in row:
        table.add_column(heading, no_wrap=True)
    table.add_row(*row.values())
    out.print(table)
    out.print(f"Seconds are those of the {CLOCK} clock; each run trained its recipe to the end and was tested once.")
    if answer.interval is None:
        out.print("Fewer than six runs have no 95 % interval of their median: give --seeds 6 or more.")
    for remark in health.remarks(answer.runs, [run.record.accuracy for run in answer.runs]):
        out.print(f"{remark[:1].upper()}{remark[1:]}.", markup=False)
    if answer.cut_short:
        out.print(f"{answer.cut_short} of {len(answer.runs)} runs landed before the recipe's last epoch, because the budget "
                  f"ended: raise --budget.")


def as_line(answer: Answer) -> str:
    """`summary` as one line of JSON."""
    return json.dumps(answer.summary(), ensure_ascii=False)
