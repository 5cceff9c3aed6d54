"""python -m speedcore plan: what a build would train, and for how long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import console, device_of
from speedcore.cli.datasets import dataset_names
from speedcore.cli.options import (
    AllDatasets,
    BudgetText,
    DataDir,
    DatasetNames,
    DeviceName,
    Offline,
    RecipeName,
    RunsDir,
    SeedsText,
    WithinText,
)
from speedcore.errors import DataError, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from speedcore.planning.planned_runs import Plan
    from speedcore.planning.request import Request
    from speedcore.store.runs import RunStore


def plan(all_: AllDatasets = False, dataset: DatasetNames = None, recipe: RecipeName = "auto", budget: BudgetText = "1000",
         within: WithinText = "15m", seeds: SeedsText = "auto", data: DataDir = None, runs: RunsDir = None,
         device: DeviceName = "auto", offline: Offline = False) -> None:
    """Show what `python -m reports.build` would train with the same options, and for how long. Trains nothing."""
    from speedcore.clock import Stopwatch
    from speedcore.data import load
    from speedcore.planning.plan import RENDERING, make_plan
    from speedcore.planning.request import Request
    from speedcore.store.runs import RunStore

    request = Request(recipe, seconds_of(budget, "--budget") or math.inf, "article", seconds_of(within, "--within"),
                      count_of(seeds, "--seeds"), device_of(device))
    out, store, watch, loaded = console(stderr=False), RunStore(runs), Stopwatch(), []
    for name in dataset_names(all_, dataset):
        request.recipes(name)  # a bad recipe fails here, before any data is fetched
        try:
            loaded.append(load(name, data, offline))
            out.print(loaded[-1].summary, markup=False, soft_wrap=True)
        except DataError as error:
            out.print(f"{name}: left out. {error}", markup=False)
    if not loaded:
        raise UserError("no data set is available, so there is nothing to plan.")
    show_plan(make_plan(loaded, request, store, watch.seconds() + RENDERING), request, store, out)


def show_plan(plan: Plan, request: Request, store: RunStore, out: Console) -> None:
    """Print a plan as a table with its notes, and how much of it is finished already."""
    from rich.markup import escape
    from rich.table import Table

    from speedcore.planning import planned_runs
    from speedcore.planning.plan import describe

    rows = describe(plan)
    table = Table(*rows[0], "finished", box=None, header_style="bold", pad_edge=False)
    for planned, row in zip(plan.planned, rows, strict=True):
        jobs = [job for pair in planned_runs.jobs(planned, request) for job in pair]
        table.add_row(*map(escape, row.values()), f"{sum(store.path_of(job.key).exists() for job in jobs)} of {len(jobs)}")
    out.print(table)
    for note in plan.notes:
        out.print(note, markup=False)
