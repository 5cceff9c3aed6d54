"""python -m speedcore train: one run."""

from __future__ import annotations

import typer

from speedcore.checks import ARMS, DATA_MODES, one_of, seconds_of
from speedcore.cli.console import beside, console, device_of
from speedcore.cli.options import (
    ArmName,
    BudgetText,
    ClockName,
    DataDir,
    DataMode,
    DatasetName,
    DeviceName,
    Offline,
    RecipeName,
    RunsDir,
    Seed,
)
from speedcore.cli.progress import live


def train(dataset: DatasetName = "mnist", recipe: RecipeName = "auto", budget: BudgetText = "1000",
          clock: ClockName = "article", seed: Seed = 0, arm: ArmName = "with", data_mode: DataMode = None, data: DataDir = None,
          runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Train one run, or find it among the finished ones, and name its folder."""
    from speedcore.clock import POLICIES
    from speedcore.data import load
    from speedcore.planning.request import recipes_for
    from speedcore.planning.run import run as train_or_find
    from speedcore.store.runs import RunStore

    one_of("--clock", clock, POLICIES)
    one_of("--arm", arm, ARMS)
    one_of("--data-mode", "device" if data_mode is None else data_mode, DATA_MODES)
    seconds, on = seconds_of(budget, "--budget"), device_of(device)
    recipes_for(recipe, dataset)  # a bad recipe fails here, before any data is fetched
    source, out = load(dataset, data, offline), console()
    out.print(source.summary, markup=False, soft_wrap=True)
    with live(source.name, 1, out) as callback:
        run = train_or_find(source, recipe, seconds, seed, arm, RunStore(runs), on, callback, clock, data_mode)
    r = run.record
    tta = "" if r.metrics.tta_accuracy is None else f", {100 * r.metrics.tta_accuracy:.2f} % with test-time views"
    out.print(f"test accuracy {100 * r.metrics.test_accuracy:.2f} %{tta}{beside(run)}; {r.steps} steps, {r.epochs:.3g} epochs; "
              f"last rate at {r.final_factor:g} of the peak", markup=False)
    if r.peeked:
        out.print("this run read the test set to decide when to stop: its accuracy says nothing about unseen images")
    out.print("clocks: " + ", ".join(f"{name} {s:.1f} s" for name, s in r.clocks.items()))
    typer.echo(run.path)
