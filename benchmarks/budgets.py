"""Are budgets kept, and used? Runs of 5, 20 and 60 seconds on each data set, with the planner's own choices.

python -m benchmarks.budgets [--datasets mnist,...] [--budgets 5,20,60] [--recipe auto]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import record
from speedcore.data import NAMES, load
from speedcore.errors import DataError
from speedcore.planning.run import run
from speedcore.store.runs import RunStore


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--datasets", default=",".join(NAMES))
    options.add_argument("--budgets", default="5,20,60")
    options.add_argument("--recipe", default="auto")
    options.add_argument("--data", type=Path)
    chosen = options.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.datasets.split(","):
            try:
                dataset = load(name, chosen.data)
            except DataError as error:
                print(f"{name}: left out. {error}")
                continue
            for seconds in map(float, chosen.budgets.split(",")):
                r = run(dataset, chosen.recipe, seconds, store=RunStore(folder)).record
                used = r.clocks["article"]
                full = r.recipe.epochs * r.steps_per_epoch
                rows.append({"data set": name, "budget s": seconds, "used s": used, "share %": 100 * used / seconds,
                             "kept": used <= seconds, "landed": r.final_factor == r.recipe.schedule.floor,
                             "recipe": r.recipe.name, "wanted more": r.steps < full, "epochs": r.epochs,
                             "re-plans": len(r.replans), "test accuracy %": 100 * r.accuracy})
                print(rows[-1], flush=True)
    name = "budgets" if chosen.budgets == options.get_default("budgets") else f"budgets-{chosen.budgets.replace(',', '-')}"
    print(record.write(name, "Is a budget of training seconds (article clock) kept, used, and the rate landed?", rows))


if __name__ == "__main__":
    main()
