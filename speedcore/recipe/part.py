"""What a recipe's parts have in common: every field carries, where it is declared, how it is spelt, hashed and put into words.

A line of text below a field says what it means; docs/recipes.md is made of these lines (`speedcore.recipe.reference`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pydantic import ValidationInfo, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from speedcore.recipe.base import Part

REMOVED = "removed_option"  # the type of the error that an option raises which is no more


@dataclass(frozen=True)
class Later:
    """Of a field that came after the first runs had been published: at its default it stays out of the hash.

    So a recipe that does not use it keeps its name, and its finished runs stay findable.
    """


@dataclass(frozen=True)
class Unhashed:
    """Of a field that decides no weights: it is no part of the hash."""


@dataclass(frozen=True)
class Formerly:
    """How the first published runs spelt a field. That is still read, and it is what the hash is taken of.

    name: where it had another one. values: spelling then -> value now.
    """

    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """What a description says for each value of a field."""

    of: Mapping[Any, str]


@dataclass(frozen=True)
class Removed:
    """A field that there is no more: read where it has its `default`, an error with the reason `why` elsewhere.

    hashed: whether it was part of every hash, and so must stay.
    """

    default: Any
    why: str
    hashed: bool = True


Fact = TypeVar("Fact", Later, Unhashed, Formerly, Words)


def fact(info: FieldInfo, kind: type[Fact]) -> Fact | None:
    """What a field's annotation says of that kind."""
    return next((one for one in info.metadata if isinstance(one, kind)), None)


class RecipePart(Part):
    """A recipe, or a part of one. title: what it is called where a recipe may name one of several kinds."""

    title: ClassVar[str] = ""
    removed: ClassVar[Mapping[str, Removed]] = {}

    @model_validator(mode="before")
    @classmethod
    def _spelt_as_today(cls, content: Any, info: ValidationInfo) -> Any:
        if not isinstance(content, dict):
            return content
        found = cls.current(content)
        for name, former in cls._former():
            if former.name and former.name in found:
                raise PydanticCustomError("two_spellings", "{name} and {former} are one field, which is called {name} today; "
                                          "leave {former} out", {"name": name, "former": former.name})
        for name, removed in cls.removed.items():
            if name in found and found.pop(name) != removed.default:
                raise PydanticCustomError(REMOVED, "the option {name} was removed: {why}",
                                          {"name": name, "why": removed.why})
        # What a validator hands on is no JSON any more, and where types are taken strictly a list is then no tuple.
        return {name: _tuples(value) for name, value in found.items()} if info.mode == "json" else found

    @classmethod
    def _former(cls) -> Iterator[tuple[str, Formerly]]:
        for name, info in cls.model_fields.items():
            if former := fact(info, Formerly):
                yield name, former

    @classmethod
    def current(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """Some of this part's own fields in today's spelling. A field that is there in both stays so, and is no valid part."""
        found = dict(content)
        for name, former in cls._former():
            then = former.name or name
            if then in found and (then == name or name not in found):
                value = found.pop(then)
                found[name] = former.values.get(value, value) if isinstance(value, str) else value
        return found

    def hashed(self) -> dict[str, Any]:
        """The content that a hash is taken of: names and values as the first published runs had them."""
        content = {name: removed.default for name, removed in self.removed.items() if removed.hashed}
        for name, info in type(self).model_fields.items():
            value, former = getattr(self, name), fact(info, Formerly) or Formerly()
            if fact(info, Unhashed) or (fact(info, Later) and value == info.default):
                continue
            if isinstance(value, RecipePart):
                value = value.hashed()
            elif isinstance(value, tuple):
                value = tuple(one.hashed() if isinstance(one, RecipePart) else one for one in value)
            elif former.values:
                value = {now: then for then, now in former.values.items()}.get(value, value)
            content[former.name or name] = value
        return content

    def in_words(self) -> str:
        """The part in words: what it is called, and each field with its value. Parts that read better otherwise say so."""
        listed = ", ".join(f"{_name(name)} {self.words(name)}" for name in type(self).model_fields if name != "kind")
        return f"{self.title}: {listed}" if self.title else listed

    def words(self, name: str) -> str:
        """The value of one field in words."""
        value, words = getattr(self, name), fact(type(self).model_fields[name], Words)
        return words.of.get(value, str(value)) if words else said(value)

    def changes(self, before: RecipePart, above: str = "") -> dict[str, str]:
        """What differs from `before`, a part of the same kind: dotted name of a field -> both values in words."""
        found: dict[str, str] = {}
        for name, info in type(self).model_fields.items():
            new, old = getattr(self, name), getattr(before, name)
            if new == old or fact(info, Unhashed):
                continue
            if isinstance(new, RecipePart) and type(new) is type(old):
                found |= new.changes(old, f"{above}{name}.")
            else:
                found[above + name] = f"{_name(above + name)} {self.words(name)} for {before.words(name)}"
        return found


def said(value: Any) -> str:
    """A value in words."""
    if isinstance(value, RecipePart):
        return f"({value.in_words()})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, tuple | list):
        return "/".join(map(said, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {said(one)}" for name, one in value.items()) or "none"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Six digits, as short as they can be: 25, 0.99, 1.5e-05."""
    return f"{value:.6g}"


def percent(share: float) -> str:
    """A share of 1 in percent: 60 %."""
    return f"{number(100 * share)}\N{NO-BREAK SPACE}%"


def _name(path: str) -> str:
    return path.replace(".", " ").replace("_", " ")


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {name: _tuples(one) for name, one in value.items()} if isinstance(value, dict) else value
