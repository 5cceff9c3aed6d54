"""python -m speedcore study NAME: the command lines of the studies."""

from __future__ import annotations

from typing import Annotated

import typer

from speedcore.checks import seconds_of
from speedcore.cli.console import console, device_of, live
from speedcore.cli.options import DataDir, DatasetName, DeviceName, Offline, RecipeName, RunsDir, Seed
from speedcore.errors import UserError

app = typer.Typer(help="Small experiments around training.", no_args_is_help=True)

Seeds = Annotated[int | None, typer.Option(min=1, max=10_000, help="Runs of each; 3, or what --within holds.")]
ScaleText = Annotated[str, typer.Option(help="Share of data, epochs and width: 0.5, or data=0.2,width=0.5.")]
Within = Annotated[str, typer.Option(help="Time for all runs, or none.")]


@app.callback(invoke_without_command=True)
def studies(context: typer.Context,
            list_: Annotated[bool, typer.Option("--list", help="Name the studies there are.")] = False) -> None:
    """Small experiments around training. What they find is kept beside the runs, for `python -m reports.build --chapters`."""
    from speedcore.studies import STUDIES

    if list_:
        out = console(stderr=False)
        for name, asks in STUDIES.items():
            out.print(f"{name}: {asks}", markup=False, soft_wrap=True)
        raise typer.Exit


@app.command("lr-finder")
def lr_finder(dataset: DatasetName = "mnist", recipe: RecipeName = "record", steps: Annotated[int, typer.Option(min=10)] = 100,
              seed: Seed = 0, data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
              offline: Offline = False) -> None:
    """Learning-rate range test: loss while the rate rises geometrically. Leaves nothing behind but its result."""
    import torch

    from speedcore import recipes
    from speedcore.data import load
    from speedcore.store.runs import RunStore
    from speedcore.studies import lr_finder as finder

    source, chosen, on = load(dataset, data, offline), recipes.get(recipe, dataset), device_of(device)
    result = finder.range_test(source, chosen, seed, torch.device(on), steps)
    out = console(stderr=False)
    for line in finder.drawing(result):
        out.print(line, markup=False)
    typer.echo(finder.save(result, source, chosen, RunStore(runs), on))


