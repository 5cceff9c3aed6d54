"""The techniques that recipes and ladders are made of, one small TOML file each: what, why, at what cost, from where.

`python -m benchmarks.record` makes the method cards of them (docs/methods), with the effects that were measured. A method knows
by which fields a recipe uses it, so that a report can name the methods of its recipes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from speedcore import plugins
from speedcore.errors import PluginError
from speedcore.recipe import Part, Recipe

FOLDER = Path(__file__).parent / "cards"
_OFF = (None, False, 0, "", "none")


class RungEffect(Part):
    """A rung of a ladder, whose change shows the method's effect. note: what else the rung changes, or how to read it."""

    ladder: str
    rung: str
    note: str = ""


class TrialEffect(Part):
    """A change that `benchmarks.tuning` judged on held-out training images: in results/tuning-NAME.json."""

    name: str
    change: str
    dataset: str
    recipe: str
    note: str = ""


class ResultEffect(Part):
    """Columns of all rows of results/NAME.json, and the command that measures them."""

    name: str
    columns: tuple[str, ...]
    command: str
    note: str = ""


class Method(Part):
    """One technique. Texts are Markdown of a few sentences; summary is one line.

    recipe: a recipe file that uses the method, as short as it can be; empty where it is no field of a recipe. uses: tables of
    dotted fields and values, of which one must fit: a value, a list of values, "on" for anything that is not off, "set" and
    "unset" for what is or is not given, "> 1". Beside a recipe's fields there are "schedule.rises" (does the rate begin below
    its peak?), "technique.NAME" (true where `techniques` lists what is called NAME in its module) and what is on record of a run,
    as "run.budget_seconds".
    source: who published it. code: the files where it is. unmeasured: why no rung can show its effect, where none can.
    """

    name: str
    title: str
    summary: str
    what: str
    why: str
    cost: str
    how: str = ""
    recipe: str = ""
    source: str
    code: tuple[str, ...]
    unmeasured: str = ""
    uses: tuple[dict[str, Any], ...] = ()
    rungs: tuple[RungEffect, ...] = ()
    trials: tuple[TrialEffect, ...] = ()
    results: tuple[ResultEffect, ...] = ()

    def used_by(self, recipe: Recipe, run: Mapping[str, Any] | None = None) -> bool:
        """Whether one of the tables of `uses` fits the recipe, and what is on record of a run that it trained."""
        content = {**recipe.model_dump(), "run": dict(run or {})}
        content["technique"] = {technique.name: True for technique in recipe.techniques}
        factors = [factor for _, factor in recipe.schedule.knots]
        content["schedule"]["rises"] = factors[0] < max(factors)
        return any(all(_fits(content, path, wanted) for path, wanted in table.items()) for table in self.uses)


@cache
def methods() -> dict[str, Method]:
    """All methods by name, in alphabetical order: ours, and of installed techniques those with a card beside their code."""
    cards = {path.stem: path for path in FOLDER.glob("*.toml")}
    for name, path in plugins.entry_points(plugins.TECHNIQUES).items():
        with suppress(PluginError):  # it is not there, which matters to those who use it
            if (card := plugins.source(path).with_suffix(".toml")).is_file():
                cards.setdefault(name, card)
    return {name: Method(name=name, **tomllib.loads(card.read_text(encoding="utf-8"))) for name, card in sorted(cards.items())}


def _fits(content: dict[str, Any], path: str, wanted: Any) -> bool:
    found: Any = content
    for part in path.split("."):
        if not isinstance(found, dict) or part not in found:
            return False
        found = found[part]
    if wanted == "on":
        return any(part not in _OFF for part in (found if isinstance(found, tuple) else (found,)))
    if wanted in ("set", "unset"):
        return (found is None) == (wanted == "unset")
    if wanted == "> 1":
        return isinstance(found, int | float) and found > 1
    # In a file a tuple is a list.
    found = list(found) if isinstance(found, tuple) else found
    return found in wanted if isinstance(wanted, list) else found == wanted
