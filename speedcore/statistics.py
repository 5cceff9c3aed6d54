"""Statistics over a handful of training seeds: intervals, exact sign-flip tests of difference and equivalence, Holm's correction.

The unit is always the seed. Images of one run are no independent witnesses of how training goes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
# An exact two-sided sign-flip test of n pairs cannot go below 2 / 2^n: with five pairs that is .0625.
FEWEST_PAIRS = 6
# Up to here all sign assignments are counted; beyond, they are sampled.
_EXACT_PAIRS = 30
_RESAMPLES = 9_999


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


def pooled_sd(groups: Iterable[Sequence[float]]) -> float | None:
    """Standard deviation within groups that share one, each around its own mean; None where no group has two values."""
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        return None
    squares = math.fsum((value - mean(group)) ** 2 for group in groups for value in group)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))


def t_interval(values: Sequence[float]) -> Interval | None:
    """Student's interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    reach = float(stdtrit(len(values) - 1, 1 - ALPHA / 2)) * sd(values) / math.sqrt(len(values))
    return Interval(mean(values) - reach, mean(values) + reach, "Student's t")


def bca_interval(values: Sequence[float]) -> Interval:
    """Bias-corrected and accelerated bootstrap interval of the mean (Efron 1987), with a fixed random seed."""
    from scipy.stats import bootstrap

    if max(values) == min(values):
        return Interval(values[0], values[0], "BCa bootstrap")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, high = bootstrap((np.asarray(values, dtype=np.float64),), np.mean, n_resamples=_RESAMPLES, method="BCa",
                              confidence_level=1 - ALPHA, rng=np.random.default_rng(0)).confidence_interval
    if not (math.isfinite(low) and math.isfinite(high)):
        return t_interval(values)
    return Interval(float(low), float(high), "BCa bootstrap")


def paired_interval(differences: Sequence[float]) -> Interval | None:
    """BCa from six pairs on, Student's t from two; None for one."""
    return bca_interval(differences) if len(differences) >= FEWEST_PAIRS else t_interval(differences)


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
    """Interval of the ratio of two medians over the same seeds; None for a single pair.

    From six pairs on the percentile bootstrap over pairs, with a fixed random seed; below, Student's t of the logarithms
    of the pairs' ratios.
    """
    if len(ours) < 2:
        return None
    if len(ours) < FEWEST_PAIRS:
        logs = t_interval([math.log(a / b) for a, b in zip(ours, theirs, strict=True)])
        return Interval(math.exp(logs.low), math.exp(logs.high), "Student's t of log ratios")
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
