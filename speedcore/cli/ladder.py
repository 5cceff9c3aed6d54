"""python -m speedcore ladder: train the rungs of a ladder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import console, device_of
from speedcore.cli.options import DataDir, DatasetNames, DeviceName, Listing, Offline, RunsDir, ScaleText, SeedsText, WithinText
from speedcore.cli.progress import live

if TYPE_CHECKING:
    from speedcore.ladders.result import LadderResult
    from speedcore.recipe.ladder import Ladder


def ladder(name: Annotated[str | None, typer.Argument(help="A built-in ladder, or a TOML file.")] = None, list_: Listing = False,
           rungs: Annotated[str | None, typer.Option(help="Comma-separated rungs; all where not given.")] = None,
           dataset: DatasetNames = None, seeds: SeedsText = "auto", scale: ScaleText = "1", within: WithinText = "none",
           data: DataDir = None, runs: RunsDir = None, device: DeviceName = "auto", offline: Offline = False) -> None:
    """Train the rungs of a ladder, or find their runs, and show what each rung's change does.

    The data set is the ladder's own unless one is named. Seeds auto: three, or as many as --within holds.
    """
    from speedcore import ladders
    from speedcore.ladders import printing

    out = console(stderr=False)
    if list_ or name is None:
        printing.show_list(ladders.built_in(), out)
        return
    chosen = ladders.get(name)
    printing.show(train_ladder(chosen, rungs, dataset or chosen.dataset, seeds, scale, within, data, runs, device, offline), out)


def train_ladder(chosen: Ladder, rungs: str | None, dataset: str, seeds: str, scale: str, within: str, data: Path | None,
                 runs: Path | None, device: str, offline: bool) -> LadderResult:
    """What the options of a ladder, or of a study that is one, ask for: its result, with a bar meanwhile."""
    from speedcore.data import load
    from speedcore.ladders.run import run_ladder
    from speedcore.ladders.scale import Scale
    from speedcore.planning import rounds
    from speedcore.store.runs import RunStore

    share, seconds, count = Scale.parse(scale), seconds_of(within, "--within"), count_of(seeds, "--seeds")
    most = len(chosen.chosen(rungs)) * rounds.most(count, seconds)
    on, source = device_of(device), load(dataset, data, offline)
    with live(chosen.name, most, console()) as callback:
        return run_ladder(chosen, source, RunStore(runs), on, share, rungs, count, seconds, callback)
