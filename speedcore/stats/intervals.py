"""95 % intervals over a handful of training seeds: of means, medians, ratios, shares and rank correlations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from speedcore.stats.descriptive import mean, sd, skewness
from speedcore.stats.tests import ALPHA, FEWEST_PAIRS

# Two values have no interval of their mean that is any use: Student's would be 13 times as wide as they lie apart, and for
# skewed ones too narrow still.
FEWEST_VALUES = 3
# Bounds of the sign-flip test count all subsets up to so many values; beyond, they are sampled.
_ENUMERATED, _RESAMPLES = 16, 9_999
# Below six values Student's t is taken at 98 %, and on the longer tail's side some of its reach is added, times the skewness:
# what it takes for 94 % of intervals to hold the mean of exponential values at n = 3 to 30, and of log-normal ones (σ = 1) from
# n = 8 on (`benchmarks/claim_calibration.py`).
_ALPHA_OF_FEW = 0.02


def _stretch(n: int) -> float:
    return min(1.75, 14 / n)


# The same in words, for notes under tables; and how an interval stands to the verdict beside it.
MEAN_INTERVAL = ("intervals of a mean are Student’s t (below six values at 98 %), stretched on the side of the longer tail, and "
                 "from six values on no narrower than the inverted sign-flip test; fewer than three values, or equal ones, have "
                 "none")
INTERVAL_AND_P = ("Verdicts are by p. An interval is of one mean by itself, not corrected, and allows for skewed values where "
                  "the test takes them to be symmetric")


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval of what is true of all seeds. `kind` says how it was made."""

    low: float
    high: float
    kind: str


