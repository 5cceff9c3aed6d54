"""python -m speedcore study NAME: small experiments around training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speedcore.checks import count_of, numbers_of, seconds_of
from speedcore.cli.console import console, device_of
from speedcore.cli.ladder import train_ladder
from speedcore.cli.options import (
    SETTINGS,
    DataDir,
    DatasetName,
    DeviceName,
    EpochsText,
    Listing,
    Offline,
    RecipeName,
    RunsDir,
    ScaleText,
    Seed,
    SeedsText,
    WithinText,
)
from speedcore.cli.progress import live

app = typer.Typer(help="Small experiments around training.", context_settings=SETTINGS, no_args_is_help=True)


@app.callback(invoke_without_command=True)
def studies(context: typer.Context, list_: Listing = False) -> None:
    """Small experiments around training. What they find is kept beside the runs, for `python -m reports.build --chapters`."""
    from speedcore.studies import STUDIES

    if list_:
        out = console(stderr=False)
        for name, asks in STUDIES.items():
            out.print(f"{name}: {asks}", markup=False, soft_wrap=True)
        raise typer.Exit


@app.command("lr-finder")
def lr_finder(dataset: DatasetName = "mnist", recipe: RecipeName = "record",
              steps: Annotated[int, typer.Option(min=10, help="Steps over which the rate rises.")] = 100, seed: Seed = 0,
              data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
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
        dataset: DatasetName = "cifar10", seeds: SeedsText = "auto", scale: ScaleText = "1", within: WithinText = "none",
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Fifteen networks, 20 and 22 epochs each: does a deeper network or a longer training buy more for its time?"""
    from speedcore.studies import architecture_search as asked

    rungs = None if networks is None else asked.rungs_of(networks)
    found = train_ladder(asked.ladder(), rungs, dataset, seeds, scale, within, data, runs, device, offline)
    asked.show(found, console(stderr=False))


@app.command("convergence")
def convergence(
        epochs: EpochsText = None, dataset: DatasetName = "cifar10", seeds: SeedsText = "auto", scale: ScaleText = "1",
        within: WithinText = "none", data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
        offline: Offline = False) -> None:
    """24 to 100 epochs: do the gains in speed of page-tricks become gains in final accuracy?

    --epochs takes some of 24, 40, 60, 80, 100, with commas; all where not given.
    """
    from speedcore.studies import convergence as asked

    rungs = None if epochs is None else asked.rungs_of(epochs)
    found = train_ladder(asked.ladder(), rungs, dataset, seeds, scale, within, data, runs, device, offline)
    asked.show(found, console(stderr=False))


@app.command("lr-by-dataset-size")
def lr_by_dataset_size(
        recipe: RecipeName = "page-baseline-main-thread", dataset: DatasetName = "cifar10", seeds: SeedsText = "auto",
        scale: ScaleText = "1", within: WithinText = "none",
        factors: Annotated[str | None, typer.Option(help="Multiples of the recipe's rate; 1/8 to 16 where not given.")] = None,
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Loss against learning rate for an eighth, a quarter, half and all of the images: do larger sets ask for lower rates?"""
    from speedcore.studies import lr_by_dataset_size as asked

    rates = asked.FACTORS if factors is None else numbers_of(factors, "--factors")
    given = _Given(recipe, dataset, seeds, scale, within, data, runs, device, offline)
    with live(asked.NAME, given.rounds * asked.count(rates), console()) as callback:
        found, path = asked.study(*given.words, callback, rates)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("forgetting")
def forgetting(
        recipe: RecipeName = "page-baseline-main-thread", dataset: DatasetName = "cifar10", seeds: SeedsText = "auto",
        scale: ScaleText = "1", within: WithinText = "none", data: DataDir = None, runs: RunsDir = None,
        device: DeviceName = "auto", offline: Offline = False) -> None:
    """Show a trained network its last batches again: recent ones should have a lower loss than older ones."""
    from speedcore.studies import forgetting as asked

    given = _Given(recipe, dataset, seeds, scale, within, data, runs, device, offline)
    with live(asked.NAME, given.rounds * 3, console()) as callback:
        found, path = asked.study(*given.words, callback)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("batch-norm-scales")
def batch_norm_scales(
        recipe: RecipeName = "page-tricks-ghost", dataset: DatasetName = "cifar10", seeds: SeedsText = "auto",
        scale: ScaleText = "1", within: WithinText = "none", data: DataDir = None, runs: RunsDir = None,
        device: DeviceName = "auto", offline: Offline = False) -> None:
    """Batch-norm's scales and biases, layer by layer, while a network trains, beside what weight decay alone would do."""
    from speedcore.studies import batch_norm_scales as asked

    given = _Given(recipe, dataset, seeds, scale, within, data, runs, device, offline)
    with console().status("training") as status:
        found, path = asked.study(*given.words, status.update)
    asked.show(found, console(stderr=False))
    typer.echo(path)


@app.command("compute-bound")
def compute_bound(
        recipe: RecipeName = "page-baseline-no-repeat,page-tricks-no-cutout", dataset: DatasetName = "cifar10",
        scale: ScaleText = "1", data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
        offline: Offline = False) -> None:
    """Seconds that a training would take at this device's peak throughput, and the share of it that runs reach.

    --recipe names those that are timed over a few steps, with commas between them.
    """
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


class _Given:
    """What the options of a study of one recipe come to. words: as every `study` takes them; rounds: at most."""

    def __init__(self, recipe: str, dataset: str, seeds: str, scale: str, within: str, data: Path | None, runs: Path | None,
                 device: str, offline: bool) -> None:
        from speedcore import recipes
        from speedcore.data import load
        from speedcore.ladders.scale import Scale
        from speedcore.planning import rounds
        from speedcore.store.runs import RunStore

        count, limit = count_of(seeds, "--seeds"), seconds_of(within, "--within")
        chosen, share, on = recipes.get(recipe, dataset), Scale.parse(scale), device_of(device)
        self.words = (load(dataset, data, offline), chosen, RunStore(runs), on, share, count, limit)
        self.rounds = rounds.most(count, limit)
