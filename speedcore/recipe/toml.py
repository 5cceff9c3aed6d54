"""TOML files of recipes and ladders, read with limits; what is wrong with one is a RecipeError that names it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from speedcore.errors import RecipeError
from speedcore.limits import TOML_BYTES


def names_a_file(name: str, beside: Path = Path()) -> bool:
    """Is `name`, which is nothing built in, the path of a file? What ends in .toml is meant for one."""
    try:
        return name.endswith(".toml") or (beside / name).is_file()
    except (OSError, ValueError):  # too long for a path
        return False


def toml_content(path: Path, what: str) -> dict[str, Any]:
    """What the TOML file `path` holds; `what` it is called in the RecipeError that anything else raises."""
    try:
        if not path.exists():
            raise RecipeError(f"{what} {path} does not exist; give a built-in name or the path of a TOML file.")
        if not path.is_file():
            raise RecipeError(f"{what} {path} cannot be read: it is no regular file.")
        with path.open("rb") as file:
            raw = file.read(TOML_BYTES + 1)
        if len(raw) > TOML_BYTES:
            raise RecipeError(f"{what} {path} has more than {TOML_BYTES:,} bytes, too many for what it should be.")
        return tomllib.loads(raw.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{what} {path} cannot be read: {error}.") from None
    except ValueError as error:  # TOMLDecodeError, and integers of more digits than Python reads
        raise RecipeError(f"{what} {path} is not valid TOML: {error}.") from None
    except RecursionError:
        raise RecipeError(f"{what} {path} is nested too deeply.") from None
