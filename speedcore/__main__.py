"""python -m speedcore: train | target | plan | data | precompute | verify | ladder | study."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from speedcore.checks import ARMS, DATA_MODES, count_of, one_of, seconds_of
from speedcore.cli.console import beside, console, device_of, live, run_app
from speedcore.cli.options import BudgetText, DataDir, DatasetName, DeviceName, Offline, Policy, RecipeName, RunsDir, Seed
from speedcore.cli.studies import app as studies
from speedcore.cli.studies import climbed
from speedcore.errors import UserError

app = typer.Typer(help="Train small image classifiers inside a wall-clock budget, reproducibly.",
                  add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(studies, name="study")


@app.command()
def train(dataset: DatasetName = "mnist", recipe: RecipeName = "auto", budget: BudgetText = "1000",
          policy: Policy = "article", seed: Seed = 0,
          arm: Annotated[str, typer.Option(help="with or without augmentation.")] = "with",
          data_mode: Annotated[str | None, typer.Option(help="device or precomputed.")] = None,
          data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Train one run, or find it among the finished ones, and name its folder."""
    from speedcore.clock import POLICIES
    from speedcore.data import load
    from speedcore.planning import execute
    from speedcore.planning import plan as planning
    from speedcore.store.runs import RunStore

    one_of("--policy", policy, POLICIES)
    one_of("--arm", arm, ARMS)
    one_of("--data-mode", "device" if data_mode is None else data_mode, DATA_MODES)
    seconds, chosen = seconds_of(budget, "--budget") or float("inf"), device_of(device)
    planning.candidates(planning.Request(recipe), dataset)  # a bad recipe fails here, before any data is fetched
    source, out = load(dataset, data, offline), console()
    out.print(source.summary, markup=False, soft_wrap=True)
    with live(source.name, 1, out) as callback:
        run = execute.run(source, recipe, seconds, seed, arm, RunStore(runs), chosen, callback, policy, data_mode)
    r = run.record
    tta = "" if r.metrics.tta_accuracy is None else f", {100 * r.metrics.tta_accuracy:.2f} % with test-time views"
    out.print(f"test accuracy {100 * r.metrics.test_accuracy:.2f} %{tta}{beside(run)}; {r.steps} steps, {r.epochs:.3g} epochs; "
              f"last rate at {r.final_factor:g} of the peak", markup=False)
    if r.peeked:
        out.print("this run read the test set to decide when to stop: its accuracy says nothing about unseen images")
    out.print("clocks: " + ", ".join(f"{name} {s:.1f} s" for name, s in r.clocks.items()))
    typer.echo(run.path)


