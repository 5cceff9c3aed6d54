"""What a ladder is: plain data. A base recipe, and rungs that say what they change and what their source reported."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from speedcore import stats
from speedcore.clock import POLICIES, SOURCE_POLICIES
from speedcore.errors import RecipeError
from speedcore.recipe.base import Part
from speedcore.recipe.part import Formerly, RecipePart
from speedcore.recipe.recipe import Recipe, merged, validated

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[^,\n]+$")]


class Reported(Part):
    """What a source says of a rung; accuracies are shares of 1.

    accuracies: of single runs, where the source prints them; else accuracy, with sd over n runs where those are stated.
    at_least: what the source claims to reach, where it gives no figure. seconds, seconds_sd: by the ladder's clock.
    """

    accuracies: tuple[Share, ...] = ()
    accuracy: Share | None = None
    sd: NonNegativeFloat | None = None
    n: PositiveInt | None = None
    at_least: Share | None = None
    seconds: PositiveFloat | None = None
    seconds_sd: NonNegativeFloat | None = None
    epochs: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Reported:
        if self.accuracies and (self.accuracy is not None or self.sd is not None or self.n is not None):
            raise ValueError("accuracies of single runs already say accuracy, sd and n")
        return self

    @property
    def mean(self) -> float | None:
        return stats.mean(self.accuracies) if self.accuracies else self.accuracy

    @property
    def spread(self) -> float | None:
        """Standard deviation from run to run."""
        return stats.sd(self.accuracies) if self.accuracies else self.sd

    @property
    def count(self) -> int | None:
        return len(self.accuracies) or self.n


class Rung(Part):
    """One step of a ladder.

    what: the change, in a few words; where there are none, `Ladder.what` has them. change: recipe fields, table by table, as in
    a recipe file. without: fields that go back to a recipe's default. on: the rung that is changed, the one before where not
    given. note: what a reader must know.
    """

    name: Name
    what: str = ""
    change: dict[str, Any] = Field(default_factory=dict)
    without: tuple[str, ...] = ()
    on: str | None = None
    reported: Reported = Reported()
    note: str = ""


class Ladder(RecipePart):
    """start: the rung that is the base itself. clock: the rule of the reported seconds, by which rungs are compared."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._+-]+$")]
    description: Annotated[str, Formerly("describe")] = ""
    source: str = ""
    dataset: str
    base: Recipe
    start: Rung = Rung(name="base", what="where the ladder stands")
    rungs: Annotated[tuple[Rung, ...], Field(min_length=1)]
    clock: str = "article"

    @field_validator("clock")
    @classmethod
    def _known(cls, name: str) -> str:
        known = POLICIES | SOURCE_POLICIES
        if name not in known:
            raise ValueError(f"there is no clock '{name}'; there are {', '.join(known)}")
        return name

    @property
    def steps(self) -> tuple[Rung, ...]:
        """All rungs, the base first."""
        return (self.start, *self.rungs)

    def below(self, rung: Rung) -> str | None:
        """Name of the rung that `rung` changes; None for the base."""
        names = [step.name for step in self.steps]
        position = names.index(rung.name)
        return (rung.on or names[position - 1]) if position else None

    def what(self, rung: Rung) -> str:
        """What `rung` changes, in its own words, else in those of the recipes; empty for a base without words."""
        below = self.below(rung)
        if rung.what or below is None:
            return rung.what
        return ", ".join(self.recipes[rung.name].changes(self.recipes[below]).values())

    @cached_property
    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each rung, by the rung's name, from the base up. Raises RungError."""
        if self.start.change or self.start.without or self.start.on:
            raise RungError(0, "change", f"'{self.start.name}' is the base itself and cannot change anything")
        found = {self.start.name: self._named(self.base.model_dump(), self.start, 0)}
        for position, rung in enumerate(self.rungs, 1):
            if rung.name in found:
                raise RungError(position, "name", f"there are two rungs named '{rung.name}'")
            below = self.below(rung)
            if below not in found:
                raise RungError(position, "on", f"rung '{rung.name}' stands on '{below}', which is no rung below it "
                                                f"(there are {', '.join(found)})")
            content = merged(found[below].model_dump(), rung.change)
            for field in Recipe.current(dict.fromkeys(rung.without)):
                if field not in Recipe.model_fields or Recipe.model_fields[field].is_required():
                    raise RungError(position, "without", f"rung '{rung.name}': '{field}' is no field of a recipe with a default")
                content.pop(field, None)
            found[rung.name] = self._named(content, rung, position)
            if found[rung.name].hash == found[below].hash:
                raise RungError(position, "change", f"rung '{rung.name}' changes nothing: it trains just as '{below}' does")
        return found

    def _named(self, content: dict[str, Any], rung: Rung, position: int) -> Recipe:
        slug = re.sub(r"[^A-Za-z0-9._+-]+", "-", rung.name).strip("-") or str(position)
        try:
            return validated({**content, "name": f"{self.name}-{slug}", "description": rung.what}, "it")
        except RecipeError as error:
            fields = re.findall(r"^  ([\w.]+): (.*)$", str(error), re.M)
            said = "; ".join(f"{field}: {message}" for field, message in fields)
            raise RungError(position, fields[0][0] if fields else "change",
                            f"rung '{rung.name}' does not fit on what is below it: {said}") from None

    def chosen(self, names: str | None) -> tuple[Rung, ...]:
        """The rungs that a comma-separated list names, from the base up; all of them for None. Raises RecipeError."""
        if names is None:
            return self.steps
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        unknown = [name for name in wanted if name not in {rung.name for rung in self.steps}]
        if unknown or not wanted:
            raise RecipeError(f"ladder '{self.name}' has no rung '{', '.join(unknown)}'; its rungs are "
                              f"{', '.join(rung.name for rung in self.steps)}.")
        return tuple(rung for rung in self.steps if rung.name in wanted)

    def nearest(self, rung: Rung, among: tuple[Rung, ...]) -> Rung | None:
        """The nearest rung below `rung` that is `among` those given; None if none is."""
        by_name = {step.name: step for step in self.steps}
        below = self.below(rung)
        while below is not None:
            if by_name[below] in among:
                return by_name[below]
            below = self.below(by_name[below])
        return None


class RungError(RecipeError):
    """A rung is wrong. position: 0 for the base, 1 for the first rung; field: the (dotted) field that is at fault."""

    def __init__(self, position: int, field: str, message: str):
        super().__init__(message)
        self.position, self.field = position, field
