"""What climbed ladders found, as result files that the method cards are made of: results/ladder-NAME.json.

python -m benchmarks.ladders NAME [NAME ...] [--runs DIR] [--dataset NAME] [--scale S] [--device cpu|cuda]

NAME is a ladder that was climbed (`python -m speedcore ladder NAME`); nothing is trained here. A ladder that was climbed in
several ways (data sets, scales, kinds of device) needs the option that tells them apart. Each rung: n, accuracy, seconds by the
ladder's clock, and the change against the rung below, paired by seed, with interval and verdict.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from benchmarks import methods, record
from speedcore import stats
from speedcore.cli.console import run_app
from speedcore.errors import UserError
from speedcore.ladders.changes import RULE, Change
from speedcore.ladders.result import LadderResult, RungFinding
from speedcore.ladders.run import load_all
from speedcore.ladders.scale import Scale
from speedcore.store.runs import Run, RunStore


def runs_of(climb: LadderResult) -> list[Run]:
    """All runs of a climb, rung by rung."""
    return [run for runs in climb.runs.values() for run in runs]


def choose(climbs: Iterable[LadderResult], name: str, dataset: str | None, scale: Scale | None,
           device: str | None) -> LadderResult:
    """The one climb of the ladder `name` that the options fit. Raises UserError where there is none, or more than one."""
    fitting = []
    for climb in climbs:
        first = next(iter(runs_of(climb)), None)
        if (first and dataset in (None, first.record.data.name) and device in (None, first.record.device)
                and scale in (None, climb.scale)):
            fitting.append((climb, first.record))
    if not fitting:
        raise UserError(f"ladder '{name}' was not climbed like that beside these runs; climb it with python -m speedcore ladder "
                        f"{name}, or name the folder of its runs with --runs.")
    if len(fitting) > 1:
        listed = "\n".join(f"  --dataset {run.data.name} --scale {_scale_of(climb)} --device {run.device}"
                           for climb, run in fitting)
        raise UserError(f"ladder '{name}' was climbed in {len(fitting)} ways; say which:\n{listed}")
    return fitting[0][0]


def write(climb: LadderResult) -> Path:
    """Write the result file of a climb; another data set than the ladder's own and another device are part of its name."""
    ladder, runs = climb.ladder, runs_of(climb)
    first = runs[0].record
    parts = ["ladder", ladder.name]
    if first.data.name != ladder.dataset:
        parts.append(first.data.name.replace(":", "-").replace("/", "-"))
    if first.device != "cpu":
        parts.append(first.device)
    origins = [run.record.provenance for run in runs]
    recipes = ladder.recipes
    clock = climb.clocks[ladder.clock]
    return record.write(
        "-".join(parts), f"Ladder {ladder.name} ({ladder.description or 'rung by rung'}), {climb.scale.text}: what does each "
        f"change do? Seconds of the clock {ladder.clock}.", [_row(finding) for finding in climb.findings],
        made=max(origins, key=lambda origin: str(origin.get("finished", ""))),
        ladder=ladder.name, dataset=first.data.name + ("" if first.data.official else " (not the official files)"),
        scale=climb.scale.text, clock=ladder.clock, verdicts=RULE,
        **{"training images": first.data.train_images, "as set": _scale_of(climb),
           "machines": _every(origins, "device"), "revisions": sorted({str(o.get("revision"))[:12] for o in origins})},
        **({"left out": list(climb.left_out)} if climb.left_out else {}),
        recipes={rung.name: recipes[rung.name].hash for rung in climb.rungs},
        per_seed={rung.name: [{"seed": run.record.seed, "accuracy %": 100 * run.record.accuracy,
                               "seconds": clock.seconds(run.record.ledger)} for run in climb.runs[rung.name]]
                  for rung in climb.rungs})


def _row(finding: RungFinding) -> dict:
    """One rung. Changes are None on the lowest one and where no seed was run on both."""
    points, ratio = finding.accuracy, finding.time
    return {
        "rung": finding.rung.name, "what changed": finding.rung.what, "against": finding.against, "epochs": finding.epochs,
        "n": len(finding.accuracies), "accuracy % mean": 100 * finding.mean,
        "sd": None if finding.sd is None else 100 * finding.sd, "95 % interval": record.bounds(finding.interval, 100),
        "seconds": stats.mean(finding.seconds), "seconds sd": stats.sd(finding.seconds),
        "pairs": points.pairs if points else None, "points": points and 100 * points.value,
        "points interval": points and record.bounds(points.interval, 100),
        "accuracy": _verdict(points),
        "time ratio": ratio and ratio.value, "ratio interval": ratio and record.bounds(ratio.interval),
        "time": _verdict(ratio),
        "stopped by the test set": finding.peeked, "reproduced": finding.reproduced}


def _verdict(change: Change | None) -> str | None:
    return change.verdict if change else None


def _scale_of(climb: LadderResult) -> str:
    """The scale as --scale takes it."""
    return "1" if climb.scale.whole else ",".join(f"{part}={share:g}" for part, share in vars(climb.scale).items())


def _every(origins: list[dict], key: str) -> list[str]:
    return sorted({str(origin[key]) for origin in origins if origin.get(key)})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="+")
    options.add_argument("--runs", type=Path)
    options.add_argument("--dataset")
    options.add_argument("--scale")
    options.add_argument("--device")
    chosen = options.parse_args()
    store, scale = RunStore(chosen.runs), chosen.scale and Scale.parse(chosen.scale)
    for name in chosen.names:
        print(write(choose(load_all(store, name), name, chosen.dataset, scale or None, chosen.device)))
    methods.write()


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
