"""The step budget: how many steps a run takes, so that its rate is annealed to the end inside a limit of seconds.

Progress runs from 0 to 1 over a run. A schedule never knows steps or seconds; `StepBudget` turns measured seconds into
progress, so that the rate always comes to its last knot, however fast the machine turns out to be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True)
class Replan:
    """One change of the number of steps in mid-run: the record says why a run is not what was planned."""

    step: int
    steps_before: int
    steps_after: int
    reason: str


@dataclass
class StepBudget:
    """How far each step moves progress.

    steps: steps planned. limit: seconds that the steps may take (inf: no limit). stretch: whether a machine that
    turns out faster than planned may take more steps, up to `wanted`. Progress after the last step is exactly 1.

    The first step already moves progress to 1/steps (so a warm-up never wastes a step at rate zero), and the last
    one trains at the schedule's last knot.

    What the limit promises: it is kept, and the rate annealed to the end, as long as the last few steps take no more than 1.3
    times what steps took just before. A machine that slows down more than that, that late, is stopped where it is.
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
    # Below this share of the limit a run gets more steps.
    IDLE = 0.945
    # However few steps were taken, an update is due when this share of the time left has gone and steps took so many times longer
    # than was forecast: other programs may make a machine many times slower.
    PATIENCE, SLOWER = 0.1, 1.5
    # So many steps before the end nothing is left to chance: every step updates the plan, and nothing is tolerated.
    FEW = 8

    def __post_init__(self) -> None:
        # A run that was shortened for a while of slowness may always have its own steps back.
        self._most = max(self.wanted, self.steps) if self.stretch else self.steps
        self._seconds = [0.0]  # after each step, since the first one began
        self._update_when_done, self._update_when_left = 1, 0.75 * self.steps
        self._updated_at, self._updated_done, self._forecast = 0.0, 0, 0.0

    def advance(self) -> float:
        """Begin the next step: the progress at which it trains."""
        left = self.steps - self.done
        self.progress = 1.0 if left <= 1 else self.progress + (1 - self.progress) / left
        self.done += 1
        return self.progress

    @property
    def finished(self) -> bool:
        return self.done >= self.steps

    @property
    def update_due(self) -> bool:
        """Whether the next update may change the plan.

        Each time the steps done have doubled, or a quarter of those left has gone, and at each of the last few: some
        twenty times however long the run, so that noise cannot re-plan it a hundred times. (`update` adds those that time asks
        for.)
        """
        left = self.steps - self.done
        return left <= self.FEW or self.done >= self._update_when_done or left <= self._update_when_left

    def stop(self) -> None:
        """End here, wherever progress is."""
        self.steps = self.done

    def update(self, elapsed: float, seconds: float, steps: int = 1) -> None:
        """Take note of the clock after a step; where an update is due, change the number of steps left if the limit needs it.

        elapsed: seconds used so far, with whatever else must still fit into the limit. seconds: what the last `steps`
        steps took, those since the update before.
        """
        self._seconds += [self._seconds[-1] + seconds * (i + 1) / steps for i in range(steps)]
        since = self.done - self._updated_done
        slower = (elapsed - self._updated_at > self.PATIENCE * (self.limit - self._updated_at)
                  and self._mean(since) > self.SLOWER * self._forecast)
        if not (self.update_due or slower):
            return
        if self.done < self.steps and math.isfinite(self.limit):
            self._replan(elapsed, since if slower else 0)
        self._updated_at, self._updated_done = elapsed, self.done
        if self.done >= self._update_when_done:
            self._update_when_done = 2 * self.done
        self._update_when_left = 0.75 * (self.steps - self.done)

    def _replan(self, elapsed: float, since: int = 0) -> None:
        """since: the last so many steps took far longer than the ones before, and count by themselves."""
        left = self.steps - self.done
        ending = left <= self.FEW
        # A forecast over n steps looks back over n steps, or at the last few if these were slower.
        step = max(self._mean(max(left, self.FEW)), self._mean(1 if ending else max(self.FEW, left // 4)))
        step = self._forecast = max(step, self._mean(since)) if since else step
        if step <= 0:
            return
        recent = [after - before for before, after in pairwise(self._seconds[-self.FEW - 1:])]
        # Kept free at the end, so that one slow step cannot break the limit.
        reserve = max(0.3 * step, min(max(recent) - step, step), 0.004 * self.limit)
        projected, usable = elapsed + left * step, self.limit - reserve
        affordable = math.floor((min(self.limit * self.AIM, usable) - elapsed) / step)
        # While there is time to correct it later, a small overrun may be noise; all the more so after few steps.
        tolerated = 0 if ending else (0.04 + 0.5 / self.done) * left * step
        if projected > usable + tolerated:
            # One more step anneals the rate to its end; without room even for that, stopping here keeps the limit.
            final = 1 if elapsed + step <= self.limit else 0
            self._set(self.done + max(min(affordable, left), final), "slower than planned: fewer steps")
        elif projected < self.limit * self.IDLE and affordable > left:
            self._set(min(self.done + affordable, self._most), "faster than planned: more steps")

    def _mean(self, steps: int) -> float:
        """Seconds a step over the last `steps` steps."""
        steps = min(steps, len(self._seconds) - 1)
        return (self._seconds[-1] - self._seconds[-1 - steps]) / steps

    def _set(self, steps: int, reason: str) -> None:
        if steps != self.steps:
            self.replans.append(Replan(self.done, self.steps, steps, reason))
            self.steps = steps
