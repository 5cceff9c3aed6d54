"""python -m speedcore: its commands, one a file."""

from __future__ import annotations

import sys

import typer

from speedcore.cli import study
from speedcore.cli.console import run_app
from speedcore.cli.data import data
from speedcore.cli.ladder import ladder
from speedcore.cli.options import SETTINGS, Version
from speedcore.cli.plan import plan
from speedcore.cli.precompute import precompute
from speedcore.cli.target import target
from speedcore.cli.train import train
from speedcore.cli.verify import verify

app = typer.Typer(help="Train small image classifiers inside a wall-clock budget, reproducibly.", context_settings=SETTINGS,
                  add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (train, target, plan, data, precompute, verify, ladder):
    app.command()(command)
app.add_typer(study.app, name="study")


@app.callback()
def speedcore(version: Version = False) -> None:
    """Train small image classifiers inside a wall-clock budget, reproducibly."""


def main() -> None:
    sys.exit(run_app(app))
