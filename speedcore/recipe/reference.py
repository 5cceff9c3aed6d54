"""The tables of docs/recipes.md, made of the fields. `python -m speedcore.recipe.reference docs/recipes.md` writes them.

In the page a line `<!-- fields of NAME -->` stands above each table, which is replaced. A field's meaning is the text below it
where it is declared.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from speedcore import recipe as parts
from speedcore.recipe.part import Formerly, RecipePart, fact, number

_TABLE = re.compile(r"(?m)^<!-- fields of (\w+) -->\n(?:\|.*\n)*")


def meanings(part: type[RecipePart]) -> dict[str, str]:
    """The text below each field of a part, by the field's name, in one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, below in zip(body.body, body.body[1:], strict=False):
        if (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)):
            found[statement.target.id] = " ".join(below.value.value.split())
    return found


def table(part: type[RecipePart]) -> str:
    """The table of a part's fields, its kind apart: name, default, meaning."""
    said = meanings(part)
    rows = [f"| `{name}` | {_default(info)} | {said[name]}{_formerly(info)} |"
            for name, info in part.model_fields.items() if name != "kind"]
    return "\n".join(("| field | default | meaning |", "|---|---|---|", *rows)) + "\n"


def page(text: str) -> str:
    """The page with its tables as the fields are now."""
    return _TABLE.sub(lambda found: f"<!-- fields of {found[1]} -->\n{table(getattr(parts, found[1]))}", text)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "–"
    if isinstance(info.default, RecipePart):
        return info.default.in_words()
    if info.default is None or info.default == "":
        return "none"
    return f"`{_toml(info.default)}`" if isinstance(info.default, bool | str | tuple) else _toml(info.default)


def _formerly(info: FieldInfo) -> str:
    """Spellings that are read on."""
    former = fact(info, Formerly)
    if former is None:
        return ""
    values = ", ".join(f"`{_toml(then)}` for `{_toml(now)}`" for then, now in former.values.items())
    return f". Formerly {', '.join(filter(None, (former.name and f'`{former.name}`', values)))}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return number(value) if float(number(value)) == value else str(Fraction(value).limit_denominator(99))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(page(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
