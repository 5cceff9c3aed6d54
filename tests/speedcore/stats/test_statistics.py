"""Statistics over seeds, against values worked out by hand or by brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from speedcore import stats
from speedcore.stats import intervals

values = st.floats(-1, 1).map(lambda v: round(v, 3))


def test_mean_and_sd_of_a_small_sample() -> None:
    # Deviations −2, 0, 2 around 4: variance (4 + 0 + 4) / 2 = 4.
    assert stats.mean([2, 4, 6]) == 4
    assert stats.sd([2, 4, 6]) == 2
    assert stats.sd([3.0]) is None
    # Squares 2 + 0 + 8 over degrees of freedom 1 + 1 + 2.
    assert stats.pooled_sd([[1, 3], [5, 5], [0, 2, 4], [7]]) == pytest.approx((10 / 4) ** 0.5)
    assert stats.pooled_sd([[1], []]) is None


def test_smallest_p_halves_with_every_pair() -> None:
    assert [stats.smallest_p(n) for n in (1, 5, 6, 10)] == [1, 0.0625, 0.03125, 2 / 1024]


def test_pairs_needed_grow_with_the_family() -> None:
    # k · 2 / 2^n < .05: n = 6 (.031), 7 (2 · .0156 = .031), 7 (3 · .0156 = .047), 8 (4 · .0078 = .031).
    assert [stats.pairs_needed(k) for k in (1, 2, 3, 4)] == [6, 7, 7, 8]


def test_sign_flip_by_hand() -> None:
    # All agree: only all-plus and all-minus reach the sum. One of the smallest disagrees: four of sixteen do
    # (sums 8 and −8 and the 10 and −10 that are beyond).
    assert stats.sign_flip_p([1, 1, 1, 1, 1, 1]) == 2 / 64
    assert stats.sign_flip_p([4, 3, 2, -1]) == 4 / 16
    assert stats.sign_flip_p([0.0, 0.0]) == 1
    assert stats.sign_flip_p([0.3]) == 1


@given(st.lists(values, min_size=1, max_size=9))
def test_sign_flip_counts_all_assignments(differences: list[float]) -> None:
    total = abs(math.fsum(differences))
    hits = sum(abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True))) >= total - 1e-9
               for signs in itertools.product((1, -1), repeat=len(differences)))
    assert stats.sign_flip_p(differences) == pytest.approx(hits / 2**len(differences))


@given(st.lists(values, min_size=1, max_size=12))
def test_sign_flip_ignores_order_and_overall_sign(differences: list[float]) -> None:
    p = stats.sign_flip_p(differences)
    assert stats.smallest_p(len(differences)) <= p <= 1
    assert stats.sign_flip_p([-d for d in reversed(differences)]) == pytest.approx(p)


def test_sign_flip_of_many_pairs_is_sampled_and_never_zero() -> None:
    assert 0 < stats.sign_flip_p([1.0] * 40) < 1e-4
    assert stats.sign_flip_p([1.0, -1.0] * 20) == 1


def test_holm_by_hand() -> None:
    # Sorted: .01 · 3, .02 · 2, .04 · 1; each at least the one before.
    assert stats.holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert stats.holm([0.5, 0.9]) == [1, 1]
    assert stats.holm([]) == []


def test_interval_of_symmetric_values_is_students() -> None:
    # sd 1, t(0.99, 2) = 6.964557: 2 ± 6.964557 / √3.
    interval = stats.mean_interval([1, 2, 3])
    assert interval.low == pytest.approx(2 - 6.964557 / math.sqrt(3), abs=1e-6)
    assert interval.high == pytest.approx(2 + 6.964557 / math.sqrt(3), abs=1e-6)
    # From six on at 95 %: −3, −2, −1, 1, 2, 3 have sd √(28 / 5), t(0.975, 5) = 2.570582; the sign flips' bounds are ±3.
    assert 2.570582 * math.sqrt(28 / 5 / 6) < 3
    interval = stats.mean_interval([-3, -2, -1, 1, 2, 3])
    assert (interval.low, interval.high) == (-3, 3)
    # Of twice as many the sign flips' bounds are within: t(0.975, 11) = 2.200985, squares 2 · 28 over 11.
    interval = stats.mean_interval([-3, -2, -1, 1, 2, 3] * 2)
    assert interval.high == pytest.approx(max(2.200985 * math.sqrt(56 / 11 / 12),
                                              stats.sign_flip_bounds([-3, -2, -1, 1, 2, 3] * 2)[1]), abs=1e-6)


def test_skewness_by_hand_and_by_scipy() -> None:
    from scipy.stats import skew

    assert stats.skewness([0, 0, 3]) == pytest.approx(1 / math.sqrt(2))  # moments 2 and (−1 − 1 + 8) / 3
    assert stats.skewness([1, 2, 3]) == 0
    assert stats.skewness(sample := [0.1, 0.5, 0.2, 0.9, -3.0]) == pytest.approx(skew(sample))


def test_interval_is_stretched_on_the_side_of_the_longer_tail() -> None:
    # 0, 0, 3: mean 1, sd √3, so Student's reach is t(2) · √3 / √3, 6.964557 at 98 % and 4.302653 at 95; the third moment
    # (−1 − 1 + 8) / 3 over (√2)³ is 1 / √2, of which 1.75 times is added.
    interval = stats.mean_interval([0, 0, 3])
    assert interval.low == pytest.approx(1 - 6.964557, abs=1e-5)
    assert interval.high == pytest.approx(1 + 6.964557 + 4.302653 * 1.75 / math.sqrt(2), abs=1e-4)
    turned = stats.mean_interval([0, 0, -3])
    assert (turned.low, turned.high) == (pytest.approx(-interval.high), pytest.approx(-interval.low))


@pytest.mark.parametrize("few", [[], [0.5], [0.5, 0.7], [0.25] * 3, [0.25] * 9, [0.1, 0.3 - 0.2, 0.1], [0.0] * 7])
def test_too_few_or_equal_values_have_no_interval(few: list[float]) -> None:
    assert stats.mean_interval(few) is None


def test_interval_of_a_share_stays_within_shares() -> None:
    # Three runs of which one did not learn: Student's alone would go from −54 to 185 %.
    interval = stats.mean_interval([0.94, 0.92, 0.10], (0.0, 1.0))
    assert (interval.low, interval.high) == (0, 1)
    inside = stats.mean_interval([0.94, 0.92, 0.93], (0.0, 1.0))
    assert inside == stats.mean_interval([0.94, 0.92, 0.93]) and 0 < inside.low < inside.high < 1


@given(st.lists(values, min_size=6, max_size=9))
def test_bounds_are_the_sign_flip_test_turned_round(differences: list[float]) -> None:
    """A centre outside of the bounds is rejected, one inside is not. Equal values have no bounds to speak of."""
    assume(len(set(differences)) > 1)
    low, high = stats.sign_flip_bounds(differences)
    step = 1e-6
    for centre, rejected in ((low - step, True), (high + step, True), (low, False), (high, False), ((low + high) / 2, False)):
        p = stats.sign_flip_p([d - centre for d in differences])
        assert (p < stats.ALPHA) is rejected, (centre, p)


def test_bounds_of_six_values_are_the_least_and_the_greatest() -> None:
    assert stats.sign_flip_bounds([4.0, 9.0, 1.0, 2.0, 7.0, 3.0]) == (1, 9)
    with pytest.raises(ValueError, match="need 6"):
        stats.sign_flip_bounds([1.0, 2.0, 3.0, 4.0, 5.0])


def test_sampled_bounds_are_near_the_exact_ones(monkeypatch) -> None:
    sample = [((7 * i) % 17) / 17 + (i % 3) / 10 for i in range(16)]
    exact = stats.sign_flip_bounds(sample)
    monkeypatch.setattr(intervals, "_ENUMERATED", 15)
    assert stats.sign_flip_bounds(sample) == pytest.approx(exact, abs=0.05 * (exact[1] - exact[0]))


@given(st.lists(values, min_size=6, max_size=10))
def test_interval_without_zero_never_stands_beside_a_p_of_five_percent(differences: list[float]) -> None:
    interval = stats.mean_interval(differences)
    if interval and not interval.low <= 0 <= interval.high:
        assert stats.sign_flip_p(differences) < stats.ALPHA


@pytest.mark.parametrize(("n", "rank"), [(6, 1), (8, 1), (9, 2), (10, 2), (15, 4), (30, 10), (100, 40)])
def test_interval_of_a_median_lies_between_tabled_ranks(n: int, rank: int) -> None:
    """Ranks from the tables of the sign test at 5 % (two-sided): critical values 0, 0, 1, 1, 3, 9, 39, one more each."""
    values = [float(v) for v in range(1, n + 1)]
    interval = stats.median_interval(list(reversed(values)))
    assert (interval.low, interval.high) == (rank, n + 1 - rank)


def test_five_values_have_no_interval_of_their_median() -> None:
    assert stats.median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert stats.median_interval([1.0]) is None


def test_interval_of_a_ratio() -> None:
    theirs = [10.0, 12.0, 11.0, 10.5, 30.0, 10.2, 11.1]
    exact = stats.ratio_interval([v / 4 for v in theirs], theirs)
    assert (exact.low, exact.high, exact.kind) == (pytest.approx(0.25), pytest.approx(0.25), "paired bootstrap")
    ours = [5.0, 6.2, 5.4, 5.3, 5.1, 5.2, 5.6]
    interval = stats.ratio_interval(ours, theirs)
    assert interval.low < 5.3 / 11.0 < interval.high
    turned = stats.ratio_interval(theirs, ours)
    assert (turned.low, turned.high) == (pytest.approx(1 / interval.high, rel=0.02), pytest.approx(1 / interval.low, rel=0.02))


def test_interval_of_a_ratio_of_few_pairs() -> None:
    assert stats.ratio_interval([1.0], [2.0]) is None and stats.ratio_interval([1.0, 2.0], [2.0, 3.0]) is None
    # Logs of the ratios 1/4, 1/2, 1: mean log(1/2), sd log 2, t(0.99, 2) = 6.964557.
    interval = stats.ratio_interval([1.0, 2.0, 4.0], [4.0, 4.0, 4.0])
    reach = math.exp(6.964557 * math.log(2) / math.sqrt(3))
    assert (interval.low, interval.high) == (pytest.approx(0.5 / reach, rel=1e-5), pytest.approx(0.5 * reach, rel=1e-5))
    assert interval.kind.endswith("of log ratios")


def test_effect_size() -> None:
    assert stats.effect_size([1, 2, 3]) == 2
    assert stats.effect_size([1, 1]) is None
    assert stats.effect_size([1]) is None
