"""How the learning rate moves. `speedcore.training.schedule` reads it step by step."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import field_validator

from speedcore.recipe.part import RecipePart, Words, number, percent


class Schedule(RecipePart):
    """Factors of the peak rate over the progress of a run."""

    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.2, 1.0), (1.0, 0.0))
    """`[progress, factor]`, from progress 0 to 1, rising"""
    shape: Annotated[Literal["linear", "cosine", "steps"],
                     Words({"linear": "straight lines", "cosine": "half cosines", "steps": "steps"})] = "linear"
    """between knots; or `"cosine"`, half a wave, as in torch's one-cycle; or `"steps"`, which keeps a knot's factor up to the
    next"""

    @field_validator("knots")
    @classmethod
    def _ordered(cls, knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
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
