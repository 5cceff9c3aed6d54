"""python -m speedcore target: seconds to an accuracy."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import console, device_of
from speedcore.cli.options import AsJson, BudgetText, DataDir, DatasetName, DeviceName, Offline, RecipeName, RunsDir, SeedsText
from speedcore.cli.progress import live

SEEDS = 6  # an interval of the median needs six


def target(accuracy: Annotated[float, typer.Option(help="Test accuracy to be reached, in percent.")],
           dataset: DatasetName = "mnist", seeds: SeedsText = "auto", recipe: RecipeName = "auto", budget: BudgetText = "1000",
           as_json: AsJson = False, data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
           offline: Offline = False) -> None:
    """How fast can this machine get there? Seconds over several seeds (auto: six, as an interval needs), and the share of runs
    that made it. Recipe auto is the fastest known for that accuracy."""
    from speedcore.data import load
    from speedcore.planning import time_to_accuracy
    from speedcore.store.runs import RunStore

    time_to_accuracy.check_accuracy(accuracy)
    count = count_of(seeds, "--seeds") or SEEDS
    seconds, on = seconds_of(budget, "--budget") or math.inf, device_of(device)
    # A bad recipe fails here, before any data is fetched.
    chosen, why = time_to_accuracy.choose(dataset, accuracy, None if recipe == "auto" else recipe)
    source, progress, out = load(dataset, data, offline), console(), console(stderr=False)
    time_to_accuracy.check_accuracy(accuracy, len(source.classes))
    progress.print(why, markup=False)
    with live(dataset, count, progress) as callback:
        answer = time_to_accuracy.reach(source, accuracy, chosen, count, seconds, RunStore(runs), on, callback)
    if as_json:
        typer.echo(time_to_accuracy.as_line(answer))
    else:
        time_to_accuracy.show(answer, out)
