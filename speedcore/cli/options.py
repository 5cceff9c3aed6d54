"""Options that several command lines share: each with its type, its words in --help, its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DatasetName = Annotated[str, typer.Option(help="mnist, fashion-mnist, cifar10, shapes or folder:PATH.")]
RecipeName = Annotated[str, typer.Option(help="auto, a built-in name, or a TOML file.")]
DataDir = Annotated[Path | None, typer.Option(help="Where to look for data first (else SPEEDCORE_DATA).")]
RunsDir = Annotated[Path | None, typer.Option(help="Where runs are kept (else SPEEDCORE_RUNS, else runs/).")]
DeviceName = Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]
BudgetText = Annotated[str, typer.Option(help="Seconds of training a run may take.")]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="What weights, order and augmentation are drawn from.")]
Policy = Annotated[str, typer.Option(help="The clock rule of the budget: article, dawnbench or everything.")]
