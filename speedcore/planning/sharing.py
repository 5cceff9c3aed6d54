"""How the time of a build is divided over data sets, pairs and steps, and what is given up first where it is short.

A smaller recipe first, then pairs of seeds, then a data set; a run shorter than its recipe's floor is never planned.
"""

from __future__ import annotations

import math

import torch

from speedcore.clock import POLICIES
from speedcore.errors import BudgetError
from speedcore.planning.costs import Candidate, Request, duration
from speedcore.planning.planned_runs import MOST_SEEDS, PlannedRuns
from speedcore.stats import pairs_needed
from speedcore.training.settle import settle


def share_out(options: dict[str, list[Candidate]], request: Request, seconds: float) -> tuple[list[PlannedRuns], dict[str, str]]:
    """(courses, data sets for which there is no time, with the reason). Raises BudgetError if none fits.

    The time is split evenly; what one data set does not need goes to those still to be planned, and nobody gets so much that
    another one's least pair no longer fits. Where not all least pairs fit together, the dearest data set is left out.
    """
    left_out: dict[str, str] = {}
    for name, found in options.items():
        if min(_pair_seconds(option, option.floor, request) for option in found) == math.inf:
            left_out[name] = _too_dear(found, request)
    inside = {name: found for name, found in options.items() if name not in left_out}
    while inside:
        for steps in (Candidate.least.fget, Candidate.floor.fget):
            # A hair more than needed: limits are rounded, and sums of seconds too.
            least = {name: 1.001 * (request.seeds or 1) * min(_pair_seconds(option, steps(option), request) for option in found)
                     for name, found in inside.items()}
            if sum(least.values()) <= seconds:
                return _courses(inside, least, request, seconds), left_out
        dearest = max(inside, key=least.get)
        beside = " beside the others" if len(options) > 1 else ""
        left_out[dearest] = (f"{duration(max(0.0, seconds))} do not hold it{beside}: {_needs(inside[dearest], request)}; raise "
                             f"--within{', or name fewer data sets' if beside else ''}.")
        if len(inside) == 1:
            break
        del inside[dearest]
    raise BudgetError("\n".join(f"{name}: {reason}" for name, reason in left_out.items()))


def _courses(options: dict[str, list[Candidate]], least: dict[str, float], request: Request, seconds: float) -> list[PlannedRuns]:
    courses, left = {}, seconds
    # The cheapest first, so that what they leave over is known when the dear ones choose.
    order = sorted(options, key=lambda name: options[name][-1].full_seconds + options[name][-1].overhead)
    for position, name in enumerate(order):
        to_come = sum(least[other] for other in order[position + 1:])
        share = min(left / (len(order) - position), left - to_come)
        courses[name] = _choose(options[name], request, max(share, least[name]), pairs_needed(len(order)))
        left -= courses[name].estimate
    return [courses[name] for name in options]


def _pair_seconds(option: Candidate, steps: int, request: Request) -> float:
    """Seconds of two runs of so many steps; infinite where the budget of a run does not hold them."""
    policy = POLICIES[request.policy]
    if option.seconds_of(steps, policy) > request.budget:
        return math.inf
    return 2 * (option.seconds_of(steps, policy) + option.overhead)


def _needs(options: list[Candidate], request: Request) -> str:
    """The least that one of these recipes takes, in words."""
    option = min(options, key=_floor_seconds)
    steps = f"{option.floor} steps" if option.floor > 1 else "a step"
    pair = 2 * (option.seconds_of(option.floor, POLICIES[request.policy]) + option.overhead)
    return (f"the least is {steps} of recipe '{option.recipe.name}' ({option.throughput.step_seconds:.3g} s each here), for a "
            f"pair {duration(pair)}")


def _floor_seconds(option: Candidate) -> float:
    return option.floor * option.throughput.step_seconds


def _too_dear(options: list[Candidate], request: Request) -> str:
    """Why not even the smallest of these recipes fits the budget of a run."""
    option, policy = min(options, key=_floor_seconds), POLICIES[request.policy]
    held = max(0, option.steps_in(request.budget - option.beside_training(policy)))
    steps = "no step" if held == 0 else f"only {held} step{'s' if held > 1 else ''}"
    floor = "from which on it is known to learn" if option.floor < option.full else "that all of its epochs are"
    fewer = f", fewer than the {option.floor} {floor}" if option.floor > 1 else ""
    return (f"{request.budget:.3g} s hold {steps} of recipe '{option.recipe.name}' (one takes "
            f"{option.throughput.step_seconds:.3g} s here){fewer}; raise --budget to "
            f"{duration(option.seconds_of(option.floor, policy))} or more, or choose a smaller recipe.")


def _choose(options: list[Candidate], request: Request, share: float, testable: int) -> PlannedRuns:
    """The most trustworthy course that `share` seconds buy: pairs enough for a test before longer runs, more if cheap."""
    policy = POLICIES[request.policy]
    counts = (request.seeds,) if request.seeds else (testable, 3, 2, 1)
    tries = [(count, option, option.least) for count in counts for option in options]
    # Below every recipe's least: the smallest recipe, with as few pairs as may be where they take each other's time.
    tries += [(count, option, option.floor) for option in reversed(options) for count in counts
              if count == counts[-1] or share / (2 * count) - option.overhead >= request.budget]
    for count, option, least in tries:
        each = min(request.budget, share / (2 * count) - option.overhead)
        if each >= option.seconds_of(least, policy):
            break
    beside = option.beside_training(policy)
    if not request.seeds and count == testable and math.isfinite(share) and option.full_seconds + beside <= each:
        count = max(count, min(MOST_SEEDS, int(share / (2 * (option.full_seconds + option.overhead)))))
    limit = request.budget if option.full_seconds + beside <= each else each
    limit = limit if limit == request.budget else _round_down(limit, option.seconds_of(least, policy))
    steps = option.steps_in(limit - beside)
    why = option.arithmetic or settle(option.recipe, option.dataset, torch.device(request.device)).why
    return PlannedRuns(dataset=option.dataset.name, fingerprint=option.dataset.fingerprint, recipe=option.recipe, arithmetic=why,
                  reason=option.reason, seeds=count, steps=steps, wanted=option.full, steps_per_epoch=option.per_epoch,
                  step_seconds=option.throughput.step_seconds, limit=None if math.isinf(limit) else limit,
                  run_seconds=steps * option.throughput.step_seconds + option.overhead,
                  explain_seconds=option.explain_seconds)


def _round_down(seconds: float, least: float) -> float:
    """To two digits, a third where that would be below the least: a limit is part of a run's key, and people read it."""
    for digits in (1, 2, 3):
        unit = 10.0 ** (math.floor(math.log10(seconds)) - digits)
        rounded = round(math.floor(seconds / unit) * unit, 9)
        if rounded >= least:
            return rounded
    return seconds