@app.command()
def target(accuracy: Annotated[float, typer.Option(help="Test accuracy to be reached, in percent.")],
           dataset: DatasetName = "mnist",
           seeds: Annotated[int, typer.Option(min=1, max=10_000, help="Runs; an interval needs six.")] = 6,
           recipe: Annotated[str | None, typer.Option(help="A built-in name or a TOML file; without it, the fastest known "
                                                           "for that accuracy.")] = None,
           budget: BudgetText = "1000", as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
           data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """How fast can this machine get there? Seconds over several seeds, and the share of runs that made it."""
    from speedcore.data import load
    from speedcore.planning import time_to_accuracy as finding
    from speedcore.store.runs import RunStore

    finding.check_accuracy(accuracy)
    seconds, machine = seconds_of(budget, "--budget") or float("inf"), device_of(device)
    chosen, why = finding.choose(dataset, accuracy, recipe)  # a bad recipe fails here, before any data is fetched
    source, progress, out = load(dataset, data, offline), console(), console(stderr=False)
    finding.check_accuracy(accuracy, len(source.classes))
    progress.print(why, markup=False)
    with live(dataset, seeds, progress) as callback:
        answer = finding.reach(source, accuracy, chosen, seeds, seconds, RunStore(runs), machine, callback)
    if as_json:
        typer.echo(finding.as_line(answer))
    else:
        finding.show(answer, out)


@app.command()
def plan(all_: Annotated[bool, typer.Option("--all", help="Every known data set.")] = False,
         datasets: Annotated[str | None, typer.Option(help="Comma-separated names.")] = None,
         recipe: RecipeName = "auto", budget: BudgetText = "1000",
         within: Annotated[str, typer.Option(help="Time for the whole build, or none.")] = "15m",
         seeds: Annotated[str, typer.Option(help="auto, or a number of pairs.")] = "auto",
         data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Show what `python -m reports.build` would train with the same options, and for how long. Trains nothing."""
    from speedcore.errors import DataError
    from speedcore.planning import plan as planning
    from speedcore.store.runs import RunStore

    request = planning.Request(recipe, seconds_of(budget, "--budget") or float("inf"), "article",
                               seconds_of(within, "--within"), count_of(seeds, "--seeds"), device_of(device))
    out, store = console(stderr=False), RunStore(runs)
    from speedcore.clock import Stopwatch
    from speedcore.data import load

    watch, loaded = Stopwatch(), []
    for name in dataset_names(all_, datasets):
        planning.candidates(request, name)  # a bad recipe fails here, before any data is fetched
        try:
            loaded.append(load(name, data, offline))
            out.print(loaded[-1].summary, markup=False, soft_wrap=True)
        except DataError as error:
            out.print(f"{name}: left out. {error}", markup=False)
    if not loaded:
        raise UserError("no data set is available, so there is nothing to plan.")
    made = planning.make_plan(loaded, request, store, watch.seconds() + planning.RENDERING)
    show_plan(made, request, store, out)


@app.command("data")
def data_command(datasets: Annotated[str | None, typer.Option(help="Comma-separated names; all where not given.")] = None,
                 data: DataDir = None, offline: Offline = False) -> None:
    """List each data set: where it was found, whether its bytes are the official ones, size, mean and std; then its classes, and
    how many files were used, left out and ignored, and why."""
    from rich.markup import escape
    from rich.table import Table

    from speedcore.data import describe

    out = console(stderr=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("data set", "official", "train / test", "size", "mean", "std"):
        table.add_column(heading, no_wrap=True)
    table.add_column("found")
    words = []
    for name in dataset_names(datasets is None, datasets):
        row = describe(name, data, offline)
        words.append(row.summary or f"{row.name}: {row.reason}")
        if not row.found:
            table.add_row(escape(row.name), *["–"] * 5, "no: see below")
            continue
        values = [" ".join(f"{v:.3f}" for v in moment) for moment in (row.mean, row.std)]
        table.add_row(escape(row.name), "yes" if row.official else "no", f"{row.train:,} / {row.test:,}",
                      "×".join(map(str, row.size)), *values, escape(row.source))
    out.print(table)
    for line in words:
        out.print(f"\n{line}", markup=False, soft_wrap=True)


@app.command()
def precompute(dataset: DatasetName = "mnist", recipe: RecipeName = "article", epochs: float = 1.0, seed: Seed = 0,
               into: Annotated[Path, typer.Option(help="Folder for the stored epochs.")] = Path("precomputed"),
               data: DataDir = None, offline: Offline = False) -> None:
    """Write augmented epochs to disk, stream them back, and say how fast both went."""
    from speedcore import recipes
    from speedcore.clock import Stopwatch
    from speedcore.data import load
    from speedcore.data.batches import Batches
    from speedcore.data.precompute import PrecomputedEpochs
    from speedcore.techniques.augment import Normalise
    from speedcore.training.loop import hold_out

    if not 0 < epochs <= 10_000:
        raise UserError(f"--epochs {epochs:g}: write a number above 0.")
    source, chosen = load(dataset, data, offline), recipes.get(recipe, dataset)
    split, _ = hold_out(source.train, chosen.val_images)
    batches = Batches(split, chosen.augment, chosen.batch_size, seed, Normalise.of(source))
    steps, watch = max(1, round(epochs * batches.steps_per_epoch)), Stopwatch()
    stored = PrecomputedEpochs(batches, steps, into)
    written = watch.seconds()
    watch, images = Stopwatch(), steps * chosen.batch_size
    for _ in stored:
        pass
    console(stderr=False).print(f"{images:,} augmented images ({stored.bytes / 1e9:.2f} GB) written to {into} at "
                                f"{images / written:,.0f} a second, streamed back at {images / watch.seconds():,.0f}")


@app.command()
def verify(run: Annotated[Path, typer.Argument(help="A run folder.")], data: DataDir = None, offline: Offline = False) -> None:
    """Check a finished run: read and compare its files, train it again step for step, compare the weights bit for bit."""
    from speedcore.data import load
    from speedcore.training.verify import verify as verified

    typer.echo(verified(run, lambda name: load(name, data, offline)))


@app.command()
def ladder(name: Annotated[str | None, typer.Argument(help="A built-in ladder, or a TOML file.")] = None,
           list_: Annotated[bool, typer.Option("--list", help="Name the ladders there are.")] = False,
           rungs: Annotated[str | None, typer.Option(help="Comma-separated rungs; all where not given.")] = None,
           dataset: Annotated[str | None, typer.Option(help="Another data set than the ladder's own.")] = None,
           seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Runs a rung; 3, or what --within holds.")] = None,
           scale: Annotated[str, typer.Option(help="Share of data, epochs and width: 0.5, or data=0.2,width=0.5.")] = "1",
           within: Annotated[str, typer.Option(help="Time for all runs, or none.")] = "none",
           data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Train the rungs of a ladder, or find their runs, and show what each rung's change does."""
    from speedcore import ladders
    from speedcore.ladders import printing

    out = console(stderr=False)
    if list_ or name is None:
        return printing.show_list(ladders.built_in(), out)
    chosen = ladders.get(name)
    printing.show(climbed(chosen, rungs, dataset or chosen.dataset, seeds, scale, within, data, runs, device, offline), out)


def dataset_names(all_: bool, datasets: str | None) -> list[str]:
    """The data sets that options name, checked. Raises UserError."""
    from speedcore.data import NAMES, check_name, own_name

    if datasets is None:
        if not all_:
            raise UserError("say which data sets: --all, or --datasets " + ",".join(NAMES))
        return list(NAMES)
    # A comma before key=value belongs to the name: shapes:corner=0.9,seed=1.
    named = [name.strip() for name in re.split(r",(?!\s*\w+=)", datasets) if name.strip()]
    if not named:
        raise UserError("--datasets is empty; name at least one of " + ", ".join(NAMES))
    named = list(dict.fromkeys([*(NAMES if all_ else ()), *named]))
    by_own_name: dict[str, str] = {}
    for name in named:
        check_name(name)
        if (other := by_own_name.setdefault(own_name(name), name)) != name:
            raise UserError(f"--datasets: '{other}' and '{name}' would both be called {own_name(name)}; rename one folder.")
    return named


def show_plan(plan, request, store, out) -> None:
    """Print a plan as a table with its notes, and how much of it stands already."""
    from rich.markup import escape
    from rich.table import Table

    from speedcore.planning import plan as planning
    from speedcore.planning import planned_runs

    rows = planning.describe(plan)
    table = Table(*rows[0], "finished", box=None, header_style="bold", pad_edge=False)
    for planned, row in zip(plan.courses, rows, strict=True):
        jobs = [job for pair in planned_runs.jobs(planned, request) for job in pair]
        table.add_row(*map(escape, row.values()), f"{sum(store.path_of(job.key).exists() for job in jobs)} of {len(jobs)}")
    out.print(table)
    for note in plan.notes:
        out.print(note, markup=False)


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
