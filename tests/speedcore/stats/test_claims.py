"""The whole test procedure, against p-values counted by hand."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedcore import stats
from speedcore.stats.claims import judge, pairs_needed

values = st.floats(-1, 1).map(lambda v: round(v, 3))


def test_equivalence_by_hand() -> None:
    # Bound 1: shifted to 1.5, .75, 1.25 and .5, 1.25, .75: of eight ways to sign either, only all-plus reaches the sum.
    assert stats.equivalence_p([0.5, -0.25, 0.25], 1.0) == 1 / 8
    # Shifted to 3, 1, −.5 (sum 3.5) and −1, 1, 2.5 (sum 2.5). Sizes 3, 1, .5: +++ 4.5, ++− 3.5 reach 3.5: 2/8. Sizes
    # 1, 1, 2.5: +++ 4.5, −++ 2.5, +−+ 2.5 reach 2.5: 3/8.
    assert stats.equivalence_p([2.0, 0.0, -1.5], 1.0) == 3 / 8
    # At the bound itself nothing speaks for one side: shifted differences of zero are reached by every way.
    assert stats.equivalence_p([1.0] * 6, 1.0) == 1
    with pytest.raises(ValueError, match="above 0"):
        stats.equivalence_p([0.1], 0.0)


@given(st.lists(values, min_size=1, max_size=9), st.floats(0.05, 1))
def test_equivalence_counts_all_assignments(differences: list[float], bound: float) -> None:
    ps = []
    for side in ([bound + d for d in differences], [bound - d for d in differences]):
        total = math.fsum(side)
        hits = sum(math.fsum(s * d for s, d in zip(signs, side, strict=True)) >= total - 1e-9
                   for signs in itertools.product((1, -1), repeat=len(side)))
        ps.append(hits / 2**len(side))
    assert stats.equivalence_p(differences, bound) == pytest.approx(max(ps))
    assert stats.equivalence_p([-d for d in differences], bound) == stats.equivalence_p(differences, bound)


def test_equivalence_of_many_pairs_is_sampled_and_never_zero() -> None:
    assert 0 < stats.equivalence_p([0.01, -0.01] * 20, 1.0) < 1e-4
    assert stats.equivalence_p([2.0, 2.1] * 20, 1.0) > 0.99


def test_superiority() -> None:
    assert stats.superiority([1, 2, -1, 0]) == (1 + 1 + 0 + 0.5) / 4


def test_exact_interval_of_a_share() -> None:
    # None of ten: high solves (1 − p)^10 = .025. Five of ten: tabled as .187 to .813.
    assert stats.share_interval(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert stats.share_interval(10, 10).low == pytest.approx(0.025**0.1)
    assert (stats.share_interval(0, 10).low, stats.share_interval(10, 10).high) == (0, 1)
    middle = stats.share_interval(5, 10)
    assert (middle.low, middle.high) == (pytest.approx(0.1871, abs=1e-4), pytest.approx(0.8129, abs=1e-4))


def test_rank_correlation_by_hand() -> None:
    # Differences of ranks 1, −1, 0, 0: 1 − 6 · 2 / (4 · 15) = .8.
    assert stats.rank_correlation([10, 20, 30, 40], [2, 1, 3, 4]) == pytest.approx(0.8)
    # Ties share: ranks 1.5, 1.5, 3 against 1, 2, 3: 1.5 / √(1.5 · 2).
    assert stats.rank_correlation([5, 5, 9], [1, 2, 3]) == pytest.approx(1.5 / math.sqrt(3))
    assert stats.rank_correlation([1, 2], [2, 1]) == pytest.approx(-1)
    assert stats.rank_correlation([1, 1, 1], [1, 2, 3]) is None and stats.rank_correlation([1], [1]) is None


def test_interval_of_a_rank_correlation() -> None:
    # r = .5, n = 28: z .549306, variance 1.125 / 25: ± 1.96 · .212132.
    interval = stats.rank_interval(0.5, 28)
    assert (interval.low, interval.high) == (pytest.approx(math.tanh(0.549306 - 0.415773), abs=1e-5),
                                             pytest.approx(math.tanh(0.549306 + 0.415773), abs=1e-5))
    # A perfect one of five counts as .9 (two neighbours changed places) at its lower end.
    perfect = stats.rank_interval(1.0, 5)
    reach = 1.959964 * math.sqrt((1 + 0.81 / 2) / 2)
    assert (perfect.low, perfect.high) == (pytest.approx(math.tanh(math.atanh(0.9) - reach), abs=1e-6), 1.0)
    assert stats.rank_interval(1.0, 4) is None and stats.rank_interval(None, 9) is None


def test_supported_not_supported_and_the_opposite() -> None:
    up, mixed = [0.1, 0.2, 0.3, 0.2, 0.1, 0.2, 0.3], [0.3, -0.3, 0.2, -0.2, 0.4, -0.4, 0.0]
    found = judge({"a": up, "b": mixed, "c": [-d for d in up]}, bound=0.01)
    assert [t.verdict for t in found.values()] == ["supported", "not supported", "not supported"]
    # Seven pairs that agree: 2/128 each, and Holm takes three of them together: 3 · 2/128 for both, 1 for the rest.
    assert [t.p for t in found.values()] == [2 / 128, 1, 2 / 128]
    assert [t.p_holm for t in found.values()] == [6 / 128, 1, 6 / 128]
    assert [t.opposite for t in found.values()] == [False, False, True]
    assert found["a"].superiority == 1 and found["a"].difference == pytest.approx(0.2)
    assert found["a"].effect_size == pytest.approx(0.2 / math.sqrt(0.04 / 6))


def test_equivalence_comes_before_a_sign_that_does_not_matter() -> None:
    small = [0.001, 0.002, 0.003, 0.002, 0.001, 0.002]
    alone = judge({"a": small})["a"]
    assert (alone.verdict, alone.p_equivalence, alone.p_equivalence_holm) == ("supported", None, None)
    bounded = judge({"a": small}, bound=0.05)["a"]
    assert (bounded.verdict, bounded.p_holm, bounded.p_equivalence_holm) == ("equivalent within bounds", 2 / 64, 1 / 64)
    # A centre far inside, but pairs that scatter beyond the bounds: nothing was shown.
    assert judge({"a": [0.2, -0.2, 0.3, -0.3, 0.1, -0.1]}, bound=0.05)["a"].verdict == "not supported"


def test_too_few_pairs_are_not_testable_whatever_they_show() -> None:
    found = judge({"a": [0.1] * 5, "b": [], "c": [0.1] * 7}, bound=0.2)
    assert [t.verdict for t in found.values()] == ["not testable", "not testable", "equivalent within bounds"]
    assert found["a"].p == 2 / 32 and found["a"].p_holm is None and found["a"].p_equivalence_holm is None
    assert found["b"].p is None and found["b"].difference is None and found["b"].interval is None
    # Only what is tested is corrected for: the third is the only one.
    assert found["c"].p_holm == found["c"].p == 2 / 128
    assert pairs_needed({"a": [0.1] * 5, "b": [], "c": [0.1] * 7}) == 7  # two have pairs: 2 · 2/128 < .05


@given(st.dictionaries(st.sampled_from("abcd"), st.lists(values, max_size=9), min_size=1))
def test_sides_of_a_claim_are_treated_alike(family: dict[str, list[float]]) -> None:
    mirrored = judge({name: [-d for d in differences] for name, differences in family.items()}, bound=0.1)
    for name, tested in judge(family, bound=0.1).items():
        other = mirrored[name]
        assert (tested.p_holm, tested.p_equivalence_holm) == (other.p_holm, other.p_equivalence_holm)
        assert (tested.verdict == "supported") <= (other.verdict == "not supported")
        if tested.verdict in ("equivalent within bounds", "not testable"):
            assert other.verdict == tested.verdict
