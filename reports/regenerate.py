"""The command that makes a report again, as it stands in the report."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def command(all_: bool, dataset: str | None, **options: str | None) -> str:
    """The command that makes this report again, fit for a shell, without where its files lie. options: None is left out."""
    words = ["--all"] if all_ else []
    words += ["--dataset", re.sub(r"(?<=folder:)[^,]+", lambda path: _here(path[0]), dataset)] if dataset else []
    for name, value in options.items():
        words += [f"--{name}", _here(value)] if value else []
    return f"python -m reports.build {shlex.join(words)}"


def _here(path: str) -> str:
    """A path from where the command is called; of one that lies elsewhere, its name. Any other word as it is."""
    if not Path(path).is_absolute():
        return path
    place = Path(path)
    return place.relative_to(Path.cwd()).as_posix() if place.is_relative_to(Path.cwd()) else place.name
