"""How large a paired difference is, and how two measures go together."""

from __future__ import annotations

from collections.abc import Sequence

from speedcore.stats.descriptive import mean, sd


def effect_size(differences: Sequence[float]) -> float | None:
    """d_z: mean of the paired differences over their standard deviation; None where that is undefined."""
    spread = sd(differences)
    return mean(differences) / spread if spread else None


def superiority(differences: Sequence[float]) -> float:
    """Probability of superiority: the share of pairs with a positive difference, ties counted half."""
    return mean([1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in differences])


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float | None:
    """Spearman's, ties sharing their mean rank; None where either is constant or there are fewer than two values."""
    from scipy.stats import spearmanr  # takes a second to import

    if min(len(set(xs)), len(set(ys))) < 2:
        return None
    return float(spearmanr(xs, ys).statistic)
