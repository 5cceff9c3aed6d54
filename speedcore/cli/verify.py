"""python -m speedcore verify: is a run what its record says?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speedcore.cli.options import DataDir, Offline


def verify(run: Annotated[Path, typer.Argument(help="A run folder.")], data: DataDir = None, offline: Offline = False) -> None:
    """Check a finished run: read and compare its files, train it again step for step, compare the weights bit for bit."""
    from speedcore.data import load
    from speedcore.training.verify import verify as verified

    typer.echo(verified(run, lambda name: load(name, data, offline)))
