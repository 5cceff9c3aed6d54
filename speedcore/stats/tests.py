"""Exact sign-flip tests of difference and equivalence over paired seeds, and Holm's correction.

The unit is always the seed. Images of one run are no independent witnesses of how training goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ALPHA = 0.05
# An exact two-sided sign-flip test of n pairs cannot go below 2 / 2^n: with five pairs that is .0625.
FEWEST_PAIRS = 6
# Up to here all sign assignments are counted; beyond, they are sampled.
_EXACT_PAIRS = 30
_ROUNDS, _A_ROUND = 11, 9_999


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
        for _ in range(_ROUNDS):
            sums = (rng.integers(0, 2, (_A_ROUND, n)) * 2 - 1) @ sizes
            hits += int(((np.abs(sums) if both else sums) >= threshold).sum())
        return (hits + 1) / (_ROUNDS * _A_ROUND + 1)
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
