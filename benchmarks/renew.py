"""Intervals and verdicts in result files, made anew from the values of the runs that the files hold.

python -m benchmarks.renew

Nothing is trained and nothing else in a file changes: not what was measured, not where and when. To be run when
`speedcore.stats` makes intervals by another rule, so that all pages speak of the same ones. Rewrites results/*.json
where
anything differs, and the pages made of them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence

from benchmarks import methods, record, stored
from explain.claim.preregistration import preregistration
from speedcore import stats
from speedcore.ladders.changes import RULE, of_accuracy, of_time


def renewed(content: dict) -> dict:
    """A result file's content as it would be written today from the same runs."""
    content = copy.deepcopy(content)
    kind = content["name"].split("-")[0]
    for row in content["rows"]:
        if kind == "ladder":
            _rung(row, content["per_seed"])
        elif content["name"].startswith("time-to-accuracy"):
            _side(row, content["per_seed"])
        elif kind == "claim" and "per_seed" in content:
            _test(row, content["per_seed"])
    if kind == "ladder":
        content["verdicts"] = RULE
    return content


def _rung(row: dict, per_seed: dict[str, list[dict]]) -> None:
    row["95 % interval"] = _of_percent([run["accuracy %"] for run in per_seed[row["rung"]]])
    if row["points"] is None:
        return
    below = {run["seed"]: run for run in per_seed[row["against"]]}
    pairs = [(below[run["seed"]], run) for run in per_seed[row["rung"]] if run["seed"] in below]
    points = of_accuracy([(a["accuracy %"] / 100, b["accuracy %"] / 100) for a, b in pairs])
    ratio = of_time([(a["seconds"], b["seconds"]) for a, b in pairs])
    row |= {"points interval": record.bounds(points.interval, 100), "accuracy": points.verdict,
            "ratio interval": record.bounds(ratio.interval), "time": ratio.verdict}


def _side(row: dict, per_seed: list[dict]) -> None:
    row["95 % interval"] = _of_percent([pair[row["who"]]["accuracy %"] for pair in per_seed if row["who"] in pair])
    pairs = [pair for pair in per_seed if {"ours", "peer"} <= set(pair)]
    if "ratio interval" in row and pairs:
        ours, theirs = ([pair[who]["seconds"]["dawnbench"] for pair in pairs] for who in ("ours", "peer"))
        interval = stats.ratio_interval(ours, theirs)
        row |= {"ratio interval": record.bounds(interval), "ratio interval by": interval.kind if interval else None}


def _test(row: dict, per_seed: dict[str, dict]) -> None:
    claim = preregistration().of(row["data set"])
    part = row["test"] == "part"
    outcome = claim.primary if part else next(o for o in (claim.primary, *claim.secondary) if o.name == row["what"])
    pairs = per_seed[row["data set"]]["values"].get(outcome.name, {}).get(row["what"] if part else "with", [])
    differences = [outcome.difference(without, other) for without, other in pairs if None not in (without, other)]
    row["interval"] = record.bounds(stats.mean_interval(differences))


def _of_percent(accuracies: Sequence[float]) -> list[float] | None:
    return record.bounds(stats.mean_interval([accuracy / 100 for accuracy in accuracies], (0.0, 1.0)), 100)


def main() -> None:
    for path in sorted(stored.FOLDER.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if (anew := renewed(content)) != content:
            path.write_text(json.dumps(anew, indent=1) + "\n", encoding="utf-8")
            print(path)
    print(record.page())
    methods.write()


if __name__ == "__main__":
    main()
