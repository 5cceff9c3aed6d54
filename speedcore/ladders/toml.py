"""Ladders from TOML files. Every mistake is one message with the file and the line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from speedcore.errors import DataError, RecipeError
from speedcore.recipe import Recipe
from speedcore.recipe.ladder import Ladder, RungError
from speedcore.recipe.toml import toml_content

_OF_THE_FILE = {*Ladder.model_fields, "base", "rung"} - {"rungs"}


def from_toml(path: Path) -> Ladder:
    """Read a ladder file (docs/ladders.md). Raises RecipeError naming file and line."""
    path = Path(path)
    content = Ladder.current(toml_content(path, "ladder file"))
    text = path.read_text(encoding="utf-8")

    def wrong(position: int | None, field: str, message: str) -> RecipeError:
        return RecipeError(f"ladder file {path}, line {_line(text, position, field)}: {message.rstrip('.')}.")

    for key in content:
        if key not in _OF_THE_FILE:
            raise wrong(None, key, f"unknown field '{key}'; a ladder has {', '.join(sorted(_OF_THE_FILE))}")
    content.setdefault("name", Path(path).stem)
    content["rungs"] = content.pop("rung", [])
    if not isinstance(content["rungs"], list) or not content["rungs"]:
        raise wrong(None, "rung", "a ladder needs at least one [[rung]]")
    content["base"] = _base(content, path.parent, wrong)
    try:
        ladder = Ladder.model_validate(content)
        ladder.recipes  # noqa: B018  rungs that do not fit are found by building their recipes
    except ValidationError as error:
        first = error.errors()[0]
        raise wrong(*_place(first["loc"]), f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except RungError as error:
        raise wrong(error.position, error.field, str(error)) from None
    return ladder


def _base(content: dict[str, Any], beside: Path, wrong: Callable[[int | None, str, str], RecipeError]) -> Recipe:
    from speedcore import recipes
    from speedcore.data import check_name

    def text(field: str) -> str:
        value = content.get(field)
        if not isinstance(value, str):
            raise wrong(None, field, f'{field} is missing; write {field} = "NAME"' if value is None
                        else f"{field} must be a name in quotes")
        return value

    name, dataset = text("base"), text("dataset")
    try:
        check_name(dataset)
    except DataError as error:
        raise wrong(None, "dataset", str(error)) from None
    try:
        return recipes.get(name, dataset, beside)
    except RecipeError as error:
        raise wrong(None, "base", str(error)) from None


def _place(location: tuple[int | str, ...]) -> tuple[int | None, str]:
    """(rung's position or None, field) of a path in the ladder as it was validated."""
    if location[0] == "rungs" and len(location) > 1 and isinstance(location[1], int):
        return location[1] + 1, str(location[-1] if len(location) > 2 else "name")
    return (0, str(location[-1])) if location[0] == "start" else (None, str(location[0]))


def _line(text: str, position: int | None, field: str) -> int:
    """The line of `field` in the part of the file that is at fault; the part's first line where it is not written out.

    position: None for the head of the file, 0 for [start], else the number of the [[rung]].
    """
    lines = text.splitlines()
    rungs = [i for i, line in enumerate(lines) if re.match(r"\s*\[\[\s*rung\s*\]\]", line)]
    if position is None:
        first, last = 0, len(lines)
    elif position == 0:
        first = next((i for i, line in enumerate(lines) if re.match(r"\s*\[\s*start[\].]", line)), 0)
        last = rungs[0] if rungs else len(lines)
    elif position <= len(rungs):
        first, last = rungs[position - 1], [*rungs, len(lines)][position]
    else:
        return 1
    # The innermost name that the file writes as a key or as the end of a table's header.
    for name in reversed(field.split(".")):
        pattern = rf"\s*(\[.*\b{re.escape(name)}\s*\]|([\w.]*\.)?{re.escape(name)}\s*=)|.*[{{,]\s*{re.escape(name)}\s*="
        for i in range(first, last):
            if re.match(pattern, lines[i]):
                return i + 1
    return first + 1
