"""Statistics over a handful of training seeds: what may be said of numbers from several runs.

descriptive  means, medians, deviations
intervals    95 % intervals of what is true of all seeds
tests        exact sign-flip tests of difference and equivalence, Holm's correction
effects      effect sizes, rank correlation
verdicts     the one verdict type, and verdicts by intervals
claims       the whole test of a claim, from paired differences to a verdict
numbers      signed numbers as people read them
"""

from speedcore.stats.descriptive import known_mean, mean, median, pooled_sd, sd, skewness
from speedcore.stats.effects import effect_size, rank_correlation, superiority
from speedcore.stats.intervals import (
    FEWEST_VALUES,
    INTERVAL_AND_P,
    MEAN_INTERVAL,
    Interval,
    mean_interval,
    median_interval,
    rank_interval,
    ratio_interval,
    share_interval,
    sign_flip_bounds,
    student_reach,
)
from speedcore.stats.tests import (
    ALPHA,
    FEWEST_PAIRS,
    equivalence_p,
    holm,
    pairs_needed,
    sign_flip_p,
    smallest_p,
    testable_from,
)
from speedcore.stats.verdicts import Verdict, by_interval

__all__ = [
    "ALPHA", "FEWEST_PAIRS", "FEWEST_VALUES", "INTERVAL_AND_P", "Interval", "MEAN_INTERVAL", "Verdict", "by_interval",
    "effect_size", "equivalence_p", "holm", "known_mean", "mean", "mean_interval", "median", "median_interval", "pairs_needed",
    "pooled_sd", "rank_correlation", "rank_interval", "ratio_interval", "sd", "share_interval", "sign_flip_bounds",
    "sign_flip_p", "skewness", "smallest_p", "student_reach", "superiority", "testable_from",
]
