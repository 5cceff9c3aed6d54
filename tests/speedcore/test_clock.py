"""The ledger adds up to the wall clock, and each rule counts its own phases."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speedcore.clock import POLICIES, Budget, Ledger, Phase, Stopwatch
from tests.speedcore.toys import FakeClock

BY_HAND = {"provision": 3.0, "load": 5.0, "prepare": 7.0, "precompute": 11.0, "train": 100.0, "validate": 13.0,
           "test": 17.0, "tta": 19.0, "other": 0.5}


def test_each_second_is_charged_to_the_phase_that_was_open() -> None:
    clock = FakeClock()
    ledger = Ledger(clock=clock)
    clock.go(1)
    with ledger.phase(Phase.LOAD):
        clock.go(2)
    clock.go(4)
    with ledger.phase(Phase.TRAIN):
        clock.go(8)
        with ledger.phase(Phase.VALIDATE):
            clock.go(16)
        clock.go(32)
    assert ledger.seconds() == {"other": 5, "load": 2, "train": 40, "validate": 16}


@given(st.lists(st.tuples(st.sampled_from(list(Phase)), st.floats(0, 100), st.booleans()), max_size=20))
def test_phases_add_up_to_the_wall_clock(blocks) -> None:
    clock = FakeClock()
    ledger, start = Ledger(clock=clock), clock()
    for phase, seconds, fails in blocks:
        try:
            with ledger.phase(phase):
                clock.go(seconds)
                with ledger.phase(Phase.TEST):
                    clock.go(1)
                    if fails:
                        raise KeyError
        except KeyError:
            pass
        clock.go(0.25)
    assert math.isclose(sum(ledger.seconds().values()), clock() - start, abs_tol=1e-6)
    assert math.isclose(ledger.elapsed(POLICIES["everything"]), clock() - start, abs_tol=1e-6)


def test_a_failing_block_gives_the_clock_back_to_the_phase_around_it() -> None:
    clock = FakeClock()
    ledger = Ledger(clock=clock)
    with pytest.raises(KeyError), ledger.phase(Phase.TRAIN):
        clock.go(3)
        raise KeyError
    clock.go(2)
    assert ledger.seconds() == {"train": 3, "other": 2}


@pytest.mark.parametrize(("policy", "seconds"), [
    ("article", 100.0),                     # training alone
    ("dawnbench", 7.0 + 11.0 + 100.0),      # and all preprocessing of the data
    ("everything", 175.5),                  # the sum of the column
])
def test_rules_count_what_they_say(policy: str, seconds: float) -> None:
    assert POLICIES[policy].seconds(BY_HAND) == seconds


def test_a_rule_refuses_a_phase_that_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="coffee"):
        POLICIES["article"].seconds({"coffee": 1.0})


def test_elapsed_counts_the_phase_that_is_still_running() -> None:
    clock = FakeClock()
    ledger = Ledger(clock=clock)
    with ledger.phase(Phase.TRAIN):
        clock.go(3)
        assert ledger.elapsed(POLICIES["article"]) == 3
        with ledger.phase(Phase.VALIDATE):
            clock.go(10)
            assert ledger.elapsed(POLICIES["article"]) == 3
            assert ledger.elapsed(POLICIES["everything"]) == 13
        clock.go(1)
        assert ledger.elapsed(POLICIES["article"]) == 4
        assert Budget(10, POLICIES["article"]).left(ledger) == 6
        assert Budget(10, POLICIES["everything"]).left(ledger) == -4


def test_carried_seconds_count_where_their_phase_counts() -> None:
    ledger = Ledger(carried={"provision": 2.0, "load": 3.0}, clock=FakeClock())
    assert ledger.seconds() == {"provision": 2.0, "load": 3.0}
    assert ledger.elapsed(POLICIES["article"]) == 0
    assert ledger.elapsed(POLICIES["everything"]) == 5


def test_queued_work_is_waited_for_before_its_phase_ends() -> None:
    clock = FakeClock()
    queue = []

    def wait() -> None:
        clock.go(sum(queue))
        queue.clear()

    ledger = Ledger(synchronise=wait, clock=clock)
    with ledger.phase(Phase.TRAIN):
        queue.append(7)
    with ledger.phase(Phase.TEST):
        clock.go(1)
    assert ledger.seconds() == {"train": 7, "test": 1}


def test_stopwatch() -> None:
    clock = FakeClock()
    watch = Stopwatch(clock)
    clock.go(2.5)
    assert watch.seconds() == 2.5
