"""How the learning rate moves: knots, and the rate between them. `speedcore.training.schedule` makes progress of steps."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import field_validator

from speedcore.recipe.part import RecipePart, Words, number, percent

Knots = tuple[tuple[float, float], ...]


class Schedule(RecipePart):
    """Factors of the peak rate over the progress of a run."""

    knots: Knots = ((0.0, 0.0), (0.2, 1.0), (1.0, 0.0))
    """`[progress, factor]`, from progress 0 to 1, rising"""
    shape: Annotated[Literal["linear", "cosine", "steps"],
                     Words({"linear": "straight lines", "cosine": "half cosines", "steps": "steps"})] = "linear"
    """between knots; or `"cosine"`, half a wave, as in torch's one-cycle; or `"steps"`, which keeps a knot's factor up to the
    next"""

    @field_validator("knots")
    @classmethod
    def _ordered(cls, knots: Knots) -> Knots:
        positions = [position for position, _ in knots]
        if len(knots) < 2 or positions[0] != 0 or positions[-1] != 1 or positions != sorted(positions):
            raise ValueError("knots must rise from position 0 to position 1")
        if any(factor < 0 for _, factor in knots):
            raise ValueError("a knot's factor must not be negative")
        return knots

    @property
    def floor(self) -> float:
        """The factor at which every run ends."""
        return self.knots[-1][1]

    @property
    def end(self) -> float:
        """Progress from which the factor stays at zero; infinity where it ends above zero."""
        above = max((i for i, (_, factor) in enumerate(self.knots) if factor > 0), default=-1)
        return self.knots[above + 1][0] if above + 1 < len(self.knots) else math.inf

    def words(self, name: str) -> str:
        if name == "knots":
            return ", ".join(f"{number(factor)} at {percent(at)}" for at, factor in self.knots)
        return super().words(name)

    def in_words(self) -> str:
        return f"{self.words('shape')} between shares of the peak: {self.words('knots')} of the run"


def interpolate(knots: Knots, progress: float, shape: str = "linear") -> float:
    """Value at `progress` between `knots` ((progress, value), ...); constant outside them.

    shape: "linear"; "cosine" for half a cosine wave between neighbouring knots (torch's OneCycleLR); "steps" keeps a
    knot's value up to and including the next knot, so that a step that ends an epoch still trains at its epoch's rate.
    """
    if progress <= knots[0][0]:
        return knots[0][1]
    if progress >= knots[-1][0]:
        return knots[-1][1]  # exactly, not to a rounding error: this is where runs end
    if shape == "steps":
        # Progress is summed up in floating point: the last step of an epoch may lie a rounding error beyond its knot.
        return next(y for (_, y), (x, _) in pairwise(knots) if progress <= x + 1e-9)
    (x0, y0), (x1, y1) = next((left, right) for left, right in pairwise(knots) if progress <= right[0])
    share = (progress - x0) / (x1 - x0) if x1 > x0 else 1.0
    if shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return y0 + (y1 - y0) * share
