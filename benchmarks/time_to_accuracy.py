"""How soon is an accuracy reached on this machine, and how much sooner than by the peer? Seed by seed, side by side.

python -m benchmarks.time_to_accuracy mnist-99 [cifar10-peer ...] [--seeds 5] [--peer-seeds 2] [--budget 1000] [--resume]

Our recipe is the one that `speedcore/recipes/targets.py` stores for the target; the peer is a published method, trained
whole, for all seeds or (where it takes long) for the first few. Both run in this process, in turns, and take turns at going
first. The result file is written after each run; --resume goes on from there, with the runs of either side that still are
of the same recipe. Each run is tested once, after its last step.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import record, stored
from speedcore import recipes, stats
from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import device_of, run_app
from speedcore.data import Dataset, load
from speedcore.errors import DataError
from speedcore.machine import processor, provenance
from speedcore.planning.run import run as trained
from speedcore.planning.time_to_accuracy import made_it
from speedcore.recipe import Recipe
from speedcore.recipes import targets
from speedcore.store.runs import RunStore

CLOCK = "dawnbench"


@dataclass(frozen=True)
class Race:
    """An accuracy in percent on a data set, and the built-in recipe that is the peer, if there is one."""

    dataset: str
    accuracy: float
    peer: str | None = None


RACES = {
    "mnist-99": Race("mnist", 99.0, "mnist-fast-8"),
    "mnist-99.6": Race("mnist", 99.6),
    "fashion-93": Race("fashion-mnist", 93.0),
    "fashion-94": Race("fashion-mnist", 94.0),
    "fashion-95": Race("fashion-mnist", 95.0),
    # What airbench94_muon reaches here with its six views (94.75 and 94.72 %, two runs; on CIFAR-10 90.75 ± 0.05 %, n = 3).
    "fashion-peer": Race("fashion-mnist", 94.7, "airbench94-muon"),
    "cifar10-peer": Race("cifar10", 90.7, "airbench94-muon"),
    "cifar10-92": Race("cifar10", 92.0),
}


def contenders(race: Race) -> dict[str, Recipe]:
    """{"ours": recipe, "peer": recipe}; without the peer where none is named, or it is no built-in recipe yet."""
    chosen, why = targets.choose(race.dataset, race.accuracy)
    print(why)
    sides = {"ours": chosen}
    if race.peer in recipes.names():
        sides["peer"] = recipes.get(race.peer, race.dataset)
    elif race.peer:
        print(f"there is no recipe '{race.peer}' yet: ours runs without its peer.")
    return sides


def train(side: str, recipe: Recipe, dataset: Dataset, seed: int, budget: float, device: str, store: RunStore) -> dict:
    """One run as plain data. Ours keeps to the budget; a peer cut short would be no peer, so it has none."""
    r = trained(dataset, recipe, budget if side == "ours" else float("inf"), seed, store=store, device=device,
                clock=CLOCK).record
    views = r.metrics.tta_accuracy
    return {"recipe": r.recipe.name, "recipe_hash": r.recipe_hash, "accuracy %": 100 * r.accuracy,
            "plain %": 100 * r.metrics.test_accuracy, "views %": None if views is None else 100 * views,
            "seconds": r.clocks, "tta seconds": r.ledger.get("tta", 0.0), "epochs": r.epochs, "re-plans": len(r.replans)}


def rows(race: Race, sides: dict[str, Recipe], per_seed: list[dict]) -> list[dict]:
    """One row a side from its seeds: accuracies, seconds and the ratio to the peer's."""
    made = []
    for side, recipe in sides.items():
        runs = [pair[side] for pair in per_seed if side in pair]
        if not runs:
            continue
        accuracies, seconds = [run["accuracy %"] for run in runs], [run["seconds"][CLOCK] for run in runs]
        row = {"who": side, "recipe": recipe.name, "augmented": recipe.augment.any,
               "epochs": stats.median([run["epochs"] for run in runs]), "n": len(runs),
               "accuracy % mean": stats.mean(accuracies), "sd": stats.sd(accuracies),
               "95 % interval": record.bounds(stats.mean_interval(accuracies, (0.0, 100.0))),
               "plain images %": stats.mean([run["plain %"] for run in runs]),
               "reached % of runs": 100 * stats.mean([made_it(accuracy, race.accuracy) for accuracy in accuracies]),
               "median s": stats.median(seconds), "s interval": record.bounds(stats.median_interval(seconds))}
        pairs = [pair for pair in per_seed if {"ours", "peer"} <= set(pair)]
        if side == "ours" and pairs:
            ours, theirs = ([pair[who]["seconds"][CLOCK] for pair in pairs] for who in ("ours", "peer"))
            row["ours / peer"] = stats.median(ours) / stats.median(theirs)
            row["ratio interval"] = record.bounds(interval := stats.ratio_interval(ours, theirs))
            row["ratio interval by"] = interval.kind if interval else None
        made.append(row)
    return made


