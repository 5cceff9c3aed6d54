"""The preregistration (`preregistration.toml`) as validated data: what is claimed where, by which outcome, of how many pairs.

Nothing in it is decided by code: the file is read, checked for contradictions, and obeyed. docs/preregistration.md explains it.
"""

from __future__ import annotations

import datetime
import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from explain.attribution.masks import GREY_ON_BLACK
from explain.models import ExplainError
from speedcore import stats
from speedcore.recipe import Augment, Part

PATH = Path(__file__).with_suffix(".toml")
WITH_MASKS = ("shapes", *GREY_ON_BLACK)
NORMALISED_MASS = "normalised_mass"

Kind = Literal["logical", "stability"]
Subset = Literal["all", "both right", "accuracy matched"]


class Outcome(Part):
    """One number a run. measure: normalised_mass, or a name in `explain.metrics.METRICS`; of the maps of `method` for the
    `target` class at `layer`, over the measured test images of `subset`. bound: a difference below it does not matter."""

    name: str
    measure: str
    better: Literal["higher", "lower"]
    bound: PositiveFloat
    method: str = "grad-cam"
    layer: Literal["middle", "last"] = "middle"
    target: Literal["true", "predicted"] = "true"
    subset: Subset = "all"

    @model_validator(mode="after")
    def _known(self) -> Outcome:
        from explain.attribution.methods import METHODS
        from explain.metrics import METRICS

        if self.method not in METHODS:
            raise ValueError(f"there is no method '{self.method}'; choose {', '.join(METHODS)}")
        if self.measure != NORMALISED_MASS:
            if self.measure not in METRICS:
                raise ValueError(f"there is no measure '{self.measure}'; choose {NORMALISED_MASS}, {', '.join(METRICS)}")
            if METRICS[self.measure].better not in ("neither", self.better):
                raise ValueError(f"{self.measure} is better {METRICS[self.measure].better}, not {self.better}")
        return self

    def difference(self, without: float, augmented: float) -> float:
        """Positive where augmentation did better."""
        return augmented - without if self.better == "higher" else without - augmented


class Claim(Part):
    """A sentence, the one outcome that decides it, and secondary ones, corrected among themselves by Holm."""

    text: str
    needs_masks: bool
    primary: Outcome
    secondary: tuple[Outcome, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        names = [outcome.name for outcome in (self.primary, *self.secondary)]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two outcomes are named '{min(twice)}'")
        if self.primary.subset != "all":
            raise ValueError(f"the primary outcome is of all images, not of the subset '{self.primary.subset}'")
        return self


class Registered(Part):
    """What may be claimed of one data set, and the parts of the augmentation that fit it, each compared with none."""

    claim: Kind
    parts: Annotated[tuple[str, ...], Field(min_length=1)]


class Pairs(Part):
    """planned: pairs of seeds, from 0 on. arms: the names of the two. accuracy_match: largest difference of accuracy (a
    share of 1) of the checkpoints that count as matched."""

    planned: Annotated[int, Field(ge=10)]
    arms: tuple[Literal["without"], Literal["with"]]
    accuracy_match: Annotated[float, Field(gt=0, lt=1)]


class Preregistration(Part):
    """The whole file."""

    version: Literal[1]
    registered: datetime.date
    alpha: float
    pairs: Pairs
    claims: dict[Kind, Claim]
    datasets: dict[str, Registered]
    parts: dict[str, Augment]

    @model_validator(mode="after")
    def _consistent(self) -> Preregistration:
        if self.alpha != stats.ALPHA:
            raise ValueError(f"alpha is {self.alpha:g}, but every test and interval here is at {stats.ALPHA:g}")
        if "none" not in self.parts or self.parts["none"].any:
            raise ValueError("parts.none must be there and change nothing: every part is compared with it")
        for name, one in self.datasets.items():
            if one.claim not in self.claims:
                raise ValueError(f"datasets.{name}: there is no claims.{one.claim}")
            if self.claims[one.claim].needs_masks and name not in WITH_MASKS:
                raise ValueError(f"datasets.{name}: '{one.claim}' needs object masks, and only {', '.join(WITH_MASKS)} have "
                                 f"them; call it stability")
            for part in one.parts:
                if part == "none" or part not in self.parts or not self.parts[part].any:
                    raise ValueError(f"datasets.{name}: '{part}' is no part that changes anything; there are "
                                     f"{', '.join(p for p, augment in self.parts.items() if augment.any)}")
        for kind in self.claims:
            family = [name for name, one in self.datasets.items() if one.claim == kind]
            if (needed := stats.pairs_needed(max(1, len(family)))) > self.pairs.planned:
                raise ValueError(f"pairs.planned: {len(family)} data sets need {needed} pairs each, not {self.pairs.planned}")
        return self

    def claim(self, kind: Kind) -> Claim:
        return self.claims[kind]

    def of(self, dataset: str) -> Claim | None:
        """The claim registered for a data set; None for one that is not in the file, whose results are exploratory."""
        one = self.datasets.get(dataset)
        return self.claims[one.claim] if one else None

    def part(self, name: str, dataset: str) -> Augment:
        """What `name` ("crop", "all", ...) does to a data set: for those that are not to be mirrored, all without flips."""
        augment, fits = self.parts[name], self.datasets.get(dataset)
        flips_fit = fits is None or any(part != "all" and self.parts[part].flip != "none" for part in fits.parts)
        return augment if flips_fit else augment.model_copy(update={"flip": "none"})


def read(path: Path | str = PATH) -> Preregistration:
    """Read and check a preregistration. Raises ExplainError naming the file, each wrong field and what is wrong with it."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ExplainError(f"preregistration {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ExplainError(f"preregistration {path} is not valid TOML: {error}.") from None
    try:
        # As JSON: strict validation takes lists for tuples and text for dates only there.
        return Preregistration.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc'])) or 'whole'}: {e['msg']}" for e in error.errors())
        raise ExplainError(f"preregistration {path} is not valid:\n{lines}\nThe fields are described in "
                           f"docs/preregistration.md.") from None


@cache
def preregistration() -> Preregistration:
    """The project's own."""
    return read()
