"""python -m speedcore study NAME: the command lines of the studies."""

from __future__ import annotations

from typing import Annotated

import typer

from speedcore.console import console, device_of, live, seconds_of
from speedcore.options import DataDir, DatasetName, DeviceName, Offline, RecipeName, RunsDir, Seed

app = typer.Typer(help="Small experiments around training.", no_args_is_help=True)


@app.command("lr-finder")
def lr_finder(dataset: DatasetName = "mnist", recipe: RecipeName = "record", steps: Annotated[int, typer.Option(min=10)] = 100,
              seed: Seed = 0, data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto",
              offline: Offline = False) -> None:
    """Learning-rate range test: loss while the rate rises geometrically. Leaves nothing behind but its result."""
    import torch

    from speedcore import recipes
    from speedcore.data import load
    from speedcore.runs import RunStore
    from speedcore.studies import lr_finder as finder

    source = load(dataset, data, offline)
    result = finder.range_test(source, recipes.get(recipe, dataset), seed, torch.device(device_of(device)), steps)
    out = console(stderr=False)
    for line in finder.drawing(result):
        out.print(line, markup=False)
    typer.echo(finder.save(result, RunStore(runs).root))


@app.command("architecture-search")
def architecture_search(
        networks: Annotated[str | None, typer.Option(help="Comma-separated networks; all fifteen where not given.")] = None,
        dataset: DatasetName = "cifar10",
        seeds: Annotated[int | None, typer.Option(min=1, max=10_000, help="Runs of each; 3, or what --within holds.")] = None,
        scale: Annotated[str, typer.Option(help="Share of data, epochs and width: 0.5, or data=0.2,width=0.5.")] = "1",
        within: Annotated[str, typer.Option(help="Time for all runs, or none.")] = "none",
        data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Fifteen networks, 20 and 22 epochs each: does a deeper network or a longer training buy more for its time?"""
    from speedcore.data import load
    from speedcore.ladders import climbing
    from speedcore.ladders.scale import Scale
    from speedcore.runs import RunStore
    from speedcore.studies import architecture_search as search

    rungs = None if networks is None else search.rungs_of(networks)
    chosen, share, seconds = search.ladder(), Scale.parse(scale), seconds_of(within, "--within")
    count = len(chosen.chosen(rungs)) * (seeds or (climbing.SEEDS if seconds is None else climbing.MOST_SEEDS))
    on, source = device_of(device), load(dataset, data, offline)
    with live(chosen.name, count, console()) as watcher:
        climbed = climbing.climb(chosen, source, RunStore(runs), on, share, rungs, seeds, seconds, watcher)
    search.show(climbed, console(stderr=False))
