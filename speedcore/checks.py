"""What Python and the command line ask of their arguments alike: one rule and one message for each."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from speedcore.errors import DataError, RecipeError, RunError, UserError

if TYPE_CHECKING:
    from speedcore.data.dataset import Dataset
    from speedcore.recipe import Recipe
    from speedcore.store.runs import RunStore

ARMS = ("with", "without")
DATA_MODES = ("device", "precomputed")
MOST_SEED = 2**31 - 1


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """`value`, which is one of `known`. Raises UserError."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{name} {_shown(value)} is not one of {', '.join(known)}.")
    return value


def seconds_of(value: str | float | None, name: str) -> float | None:
    """90, "90", "90s", "20m", "1.5h" as seconds; None for no limit: "none", infinity or None. Raises UserError."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip().lower()
        if text == "none":
            return None
        unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], None)
        try:
            seconds = float(text[:-1] if unit else text) * (unit or 1)
        except ValueError:
            seconds = math.nan
        seconds = math.nan if math.isinf(seconds) else seconds
    else:
        seconds = float(value) if _is_number(value) else math.nan
    if not seconds > 0:
        raise UserError(f"{name} {_shown(value)} is not a duration; write seconds (90), 90s, 20m, 1.5h or none.")
    return None if math.isinf(seconds) else seconds


def count_of(value: str | int, name: str) -> int | None:
    """A whole number from 1 on; None for "auto". Raises UserError."""
    if str(value).strip().lower() == "auto":
        return None
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if not 1 <= count <= 10_000:
        raise UserError(f"{name} {_shown(value)} is not a number of seeds; write auto or a whole number from 1 on.")
    return count


def numbers_of(text: str, name: str) -> tuple[float, ...]:
    """"0.5,1,2" or "1/8,1,16" as numbers above 0. Raises UserError."""
    def number(part: str) -> float:
        above, _, below = part.partition("/")
        return float(above) / float(below or 1)

    try:
        found = tuple(number(part) for part in text.split(",") if part.strip())
    except (ValueError, ZeroDivisionError):
        found = ()
    if not found or not all(0 < value < math.inf for value in found):
        raise UserError(f"{name} {_shown(text)}: write numbers above 0 with commas between them, as 1/8,1,16.")
    return found


def seed_of(value: int) -> int:
    """A seed. Raises UserError."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or not 0 <= value <= MOST_SEED:
        raise UserError(f"seed {_shown(value)} is not a whole number from 0 to {MOST_SEED}.")
    return int(value)


def store_of(value: RunStore | Path | str | None) -> RunStore:
    """The folder of runs, which may not exist yet. Raises RunError."""
    from speedcore.store.runs import RunStore

    if value is not None and not isinstance(value, RunStore | Path | str):
        raise RunError(f"store {_shown(value)} is no folder of runs; give a path or a speedcore.RunStore.")
    store = value if isinstance(value, RunStore) else RunStore(value)
    if store.root.exists() and not store.root.is_dir():
        raise RunError(f"{store.root} is a file and no folder of runs; choose another folder (--runs DIR or SPEEDCORE_RUNS).")
    return store


def recipe_of(value: Recipe | str) -> Recipe | str:
    """A recipe, or the name of one, which is looked up later. Raises RecipeError."""
    from speedcore.recipe import Recipe

    if not isinstance(value, Recipe | str):
        raise RecipeError(f"recipe {_shown(value)} is no recipe; give a built-in name, the path of a TOML file or a "
                          f"speedcore.Recipe.")
    return value


def dataset_of(value: Dataset | str) -> Dataset | str:
    """A data set, or the name of one, which is loaded later. Raises DataError."""
    from speedcore.data.dataset import Dataset

    if not isinstance(value, Dataset | str):
        raise DataError(f"dataset {_shown(value)} is no data set; give a name such as 'mnist' or a speedcore.Dataset.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A value as it was written, short."""
    text = f"'{value}'" if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
