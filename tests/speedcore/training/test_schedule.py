"""Schedules by hand, and the step budget on simulated machines: the limit is kept and the rate annealed to the end."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from speedcore.recipe.schedules import interpolate
from speedcore.training.schedule import StepBudget

KNOTS = ((0.0, 0.0), (0.2, 1.0), (1.0, 0.2))


@pytest.mark.parametrize(("progress", "linear", "cosine"), [
    (-1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.05, 0.25, (1 - math.cos(math.pi / 4)) / 2), (0.1, 0.5, 0.5), (0.2, 1.0, 1.0),
    (0.6, 0.6, 0.6), (0.8, 0.4, 0.2 + 0.8 * (1 + math.cos(0.75 * math.pi)) / 2), (1.0, 0.2, 0.2), (2.0, 0.2, 0.2),
])
def test_between_knots_by_hand(progress: float, linear: float, cosine: float) -> None:
    assert interpolate(KNOTS, progress) == pytest.approx(linear)
    assert interpolate(KNOTS, progress, "cosine") == pytest.approx(cosine)


def test_two_knots_at_one_place_are_a_jump() -> None:
    knots = ((0.0, 1.0), (0.5, 1.0), (0.5, 0.1), (1.0, 0.1))
    assert [interpolate(knots, p) for p in (0.49, 0.5, 0.51)] == pytest.approx([1.0, 1.0, 0.1])


def test_cosine_is_torchs_one_cycle() -> None:
    total, peak, start, end = 50, 4.0, 25.0, 1e4
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would like a step of the optimiser before the schedule's
        theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total, pct_start=0.3, div_factor=start,
                                                     final_div_factor=end, cycle_momentum=False)
        rates = []
        for _ in range(total):
            rates.append(optimizer.param_groups[0]["lr"])
            if len(rates) < total:
                theirs.step()
    # torch puts the peak at step 0.3·total − 1 and the end at step total − 1, counted from 0.
    knots = ((0.0, 1 / start), ((0.3 * total - 1) / (total - 1), 1.0), (1.0, 1 / start / end))
    ours = [peak * interpolate(knots, i / (total - 1), "cosine") for i in range(total)]
    assert ours == pytest.approx(rates, rel=1e-6)


@given(st.integers(1, 500))
def test_progress_goes_in_equal_parts_from_one_part_to_exactly_one(steps: int) -> None:
    step_budget, seen = StepBudget(steps), []
    while not step_budget.finished:
        seen.append(step_budget.advance())
    assert seen == pytest.approx([(i + 1) / steps for i in range(steps)])
    assert seen[-1] == 1.0


# --- machines --------------------------------------------------------------------------------------------------------

def drive(step_budget: StepBudget, seconds_of_step: Callable[[int, float], float]) -> tuple[float, list[float]]:
    """Run a step budget on a machine: (seconds taken, progress of each step)."""
    elapsed, seen = 0.0, []
    while not step_budget.finished:
        seen.append(step_budget.advance())
        took = seconds_of_step(len(seen), elapsed)
        elapsed += took
        step_budget.update(elapsed, took)
    return elapsed, seen


def noisy(spread: float, seed: int, mean: float = 1.0) -> Callable[[int, float], float]:
    generator = random.Random(seed)
    return lambda step, elapsed: mean * generator.uniform(1 - spread, 1 + spread)


# Seconds a step of a real run, each for a hundred steps, on a machine that other programs took over.
TAKEN_OVER = [0.13] * 18 + [0.6, 0.27, 0.6, 0.4, 0.37, 0.83, 1.0, 1.5, 2.2, 2.6]


@pytest.mark.parametrize("worst", [1, 3, 10])
@pytest.mark.parametrize("after", [0, 10, 18])
def test_a_machine_that_other_programs_take_over_lands_inside_the_limit(worst: int, after: int) -> None:
    """Many times slower in mid-run: few steps are left in the time, and no count of steps says when to look again."""
    def machine(step: int, elapsed: float) -> float:
        hundred = step // 100 + (18 - after if step >= 100 * after else 0)
        return TAKEN_OVER[min(hundred, len(TAKEN_OVER) - 1)] * (worst if hundred >= 18 else 1)

    elapsed, seen = drive(StepBudget(5600, 1000.0), machine)
    assert elapsed <= 1000 and seen[-1] == 1.0


@given(st.integers(1, 2000), st.floats(0.2, 5), st.floats(0, 0.12), st.integers(0, 10**6), st.booleans())
def test_a_machine_that_keeps_its_own_pace_lands_inside_the_limit(steps, factor, spread, seed, stretch) -> None:
    """Whatever it was measured as (`factor` is how wrong that was), as long as steps stay within 1.27 of each other."""
    limit = steps / 0.96
    assume(min(steps, 2) * factor * (1 + spread) <= limit)  # one step to find out, one to end
    step_budget = StepBudget(steps, limit, wanted=10 * steps, stretch=stretch)
    elapsed, seen = drive(step_budget, noisy(spread, seed, factor))
    assert elapsed <= limit
    assert seen[-1] == 1.0
    assert all(a < b for a, b in zip(seen, seen[1:], strict=False))


@given(st.integers(50, 3000), st.floats(0.2, 1.6), st.floats(0, 0.3), st.integers(0, 10**6))
def test_nine_tenths_of_the_limit_are_used_where_more_is_wanted(steps, factor, spread, seed) -> None:
    step_budget = StepBudget(steps, steps / 0.96, wanted=10 * steps, stretch=True)
    elapsed, seen = drive(step_budget, noisy(spread, seed, factor))
    assert 0.9 * step_budget.limit <= elapsed <= step_budget.limit
    assert seen[-1] == 1.0


@given(st.integers(150, 3000), st.floats(1.0, 3.0), st.floats(0, 0.97), st.floats(0.01, 1), st.booleans())
def test_a_slow_spell_at_any_time_is_survived(steps, slower, begins, lasts, stretch) -> None:
    limit = steps / 0.96
    step_budget = StepBudget(steps, limit, wanted=3 * steps, stretch=stretch)
    elapsed, seen = drive(step_budget, lambda step, t: slower if begins <= t / limit < begins + lasts else 1.0)
    assert elapsed <= limit
    assert seen[-1] == 1.0
    assert elapsed >= 0.9 * limit


@given(st.integers(1, 40), st.floats(0.9, 1.0))
def test_the_very_last_step_may_take_longer(steps: int, share: float) -> None:
    """Equal steps that fill `share` of the limit, and a last one of 1.29 times their length."""
    limit = steps / share
    assume(min(steps, 2) * 1.29 <= limit)
    step_budget = StepBudget(steps, limit)
    elapsed, seen = drive(step_budget, lambda step, t: 1.29 if step_budget.done == step_budget.steps else 1.0)
    assert elapsed <= limit
    assert seen[-1] == 1.0


def test_a_run_gets_its_own_steps_back_after_a_slow_spell() -> None:
    """Twice as slow for the first twentieth of the time: 950 + 25 of the thousand steps that the limit holds."""
    step_budget = StepBudget(960, 1000.0)
    elapsed, _ = drive(step_budget, lambda step, t: 2.0 if t < 50 else 1.0)
    assert any(change.steps_after < change.steps_before for change in step_budget.replans)
    assert step_budget.done >= 930
    assert elapsed <= 1000


def test_a_run_as_fast_as_planned_is_left_alone() -> None:
    step_budget = StepBudget(960, 1000.0, wanted=5000, stretch=True)
    elapsed, _ = drive(step_budget, lambda step, t: 1.0)
    assert (elapsed, step_budget.done, step_budget.replans) == (960, 960, [])


def test_a_faster_machine_lengthens_only_what_may_be_stretched_and_never_beyond_what_is_wanted() -> None:
    counts = {}
    for stretch, wanted in ((False, 5000), (True, 5000), (True, 1200)):
        step_budget = StepBudget(960, 1000.0, wanted=wanted, stretch=stretch)
        drive(step_budget, lambda step, t: 0.5)
        counts[stretch, wanted] = step_budget.done
    assert counts[False, 5000] == 960
    assert counts[True, 1200] == 1200
    assert 0.9 * 2000 <= counts[True, 5000] <= 2000  # two steps a second for a thousand seconds


def test_every_change_is_recorded_and_they_are_few() -> None:
    for steps in (100, 3000):
        for seed in range(5):
            step_budget = StepBudget(steps, steps / 0.96, wanted=5 * steps, stretch=True)
            drive(step_budget, noisy(0.5, seed))
            planned = steps
            for change in step_budget.replans:
                assert change.steps_before == planned != change.steps_after
                assert change.reason.startswith("faster" if change.steps_after > planned else "slower")
                planned = change.steps_after
            assert planned == step_budget.done
            assert len(step_budget.replans) <= 12


def test_without_a_limit_nothing_is_ever_replanned() -> None:
    step_budget = StepBudget(300, wanted=1000, stretch=True)
    drive(step_budget, noisy(0.9, 0, 100))
    assert (step_budget.done, step_budget.replans) == (300, [])


def test_without_room_for_a_landing_the_limit_is_kept() -> None:
    """The ninth of ten steps hangs: it alone takes the limit, and no tenth begins."""
    step_budget = StepBudget(10, 10.4)
    elapsed, seen = drive(step_budget, lambda step, t: 2.3 if step == 9 else 1.0)
    assert elapsed == pytest.approx(10.3)
    assert (step_budget.done, step_budget.replans[-1].steps_after) == (9, 9)
    assert seen[-1] < 1


def test_looks_at_several_steps_at_once_plan_as_well() -> None:
    """As on a GPU, where the clock is read every few steps only."""
    step_budget, elapsed, seen = StepBudget(1000, 1000.0), 0.0, 0
    while not step_budget.finished:
        step_budget.advance()
        elapsed += 1.5
        if step_budget.done % 10 == 0 or step_budget.update_due:
            step_budget.update(elapsed, 1.5 * (step_budget.done - seen), step_budget.done - seen)
            seen = step_budget.done
    assert 900 <= elapsed <= 1000
    assert step_budget.progress == 1.0
