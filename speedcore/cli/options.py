"""Options that the command lines share: each with one name, one help text and one rule for its values, whatever the program.

What an option holds is text until a command reads it with the function of `speedcore.checks` that is named beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Words of before, which go on working though no --help shows them.
OLD_WORDS = {"policy": "clock", "datasets": "dataset", "arms": "arm", "into": "out"}


def _today(word: str) -> str:
    return OLD_WORDS.get(word, word)


# For each program and each command that is one: -h, and the words of before.
SETTINGS = {"help_option_names": ["-h", "--help"], "token_normalize_func": _today}


def _print_version(asked: bool) -> None:
    if asked:
        from speedcore import __version__

        typer.echo(f"speedcore {__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]

# --- what is trained ---------------------------------------------------------------------------------------------------
_DATASET = typer.Option("--dataset", help="mnist, fashion-mnist, cifar10, shapes or folder:PATH; with commas where a command "
                                          "takes several.")
DatasetName = Annotated[str, _DATASET]
DatasetNames = Annotated[str | None, _DATASET]  # cli.datasets.dataset_names
AllDatasets = Annotated[bool, typer.Option("--all", help="MNIST, Fashion-MNIST, CIFAR-10, shapes, and what --dataset adds.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A built-in name, a TOML file, or auto where a command can choose.")]
ArmName = Annotated[str, typer.Option("--arm", help="with or without augmentation; with commas where a command takes both.")]
DataMode = Annotated[str | None, typer.Option("--data-mode", help="device: augment while training. precomputed: stream stored "
                                                                  "epochs, as the article does.")]
ScaleText = Annotated[str, typer.Option("--scale", help="Share of data, epochs and width: 0.5, or data=0.2,width=0.5.")]
EpochsText = Annotated[str | None, typer.Option("--epochs", help="How many epochs: a number; with commas, or as DATASET=NUMBER, "
                                                                 "where a command takes several.")]

# --- how much and how long ---------------------------------------------------------------------------------------------
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="What weights, order and augmentation are drawn from.")]
SeedsText = Annotated[str, typer.Option("--seeds", help="Runs of each, with seeds 0, 1, …: auto or a number.")]  # count_of
BudgetText = Annotated[str, typer.Option("--budget", help="Training time of one run (1000, 90s, 20m), or none.")]  # seconds_of
ClockName = Annotated[str, typer.Option("--clock", help="The rule by which the budget is counted: article, dawnbench or "
                                                        "everything.")]
WithinText = Annotated[str, typer.Option("--within", help="Time for everything together (20m, 1h, 90s), or none.")]  # seconds_of
ImagesPerClass = Annotated[int, typer.Option("--images-per-class", min=1, help="Test images of each class whose maps are "
                                                                               "measured.")]

# --- where and on what -------------------------------------------------------------------------------------------------
DataDir = Annotated[Path | None, typer.Option("--data", help="Where to look for data first (else SPEEDCORE_DATA).")]
RunsDir = Annotated[Path | None, typer.Option("--runs", help="Where runs are kept (else SPEEDCORE_RUNS, else runs/).")]
OutPath = Annotated[Path, typer.Option("--out", help="What to write: a file or a folder.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cuda, mps or cpu.")]  # console.device_of
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON.")]
Listing = Annotated[bool, typer.Option("--list", help="Name what there is.")]
