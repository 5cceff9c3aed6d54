"""The rungs from one recipe to another: what differs, put into steps that can be told and measured.

Nothing is repeated: the values are the two recipes' own, so that the last rung is the other recipe whatever it becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from speedcore.recipe import Recipe, merged
from speedcore.recipe.ladder import Rung

_NOT_TRAINED_WITH = ("name", "description")
# Decides what a plan may cut, not how a run trains: no rung of its own.
_RIDES = "min_epochs"


@dataclass(frozen=True)
class Step:
    """Fields that change together: dotted names of fields or of tables, which stand for all that is in them.

    what: the change in words; {start...} and {end...} are the recipes, {told} are the fields with their values.
    by_batch: rates that are multiplied as the batch is, so that they stay the same for an image; what `end` has instead is left
    to a later step.
    """

    name: str
    what: str
    fields: tuple[str, ...]
    by_batch: tuple[str, ...] = ()


def rungs_between(start: Recipe, end: Recipe, steps: Sequence[Step]) -> tuple[Rung, ...]:
    """One rung for each of `steps` that changes something on the way, then one for each field or table that is left over."""
    current, goal, rungs = _content(start), _content(end), []
    named = {field for step in steps for field in step.fields}
    others = [Step(path.replace("_", "-"), "{told}", (path,)) for path in goal
              if path not in named | {_RIDES} and not any(field.startswith(f"{path}.") for field in named)]
    rest = [Step(f"rest-of-{path.replace('_', '-')}", "{told}", (path,)) for path in goal
            if path not in named and any(field.startswith(f"{path}.") for field in named)]
    for step in (*steps, *others, *rest):
        fields = (*step.fields, _RIDES) if "epochs" in step.fields else step.fields
        change: dict[str, Any] = {}
        for path, value in _differences(current, goal):
            if any(path == field or path.startswith(f"{field}.") for field in fields):
                _put(change, path, value)
        if not change or set(change) == {_RIDES}:
            continue
        for path in step.by_batch:
            value = _get(current, path)
            if value is not None:
                _put(change, path, value * goal["batch_size"] / current["batch_size"])
        what = step.what.format(start=start, end=end, told=_told(start, current, merged(current, change)))
        rungs.append(Rung(name=step.name, what=what, change=change))
        current = merged(current, change)
    if rungs and current[_RIDES] != goal[_RIDES]:
        rungs[-1] = rungs[-1].model_copy(update={"change": {**rungs[-1].change, _RIDES: goal[_RIDES]}})
    return tuple(rungs)


def _content(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(exclude=set(_NOT_TRAINED_WITH))


def _differences(one: dict[str, Any], other: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, the value in `other`) of each field in which they differ; a table of another kind is one field."""
    for key, value in other.items():
        before = one.get(key)
        if isinstance(before, dict) and isinstance(value, dict) and before.get("kind") == value.get("kind"):
            yield from _differences(before, value, f"{above}{key}.")
        elif before != value:
            yield above + key, value


def _told(start: Recipe, before: dict[str, Any], after: dict[str, Any]) -> str:
    """The fields that a step changes, in words: "network norm eps 1e-05 for 1e-12"."""
    old, new = (start.changed(**content) for content in (before, after))
    return ", ".join(words for path, words in new.changes(old).items() if path != _RIDES)


def _get(content: dict[str, Any], path: str) -> Any:
    """The value at a dotted name; None where there is none."""
    found: Any = content
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    *tables, field = path.split(".")
    for table in tables:
        content = content.setdefault(table, {})
    content[field] = value
