"""Ladders: a base recipe and rungs that each change something, run and compared rung by rung.

`python -m speedcore ladder NAME` runs one of the built-in ladders, or one in a TOML file (docs/ladders.md).
"""

from __future__ import annotations

from pathlib import Path

from speedcore.errors import RecipeError
from speedcore.recipe.ladder import Ladder, Reported, Rung
from speedcore.recipe.toml import names_a_file


def built_in() -> dict[str, Ladder]:
    """All built-in ladders, by name."""
    from speedcore.recipes import mnist_fast, page_architecture, page_baseline, page_tricks, record_ladder

    ladders = (mnist_fast.LADDER, page_baseline.LADDER, page_architecture.LADDER, page_tricks.LADDER, *record_ladder.LADDERS)
    return {ladder.name: ladder for ladder in ladders}


def get(name: str) -> Ladder:
    """The ladder `name`, which may also be the path of a TOML file. Raises RecipeError."""
    known = built_in()
    if name in known:  # whatever files there are
        return known[name]
    if not names_a_file(name):
        raise RecipeError(f"there is no ladder '{name}'; built-in ladders are {', '.join(known)}, or give the path of a "
                          f"TOML file (docs/ladders.md shows one).")
    from speedcore.ladders.toml import from_toml

    return from_toml(Path(name))


__all__ = ["Ladder", "Reported", "Rung", "built_in", "get"]
