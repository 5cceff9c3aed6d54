"""What one change does to accuracy and to time, over pairs of runs with the same seed, and the rule of the verdict.

The rule is the same for both: *helps* where the 95 % interval of the paired change lies wholly on the better side of no change,
*hurts* where it lies wholly on the worse side, *cannot tell* otherwise, and always with fewer than three pairs. Times are
compared as ratios. Nothing is corrected for the number of changes that are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from speedcore import stats
from speedcore.stats import Interval, Verdict, by_interval

RULE = ("helps: the 95 % interval of the paired change lies wholly on the better side of no change; hurts: wholly on the "
        "worse; cannot tell: neither, or fewer than three pairs; not corrected for the number of rungs")


@dataclass(frozen=True)
class Change:
    """One quantity against the rung it stands on, over the seeds that both have. value: points of accuracy (as a share), or the
    ratio of seconds; pairs: how many seeds."""

    value: float
    interval: Interval | None
    pairs: int
    verdict: Verdict


def of_accuracy(pairs: Sequence[tuple[float, float]]) -> Change | None:
    """From accuracies (before, after) as shares of 1; None without a pair."""
    if not pairs:
        return None
    differences = [after - before for before, after in pairs]
    interval = stats.mean_interval(differences, (-1.0, 1.0))
    return Change(stats.mean(differences), interval, len(pairs), _verdict(interval, 0.0, better=1))


def of_time(pairs: Sequence[tuple[float, float]]) -> Change | None:
    """From seconds (before, after); None without a pair. Ratios have a geometric mean, and an interval on their logarithms."""
    if not pairs:
        return None
    logs = [math.log(after / before) for before, after in pairs]
    interval = stats.mean_interval(logs)
    if interval:
        interval = Interval(math.exp(interval.low), math.exp(interval.high), interval.kind)
    return Change(math.exp(stats.mean(logs)), interval, len(pairs), _verdict(interval, 1.0, better=-1))


def _verdict(interval: Interval | None, none: float, better: int) -> Verdict:
    """better: 1 where more is better, −1 where less is."""
    above, below = (Verdict.HELPS, Verdict.HURTS) if better > 0 else (Verdict.HURTS, Verdict.HELPS)
    return by_interval(interval, above, below, low=none)
