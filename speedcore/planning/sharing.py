"""How the time of a build is divided over data sets, pairs and steps, and what is given up first where it is short.

A smaller recipe first, then pairs of seeds, then a data set; a run shorter than its recipe's floor is never planned.
"""

from __future__ import annotations

import math
from operator import attrgetter

import torch

from speedcore.clock import POLICIES, Budget
from speedcore.errors import BudgetError
from speedcore.planning.candidates import Candidate, too_dear
from speedcore.planning.costs import duration
from speedcore.planning.planned_runs import MOST_SEEDS, PlannedRuns
from speedcore.planning.request import Request
from speedcore.stats import pairs_needed
from speedcore.training.settle import settle


def share_out(candidates: dict[str, list[Candidate]], request: Request,
              seconds: float) -> tuple[list[PlannedRuns], dict[str, str]]:
    """(planned runs, data sets for which there is no time, with the reason). Raises BudgetError if none fits.

    The time is split evenly; what one data set does not need goes to those still to be planned, and nobody gets so much that
    another one's least pair no longer fits. Where not all least pairs fit together, the dearest data set is left out.
    """
    budget = Budget(request.budget, POLICIES[request.clock])
    left_out = {name: why for name, found in candidates.items()
                if all(too_dear(one, budget) for one in found) and (why := too_dear(min(found, key=_floor_seconds), budget))}
    inside = {name: found for name, found in candidates.items() if name not in left_out}
    while inside:
        for steps in (attrgetter("least"), attrgetter("floor")):
            # A hair more than needed: limits are rounded, and sums of seconds too.
            least = {name: 1.001 * (request.seeds or 1) * min(_pair_seconds(one, steps(one), request) for one in found)
                     for name, found in inside.items()}
            if sum(least.values()) <= seconds:
                return _shares(inside, least, request, seconds), left_out
        dearest = max(inside, key=least.__getitem__)
        beside = " beside the others" if len(candidates) > 1 else ""
        left_out[dearest] = (f"{duration(max(0.0, seconds))} do not hold it{beside}: {_needs(inside[dearest], request)}; raise "
                             f"--within{', or name fewer data sets' if beside else ''}.")
        if len(inside) == 1:
            break
        del inside[dearest]
    raise BudgetError("\n".join(f"{name}: {reason}" for name, reason in left_out.items()))


def _shares(candidates: dict[str, list[Candidate]], least: dict[str, float], request: Request,
            seconds: float) -> list[PlannedRuns]:
    planned, left = {}, seconds
    # The cheapest first, so that what they leave over is known when the dear ones choose.
    order = sorted(candidates, key=lambda name: candidates[name][-1].full_seconds + candidates[name][-1].overhead)
    for position, name in enumerate(order):
        to_come = sum(least[other] for other in order[position + 1:])
        share = min(left / (len(order) - position), left - to_come)
        planned[name] = _choose(candidates[name], request, max(share, least[name]), pairs_needed(len(order)))
        left -= planned[name].estimate
    return [planned[name] for name in candidates]


def _pair_seconds(candidate: Candidate, steps: int, request: Request) -> float:
    """Seconds of two runs of so many steps; infinite where the budget of a run does not hold them."""
    needed = candidate.seconds_of(steps, POLICIES[request.clock])
    return math.inf if needed > request.budget else 2 * (needed + candidate.overhead)


def _needs(candidates: list[Candidate], request: Request) -> str:
    """The least that one of these recipes takes, in words."""
    one = min(candidates, key=_floor_seconds)
    steps = f"{one.floor} steps" if one.floor > 1 else "a step"
    pair = 2 * (one.seconds_of(one.floor, POLICIES[request.clock]) + one.overhead)
    return (f"the least is {steps} of recipe '{one.recipe.name}' ({one.throughput.step_seconds:.3g} s each here), for a "
            f"pair {duration(pair)}")


def _floor_seconds(candidate: Candidate) -> float:
    return candidate.floor * candidate.throughput.step_seconds


def _choose(candidates: list[Candidate], request: Request, share: float, testable: int) -> PlannedRuns:
    """The most trustworthy runs that `share` seconds buy: pairs enough for a test before longer runs, more if cheap."""
    clock = POLICIES[request.clock]
    counts = (request.seeds,) if request.seeds else (testable, 3, 2, 1)
    tries = [(count, one, one.least) for count in counts for one in candidates]
    # Below every recipe's least: the smallest recipe, with as few pairs as may be where they take each other's time.
    tries += [(count, one, one.floor) for one in reversed(candidates) for count in counts
              if count == counts[-1] or share / (2 * count) - one.overhead >= request.budget]
    for count, one, least in tries:
        each = min(request.budget, share / (2 * count) - one.overhead)
        if each >= one.seconds_of(least, clock):
            break
    beside = one.beside_training(clock)
    if not request.seeds and count == testable and math.isfinite(share) and one.full_seconds + beside <= each:
        count = max(count, min(MOST_SEEDS, int(share / (2 * (one.full_seconds + one.overhead)))))
    limit = request.budget if one.full_seconds + beside <= each else each
    limit = limit if limit == request.budget else _round_down(limit, one.seconds_of(least, clock))
    steps = one.steps_in(limit - beside)
    why = one.arithmetic or settle(one.recipe, one.dataset, torch.device(request.device)).why
    return PlannedRuns(
        dataset=one.dataset.name, fingerprint=one.dataset.fingerprint, recipe=one.recipe, arithmetic=why, reason=one.reason,
        seeds=count, steps=steps, full_steps=one.full_steps, steps_per_epoch=one.steps_per_epoch,
        step_seconds=one.throughput.step_seconds, limit=None if math.isinf(limit) else limit,
        run_seconds=steps * one.throughput.step_seconds + one.overhead, explain_seconds=one.explain_seconds)


def _round_down(seconds: float, least: float) -> float:
    """To two digits, a third where that would be below the least: a limit is part of a run's key, and people read it."""
    for digits in (1, 2, 3):
        unit = 10.0 ** (math.floor(math.log10(seconds)) - digits)
        rounded = round(math.floor(seconds / unit) * unit, 9)
        if rounded >= least:
            return rounded
    return seconds
