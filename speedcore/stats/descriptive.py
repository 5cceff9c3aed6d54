"""Means, medians and deviations of a few values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def known_mean(values: Sequence[float | None]) -> float | None:
    """Mean of those that are not None; None where all are."""
    known = [v for v in values if v is not None]
    return mean(known) if known else None


def median(values: Sequence[float]) -> float:
    """The value in the middle, or the mean of the two in the middle."""
    return float(np.median(values))


def sd(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample (n − 1 in the denominator); None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1))


def skewness(values: Sequence[float]) -> float:
    """Third moment about the mean over the second to the power 3/2: 0 where symmetric, above 0 where the upper tail is longer.

    Values must not all be the same. (`scipy.stats.skew` is the same and takes a second to import.)
    """
    centre = mean(values)
    second, third = (math.fsum((v - centre) ** power for v in values) / len(values) for power in (2, 3))
    return third / second**1.5


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation within groups that share one, each around its own mean; None where no group has two values."""
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return None
    squares = math.fsum((value - mean(group)) ** 2 for group in groups for value in group)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))
