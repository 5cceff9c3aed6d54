"""How the learning rate moves. `speedcore.training.schedule` reads it step by step."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import field_validator

from speedcore.recipe.base import Part


class Schedule(Part):
    """Knots (progress 0..1, factor of the peak rate). shape "steps" keeps a knot's factor until the next knot."""

    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.2, 1.0), (1.0, 0.0))
    shape: Literal["linear", "cosine", "steps"] = "linear"

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