@app.command("architecture-search")
def architecture_search(
        networks: Annotated[str | None, typer.Option(help="Comma-separated networks; all fifteen where not given.")] = None,
        dataset: DatasetName = "cifar10", seeds: Seeds = None, scale: ScaleText = "1", within: Within = "none",
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Fifteen networks, 20 and 22 epochs each: does a deeper network or a longer training buy more for its time?"""
    from speedcore.studies import architecture_search as search

    rungs = None if networks is None else search.rungs_of(networks)
    found = climbed(search.ladder(), rungs, dataset, seeds, scale, within, data, runs, device, offline)
    search.show(found, console(stderr=False))


@app.command("convergence")
def convergence(
        epochs: Annotated[str | None, typer.Option(help="Comma-separated lengths, of 24, 40, 60, 80, 100.")] = None,
        dataset: DatasetName = "cifar10", seeds: Seeds = None, scale: ScaleText = "1", within: Within = "none",
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """24 to 100 epochs: do the gains in speed of page-tricks become gains in final accuracy?"""
    from speedcore.studies import convergence as asked

    rungs = None if epochs is None else asked.rungs_of(epochs)
    found = climbed(asked.ladder(), rungs, dataset, seeds, scale, within, data, runs, device, offline)
    asked.show(found, console(stderr=False))


def climbed(chosen, rungs, dataset, seeds, scale, within, data, runs, device, offline):
    """What the options of a ladder, or of a study that is climbed like one, ask for: its climb, with a bar meanwhile."""
    from speedcore.data import load
    from speedcore.ladders import climbing
    from speedcore.ladders.scale import Scale
    from speedcore.planning import rounds
    from speedcore.store.runs import RunStore

    share, seconds = Scale.parse(scale), seconds_of(within, "--within")
    count = len(chosen.chosen(rungs)) * rounds.most(seeds, seconds)
    on, source = device_of(device), load(dataset, data, offline)
    with live(chosen.name, count, console()) as watcher:
        return climbing.climb(chosen, source, RunStore(runs), on, share, rungs, seeds, seconds, watcher)


@app.command("lr-by-dataset-size")
def lr_by_dataset_size(
        recipe: RecipeName = "page-baseline-main-thread", dataset: DatasetName = "cifar10", seeds: Seeds = None,
        scale: ScaleText = "1", within: Within = "none",
        factors: Annotated[str | None, typer.Option(help="Multiples of the recipe's rate; 1/8 to 16 where not given.")] = None,
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Loss against learning rate for an eighth, a quarter, half and all of the images: do larger sets ask for lower rates?"""
    from speedcore import recipes
    from speedcore.data import load
    from speedcore.ladders.scale import Scale
    from speedcore.planning import rounds
    from speedcore.store.runs import RunStore
    from speedcore.studies import lr_by_dataset_size as asked

    rates = asked.FACTORS if factors is None else _numbers(factors, "--factors")
    chosen, share, seconds = recipes.get(recipe, dataset), Scale.parse(scale), seconds_of(within, "--within")
    on, source = device_of(device), load(dataset, data, offline)
    count = asked.count(rates) * rounds.most(seeds, seconds)
    with live(asked.NAME, count, console()) as watcher:
        found, path = asked.study(source, chosen, RunStore(runs), on, share, seeds, seconds, watcher, rates)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("forgetting")
def forgetting(
        recipe: RecipeName = "page-baseline-main-thread", dataset: DatasetName = "cifar10", seeds: Seeds = None,
        scale: ScaleText = "1", within: Within = "none", data: DataDir = None, runs: RunsDir = None,
        device: DeviceName = "auto", offline: Offline = False) -> None:
    """Show a trained network its last batches again: recent ones should have a lower loss than older ones."""
    from speedcore import recipes
    from speedcore.data import load
    from speedcore.ladders.scale import Scale
    from speedcore.planning import rounds
    from speedcore.store.runs import RunStore
    from speedcore.studies import forgetting as asked

    chosen, share, seconds = recipes.get(recipe, dataset), Scale.parse(scale), seconds_of(within, "--within")
    on, source = device_of(device), load(dataset, data, offline)
    count = 3 * rounds.most(seeds, seconds)
    with live(asked.NAME, count, console()) as watcher:
        found, path = asked.study(source, chosen, RunStore(runs), on, share, seeds, seconds, watcher)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("batch-norm-scales")
def batch_norm_scales(
        recipe: RecipeName = "page-tricks-ghost", dataset: DatasetName = "cifar10", seeds: Seeds = None, scale: ScaleText = "1",
        within: Within = "none", data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
        offline: Offline = False) -> None:
    """Batch-norm's scales and biases, layer by layer, while a network trains, beside what weight decay alone would do."""
    from speedcore import recipes
    from speedcore.data import load
    from speedcore.ladders.scale import Scale
    from speedcore.store.runs import RunStore
    from speedcore.studies import batch_norm_scales as asked

    chosen, share, seconds = recipes.get(recipe, dataset), Scale.parse(scale), seconds_of(within, "--within")
    on, source = device_of(device), load(dataset, data, offline)
    with console().status("training") as status:
        found, path = asked.study(source, chosen, RunStore(runs), on, share, seeds, seconds, status.update)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("compute-bound")
def compute_bound(
        recipe: Annotated[str, typer.Option(help="Comma-separated recipes that are timed over a few steps.")]
        = "page-baseline-no-repeat,page-tricks-no-cutout",
        dataset: DatasetName = "cifar10", scale: ScaleText = "1", data: DataDir = None, runs: RunsDir = None,
        device: DeviceName = "auto", offline: Offline = False) -> None:
    """Seconds that a training would take at this device's peak throughput, and the share of it that runs reach."""
    from speedcore import recipes
    from speedcore.data import load
    from speedcore.ladders.scale import Scale
    from speedcore.store.runs import RunStore
    from speedcore.studies import compute_bound as asked

    chosen = [recipes.get(name.strip(), dataset) for name in recipe.split(",") if name.strip()]
    share, on, source = Scale.parse(scale), device_of(device), load(dataset, data, offline)
    with console().status("measuring the peak of this device"):
        found, path = asked.study(source, chosen, RunStore(runs), on, share)
    asked.show(found, console(stderr=False))
    typer.echo(path)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    """"0.5,1,2" or "1/8,1,16" as numbers above 0. Raises UserError naming `option`."""
    import math

    def number(part: str) -> float:
        above, _, below = part.partition("/")
        return float(above) / float(below or 1)

    try:
        found = tuple(number(part) for part in text.split(",") if part.strip())
    except (ValueError, ZeroDivisionError):
        found = ()
    if not found or not all(0 < value < math.inf for value in found):
        raise UserError(f"{option} '{text}': write numbers above 0 with commas between them, as 1/8,1,16.")
    return found