def standing(name: str, sides: dict[str, Recipe], device: str) -> dict[int, dict]:
    """What stands of an earlier, unfinished call, seed by seed: runs of the same recipes, on the same kind of machine."""
    path = stored.FOLDER / f"{name}.json"
    if not path.is_file():
        return {}
    earlier = json.loads(path.read_text(encoding="utf-8"))
    if earlier["provenance"]["device"] != provenance.describe_device(device):
        return {}
    kept = {}
    for pair in earlier["per_seed"]:
        same = {side: pair[side] for side in sides if side in pair and pair[side]["recipe_hash"] in sides[side].hashes}
        if same:
            kept[pair["seed"]] = {key: value for key, value in pair.items() if key not in ("ours", "peer")} | same
    return kept


def _where(device: str) -> str:
    """What a result file is called after: nothing where a processor multiplies bf16, else its level, or the device."""
    if device != "cpu":
        return f"-{device.split(':')[0]}"
    return "" if processor.level() in ("avx512", "amx") else f"-{processor.level()}"


def run(name: str, seeds: int, budget: float, device: str, data: Path | None = None, resume: bool = False,
        peer_seeds: int | None = None) -> Path | None:
    """Train all seeds of the race `name` and write its result file after each run. None without the data."""
    race = RACES[name]
    try:
        dataset = load(race.dataset, data)
    except DataError as error:
        print(f"{name}: left out. {error}")
        return None
    sides = contenders(race)
    file = f"time-to-accuracy-{name}" + _where(device)
    pairs = standing(file, sides, device) if resume else {}
    path = stored.FOLDER / f"{file}.json"
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            order = list(sides) if seed % 2 == 0 else list(sides)[::-1]
            pair = pairs.setdefault(seed, {"seed": seed, "first": order[0], "revision": provenance.revision()["revision"]})
            for side in order:
                if side in pair or (side == "peer" and peer_seeds is not None and seed >= peer_seeds):
                    continue
                pair[side] = train(side, sides[side], dataset, seed, budget, device, RunStore(folder))
                print(f"{name} seed {seed} {side}: {pair[side]['accuracy %']:.2f} % in {pair[side]['seconds'][CLOCK]:.2f} s",
                      flush=True)
                per_seed = [pairs[s] for s in sorted(pairs)]
                path = record.write(
                    file, f"Seconds ({CLOCK} clock) until a run has landed, and whether it has {race.accuracy:g} % on the test "
                          f"images of {race.dataset}, views counted where the recipe has them.", rows(race, sides, per_seed),
                    device, dataset=dataset.name + ("" if dataset.provenance.official else " (not the official files)"),
                    target=race.accuracy, budget=None if budget == float("inf") else budget,
                    recipes={side: recipe.model_dump(mode="json") for side, recipe in sides.items()}, per_seed=per_seed)
    return path


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("targets", nargs="+", choices=RACES)
    options.add_argument("--seeds", default="5")
    options.add_argument("--peer-seeds", type=int, help="runs of the peer, where fewer than --seeds will do")
    options.add_argument("--budget", default="1000", help="seconds that a run of ours may take, or none")
    options.add_argument("--device", default="auto")
    options.add_argument("--data", type=Path)
    options.add_argument("--resume", action="store_true", help="keep the seeds that the result file has")
    chosen = options.parse_args()
    seeds, device = count_of(chosen.seeds, "--seeds") or 5, device_of(chosen.device)
    budget = seconds_of(chosen.budget, "--budget") or float("inf")
    for name in chosen.targets:
        print(run(name, seeds, budget, device, chosen.data, chosen.resume, chosen.peer_seeds))


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