def mean_interval(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Interval | None:
    """Interval of the mean of all runs (or pairs of runs) of which these are some.

    None for fewer than three values, or where all are the same: nothing then shows how far the next would lie. within: the
    least and the greatest that a mean can be, as 0 and 1 of an accuracy.

    As wide as both of two intervals. Student's t, stretched on the longer tail's side in proportion to the values' skewness, and
    below six values taken at 98 %, for few values tell too little of a long tail; and, from six values on, the inverted sign-flip
    test, which is exact for every symmetric distribution. So where the interval leaves out 0, `sign_flip_p` is below 0.05; not
    the other way round (up to 16 values to the digit, beyond as far as sampling goes). How many hold the mean is counted by
    `benchmarks/claim_calibration.py`.
    """
    n = len(values)
    if n < FEWEST_VALUES or _all_the_same(values):
        return None
    centre, few = mean(values), n < FEWEST_PAIRS
    reach, stretch = student_reach(values), _stretch(n) * skewness(values)
    around = student_reach(values, _ALPHA_OF_FEW) if few else reach
    low, high = centre - around - reach * max(0.0, -stretch), centre + around + reach * max(0.0, stretch)
    if not few:
        least, most = sign_flip_bounds(values)
        low, high = min(low, least), max(high, most)
    kind = "Student's t at 98 %, stretched for skewness" if few else "Student's t, stretched for skewness, and sign flips"
    return Interval(max(low, within[0]), min(high, within[1]), kind)


def student_reach(values: Sequence[float], alpha: float = ALPHA) -> float:
    """How far Student's interval of the mean goes to either side; at least two values."""
    from scipy.special import stdtrit

    spread = sd(values)
    if spread is None:
        raise ValueError("Student's interval of a mean needs at least two values")
    return float(stdtrit(len(values) - 1, 1 - alpha / 2)) * spread / math.sqrt(len(values))


def _all_the_same(values: Sequence[float]) -> bool:
    """Whether values differ by rounding at most."""
    return max(values) - min(values) <= 1e-12 * max(map(abs, values))


def sign_flip_bounds(values: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest centre that the two-sided sign-flip test at 5 % does not reject; at least six values.

    The test rejects a centre where too few subsets of the values have a mean beyond it (Hartigan 1969): the bounds are those
    means counted from either end. All subsets up to 16 values, beyond 9,999 of them, with a fixed random seed.
    """
    n = len(values)
    if n < FEWEST_PAIRS:
        raise ValueError(f"the sign-flip test of {n} values rejects nothing at 5 %: bounds need {FEWEST_PAIRS} values")
    if n <= _ENUMERATED:
        sums, sizes = np.zeros(1), np.zeros(1)
        for value in values:
            sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
        means = sums[1:] / sizes[1:]  # without the empty one
    else:
        means = _subsets(n) @ np.asarray(values, dtype=np.float64)
    # k subsets, the empty one among them, are a p of 2 k of all; the largest k below the level.
    k = math.ceil(ALPHA / 2 * (len(means) + 1)) - 1
    ordered = np.partition(means, (k - 1, len(means) - k))
    return float(ordered[k - 1]), float(ordered[len(means) - k])


@lru_cache(maxsize=8)
def _subsets(n: int) -> np.ndarray:
    """Random subsets of n values, a row each: 1 / size at its members, 0 elsewhere."""
    chosen = np.random.default_rng(0).integers(0, 2, (_RESAMPLES, n)).astype(np.float64)
    chosen = chosen[chosen.any(axis=1)]
    return chosen / chosen.sum(axis=1, keepdims=True)


def median_interval(values: Sequence[float]) -> Interval | None:
    """Interval of the median between two of the values, whatever their distribution (at least 95 %, by the binomial).

    None for fewer than six values: even the least and the greatest then enclose the median less often than that.
    """
    n, ordered = len(values), sorted(values)
    ways, below, k = 1, 0, 0  # ways: n over k; below: how many of the 2^n patterns put fewer than k values on one side
    while 2 * (below + ways) <= ALPHA * 2**n:
        below, ways, k = below + ways, ways * (n - k) // (k + 1), k + 1
    return Interval(ordered[k - 1], ordered[n - k], "order statistics") if k else None


def ratio_interval(ours: Sequence[float], theirs: Sequence[float]) -> Interval | None:
    """Interval of the ratio of two medians over the same seeds; None for fewer than three pairs.

    From six pairs on the percentile bootstrap over pairs, with a fixed random seed; below, `mean_interval` of the logarithms
    of the pairs' ratios.
    """
    if len(ours) < FEWEST_PAIRS:
        logs = mean_interval([math.log(a / b) for a, b in zip(ours, theirs, strict=True)])
        return logs and Interval(math.exp(logs.low), math.exp(logs.high), f"{logs.kind}, of log ratios")
    pairs = np.asarray([ours, theirs], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(0, len(ours), (_RESAMPLES, len(ours)))
    ratios = np.divide(*np.median(pairs[:, drawn], axis=2))
    low, high = np.quantile(ratios, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(low), float(high), "paired bootstrap")


def share_interval(hits: int, of: int) -> Interval:
    """Clopper and Pearson's exact interval of a probability, from `hits` in `of` independent trials."""
    from scipy.special import betaincinv

    low = float(betaincinv(hits, of - hits + 1, ALPHA / 2)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - ALPHA / 2)) if hits < of else 1.0
    return Interval(low, high, "Clopper-Pearson")


def rank_interval(correlation: float | None, n: int) -> Interval | None:
    """Interval of Spearman's correlation over n independent pairs, by Fisher's z with Bonett and Wright's (2000) variance.

    None for fewer than five pairs or no correlation. A perfect one is taken for the next that n ranks without ties can
    have, for of its own the interval would be a point.
    """
    if correlation is None or n < 5:
        return None
    most = 1 - 12 / (n**3 - n)
    capped = max(-most, min(most, correlation))
    reach = 1.959963984540054 * math.sqrt((1 + capped**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(capped) + side * reach) for side in (-1, 1))
    return Interval(min(low, correlation), max(high, correlation), "Fisher's z of ranks")
