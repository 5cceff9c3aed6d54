"""Statistics over a handful of training seeds: intervals, exact sign-flip tests of difference and equivalence, Holm's correction.

The unit is always the seed. Images of one run are no independent witnesses of how training goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

ALPHA = 0.05
# An exact two-sided sign-flip test of n pairs cannot go below 2 / 2^n: with five pairs that is .0625.
FEWEST_PAIRS = 6
# Two values have no interval of their mean that is any use: Student's would be 13 times as wide as they lie apart, and for
# skewed ones too narrow still.
FEWEST_VALUES = 3
# Up to here all sign assignments are counted; beyond, they are sampled. Bounds count all subsets up to fewer values.
_EXACT_PAIRS, _ENUMERATED = 30, 16
_RESAMPLES = 9_999
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


def smallest_p(pairs: int) -> float:
    """The least two-sided p that a sign-flip test of so many pairs can give: 2 / 2^n."""
    return min(1.0, 2.0 / 2.0**pairs)


def pairs_needed(claims: int = 1) -> int:
    """Pairs with which the sign-flip test can reach p < 0.05 although Holm corrects for so many claims: 6, 7, 7, 8, ..."""
    return next(n for n in range(FEWEST_PAIRS, 64) if claims * smallest_p(n) < ALPHA)


def testable_from(pairs: Sequence[int]) -> float:
    """The number of pairs from which claims are tested, given how many pairs each of a family has; inf if none can be.

    The smallest number such that all claims with at least so many have what Holm's correction for so many claims asks
    for. It depends on numbers of pairs alone, never on what they show.
    """
    fitting = [n for n in set(pairs) if n >= pairs_needed(sum(m >= n for m in pairs))]
    return min(fitting, default=math.inf)


def sign_flip_p(differences: Sequence[float]) -> float:
    """Two-sided p of the sign-flip test that paired differences are symmetric about zero.

    The share of all 2^n ways to sign the differences whose sum is at least as far from zero as the one seen; exact up
    to 30 pairs, from 109,989 sampled ways (the seen one counted in) beyond.
    """
    return _share_of_flips(differences, abs(math.fsum(differences)), both=True)


def equivalence_p(differences: Sequence[float], bound: float) -> float:
    """p of two one-sided tests (TOST) that paired differences lie about a centre within ±`bound`, both by sign flips.

    The larger of two p: that the differences are symmetric about −bound or something lower, and about +bound or something
    higher. Exact as `sign_flip_p` is, with no word on their distribution but its symmetry; of n pairs at least 1 / 2^n.
    """
    if not bound > 0:
        raise ValueError(f"the bound of an equivalence must be above 0, found {bound}")
    sides = [[bound + d for d in differences], [bound - d for d in differences]]
    return max(_share_of_flips(side, math.fsum(side), both=False) for side in sides)


def _share_of_flips(values: Sequence[float], total: float, both: bool) -> float:
    """Share of all ways to sign the values whose sum reaches `total`; both: or goes as far below zero."""
    sizes = np.abs(np.asarray(values, dtype=np.float64))
    # Sums that differ by rounding alone are ties, and ties count.
    threshold = total - 1e-9 * max(float(sizes.sum()), 1e-300)
    n = len(sizes)
    if n > _EXACT_PAIRS:
        rng, hits = np.random.default_rng(0), 0
        for _ in range(11):
            sums = (rng.integers(0, 2, (9_999, n)) * 2 - 1) @ sizes
            hits += int(((np.abs(sums) if both else sums) >= threshold).sum())
        return (hits + 1) / (9_999 * 11 + 1)
    # Sums of the two halves, one sorted: 2 · 2^(n/2) numbers stand for all 2^n assignments.
    left, right = _signed_sums(sizes[:n // 2]), np.sort(_signed_sums(sizes[n // 2:]))
    hits = (len(right) - np.searchsorted(right, threshold - left, side="left")).sum()
    if both:
        hits += np.searchsorted(right, -threshold - left, side="right").sum()
    return min(1.0, float(hits) / 2.0**n)


def _signed_sums(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p of each of several tests, in the order given."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def effect_size(differences: Sequence[float]) -> float | None:
    """d_z: mean of the paired differences over their standard deviation; None where that is undefined."""
    spread = sd(differences)
    return mean(differences) / spread if spread else None


def superiority(differences: Sequence[float]) -> float:
    """Probability of superiority: the share of pairs with a positive difference, ties counted half."""
    return mean([1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences])


def share_interval(hits: int, of: int) -> Interval:
    """Clopper and Pearson's exact interval of a probability, from `hits` in `of` independent trials."""
    from scipy.special import betaincinv

    low = float(betaincinv(hits, of - hits + 1, ALPHA / 2)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - ALPHA / 2)) if hits < of else 1.0
    return Interval(low, high, "Clopper-Pearson")


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's, ties sharing their mean rank; None where either is constant or there are fewer than two values."""
    from scipy.stats import rankdata

    if len(xs) < 2:
        return None
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (xs, ys)]
    scale = math.sqrt(math.prod(float(rank @ rank) for rank in ranks))
    return max(-1.0, min(1.0, float(ranks[0] @ ranks[1]) / scale)) if scale else None


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
