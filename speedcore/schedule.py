"""Learning-rate schedules as functions of progress, and the pace that lands them inside a budget.

Progress runs from 0 to 1 over a run. A schedule never knows steps or seconds; `Pace` turns measured seconds into
progress, so that the rate always lands on its last knot, however fast the machine turns out to be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

Knots = tuple[tuple[float, float], ...]


def interpolate(knots: Knots, progress: float, shape: str = "linear") -> float:
    """Value at `progress` between `knots` ((progress, value), ...); constant outside them.

    shape: "linear", or "cosine" for half a cosine wave between neighbouring knots (torch's OneCycleLR).
    """
    if progress <= knots[0][0]:
        return knots[0][1]
    for (x0, y0), (x1, y1) in zip(knots, knots[1:], strict=False):
        if progress <= x1:
            share = (progress - x0) / (x1 - x0) if x1 > x0 else 1.0
            if shape == "cosine":
                share = (1 - math.cos(math.pi * share)) / 2
            return y0 + (y1 - y0) * share
    return knots[-1][1]


@dataclass(frozen=True)
class Replan:
    """One change of the number of steps in mid-run: the record says why a run is not what was planned."""

    step: int
    steps_before: int
    steps_after: int
    reason: str


@dataclass
class Pace:
    """How far each step moves progress.

    steps: steps planned. limit: seconds that the steps may take (inf: no limit). stretch: whether a machine that
    turns out faster than planned may take more steps, up to `wanted`. Progress after the last step is exactly 1.

    The first step already moves progress to 1/steps (so a warm-up never wastes a step at rate zero), and the last
    one trains at the schedule's last knot.
    """

    steps: int
    limit: float = math.inf
    wanted: int = 0
    stretch: bool = False
    done: int = 0
    progress: float = 0.0
    replans: list[Replan] = field(default_factory=list)

    # A re-plan aims at this share of the limit, so that ordinary jitter does not call for another.
    AIM = 0.975
    # Below this share of the limit a stretchable run is lengthened.
    IDLE = 0.945

    def advance(self) -> float:
        """Begin the next step: the progress at which it trains."""
        left = self.steps - self.done
        self.progress = 1.0 if left <= 1 else self.progress + (1 - self.progress) / left
        self.done += 1
        return self.progress

    @property
    def finished(self) -> bool:
        return self.done >= self.steps

    def replan(self, elapsed: float, step_seconds: float, slowest: float) -> None:
        """Look at the clock after a step and change the number of remaining steps if the landing calls for it.

        elapsed: seconds used so far. step_seconds: what a step takes lately. slowest: the slowest lately, kept
        free at the end so that one slow step cannot break the budget.
        """
        left = self.steps - self.done
        if math.isinf(self.limit) or left <= 0 or step_seconds <= 0:
            return
        usable = self.limit - max(slowest - step_seconds, 0.004 * self.limit)
        projected = elapsed + left * step_seconds
        target = max(self.limit * self.AIM, self.limit - 1.5 * step_seconds)
        affordable = int((min(target, usable) - elapsed) / step_seconds)
        if projected > usable:
            # One more step lands the rate; without room even for that, stopping here keeps the budget.
            landing = 1 if elapsed + step_seconds <= self.limit else 0
            self._set(self.done + max(affordable, landing), "slower than planned: landed early")
        elif self.stretch and projected < self.limit * self.IDLE and affordable > left:
            self._set(min(self.done + affordable, self.wanted), "faster than planned: lengthened")

    def _set(self, steps: int, reason: str) -> None:
        steps = max(steps, self.done)
        if steps != self.steps:
            self.replans.append(Replan(self.done, self.steps, steps, reason))
            self.steps = steps
