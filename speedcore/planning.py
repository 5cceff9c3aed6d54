"""What fits: measured throughput becomes a recipe, a number of seeds, steps and an estimate, before anything starts.

A plan is made once and kept beside the runs, so that the next call with the same request continues it instead of
planning anew with slightly different measurements.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ValidationError

from speedcore import pricing
from speedcore.clock import POLICIES, Budget, Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import BudgetError
from speedcore.pricing import PLAN_VERSION, PLANNED_SHARE, Option, Request, candidates, duration
from speedcore.recipe import Frozen, Recipe
from speedcore.runs import RunStore, staged
from speedcore.statistics import pairs_needed
from speedcore.training import Job

MOST_SEEDS = 10
# Seconds of `within` that rendering the report may take.
RENDERING = 25.0


class Course(Frozen):
    """What is to be trained on one data set: both arms of `recipe`, for seeds 0..seeds − 1.

    steps: planned for each run; wanted: what the recipe would take given time. limit: seconds of training that one
    run may take here. run_seconds: estimate for one run with its tests and its share of the explanations.
    """

    dataset: str
    fingerprint: str
    recipe: Recipe
    reason: str
    seeds: int
    steps: int
    wanted: int
    steps_per_epoch: int
    step_seconds: float
    limit: float | None
    run_seconds: float
    explain_seconds: float

    @property
    def epochs(self) -> float:
        return self.steps / self.steps_per_epoch

    @property
    def estimate(self) -> float:
        """Seconds for all runs of both arms."""
        return 2 * self.seeds * self.run_seconds

    @property
    def cut_short(self) -> bool:
        return self.steps < self.wanted


class Plan(Frozen):
    """The courses of a build and what a person should know about them."""

    version: int = PLAN_VERSION
    request: str
    courses: tuple[Course, ...]
    notes: tuple[str, ...] = ()

    @property
    def estimate(self) -> float:
        return sum(course.estimate for course in self.courses)


def make_plan(datasets: list[Dataset], request: Request, store: RunStore, spent: float = 0.0,
              say: Callable[[str], None] = lambda line: None, anew: bool = False) -> Plan:
    """The plan for `request`: the one kept from an earlier call, else a new one from measurements.

    spent: seconds of `within` that are gone already, or spoken for. Raises BudgetError if not even one step fits.
    """
    hashes = [r.hash for d in datasets for r in candidates(request, d.name)]
    key = request.key((d.fingerprint for d in datasets), hashes)
    path = store.root / "plans" / f"{key}.json"
    kept = None if anew else _read(path)
    if kept is not None:
        return _under_names(kept, datasets, request)
    watch, device = Stopwatch(), torch.device(request.device)
    options = {}
    for dataset in datasets:
        say(f"measuring what {dataset.name} costs on this machine")
        options[dataset.name] = pricing.options(dataset, request, device)
    none = [name for name, found in options.items() if not found]
    if len(none) == len(options):
        raise BudgetError(f"{', '.join(none)}: every batch is larger than the training split; choose a recipe with a smaller "
                          f"batch_size.")
    options = {name: found for name, found in options.items() if found}
    left = math.inf if request.within is None else request.within - spent - watch.seconds()
    plan = Plan(request=key, courses=tuple(_share(options, request, left)))
    left_out = [f"{name} is left out: every batch is larger than its training split; choose a recipe with a smaller batch_size."
                for name in none]
    plan = plan.model_copy(update={"notes": (*left_out, *_notes(plan, request))})
    with staged(path.parent / f".{key}") as folder:
        (folder / "plan.json").write_text(plan.model_dump_json(indent=1) + "\n", encoding="utf-8")
    os.replace(path.parent / f".{key}" / "plan.json", path)
    (path.parent / f".{key}").rmdir()
    return plan


def _read(path: Path) -> Plan | None:
    """The plan kept at `path`; None if there is none, or it is of another version or unreadable: planning is cheap."""
    try:
        plan = Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    return plan if plan.version == PLAN_VERSION else None


def _under_names(plan: Plan, datasets: list[Dataset], request: Request) -> Plan:
    """A kept plan with the names that its data sets have today: a folder may have been renamed, and content decides."""
    today = {dataset.fingerprint: dataset.name for dataset in datasets}
    given = {(dataset.name, dataset.fingerprint) for dataset in datasets}
    courses = tuple(course if (course.dataset, course.fingerprint) in given
                    else course.model_copy(update={"dataset": today.get(course.fingerprint, course.dataset)})
                    for course in plan.courses)
    if courses == plan.courses:
        return plan
    renamed, old = plan.model_copy(update={"courses": courses}), set(_notes(plan, request))
    return renamed.model_copy(update={"notes": (*(note for note in plan.notes if note not in old), *_notes(renamed, request))})


def _share(options: dict[str, list[Option]], request: Request, seconds: float) -> list[Course]:
    """Split the time evenly over the data sets; what one does not need goes to those still to be planned."""
    courses, left = {}, seconds
    # The cheapest first, so that what they leave over is known when the dear ones choose.
    order = sorted(options, key=lambda name: options[name][-1].full_seconds + options[name][-1].overhead)
    for position, name in enumerate(order):
        share = left / (len(order) - position)
        courses[name] = _choose(options[name], request, share, pairs_needed(len(order)))
        left -= courses[name].estimate
    return [courses[name] for name in options]


def _choose(options: list[Option], request: Request, share: float, testable: int) -> Course:
    """The most trustworthy course that `share` seconds buy: pairs enough for a test before longer runs, more if cheap."""
    counts = (request.seeds,) if request.seeds else (testable, 3, 2, 1)
    for count in counts:
        for option in options:
            each = min(request.budget, share / (2 * count) - option.overhead)
            # Where the budget is below every recipe's least, the smallest recipe fills the budget.
            least = option.least_seconds if option is not options[-1] else min(option.least_seconds, request.budget)
            if each >= least:
                break
        else:
            continue
        break
    else:
        # Nothing reaches its least: the smallest recipe, once, as far as it goes.
        count, option = counts[-1], options[-1]
        each = min(request.budget, max(share / (2 * count) - option.overhead, 3 * option.throughput.step_seconds))
    if not request.seeds and count == testable and math.isfinite(share):
        run = min(option.full_seconds, each) + option.overhead
        if option.full_seconds <= each:
            count = max(count, min(MOST_SEEDS, int(share / (2 * run))))
    beside = option.beside_training(POLICIES[request.policy])
    limit = request.budget if option.full_seconds + beside <= each else each
    limit = limit if limit == request.budget else _round_down(limit)
    steps = option.steps_in(limit - beside)
    if steps < 1:
        raise BudgetError(f"{option.dataset.name}: {limit:.3g} s hold no step of recipe '{option.recipe.name}' (one takes "
                          f"{option.throughput.step_seconds:.3g} s here); raise --budget or --within, or choose a "
                          f"smaller recipe.")
    return Course(dataset=option.dataset.name, fingerprint=option.dataset.fingerprint, recipe=option.recipe,
                  reason=option.reason, seeds=count, steps=steps, wanted=option.full, steps_per_epoch=option.per_epoch,
                  step_seconds=option.throughput.step_seconds, limit=None if math.isinf(limit) else limit,
                  run_seconds=steps * option.throughput.step_seconds + option.overhead,
                  explain_seconds=option.explain_seconds)


def _round_down(seconds: float) -> float:
    """To two digits: a limit is part of a run's key, and people read it."""
    digits = 1 - math.floor(math.log10(seconds))
    return math.floor(seconds * 10**digits) / 10**digits


def jobs(course: Course, request: Request) -> list[tuple[Job, Job]]:
    """The paired jobs of a course, seed by seed: (with, without) augmentation."""
    budget = Budget(request.budget, POLICIES[request.policy])
    return [tuple(job(course, budget, request.device, arm, seed) for arm in ("with", "without"))
            for seed in range(course.seeds)]


def job(course: Course, budget: Budget, device: str, arm: str, seed: int) -> Job:
    """One run of a course. Its key names data, recipe, arm, seed, limits and device, not what was measured."""
    recipe = course.recipe if arm == "with" else course.recipe.without_augmentation()
    limit = math.inf if course.limit is None else course.limit
    key = run_key(recipe, course.dataset, course.fingerprint, arm, seed, budget, limit, device)
    return Job(key, recipe, arm, seed, budget, limit, course.steps, course.wanted,
               stretch=course.cut_short and arm == "with")


def run_key(recipe: Recipe, dataset: str, fingerprint: str, arm: str, seed: int, budget: Budget, limit: float,
            device: str) -> str:
    """Name of a run's folder: readable, and different for whatever may train different weights."""
    content = json.dumps([recipe.hash, fingerprint, arm, seed, budget.seconds, budget.policy.name, limit,
                          torch.device(device).type, torch.get_num_threads()])
    family = dataset.replace(":", "-").replace("/", "-").replace("=", "").strip("-")
    return f"{family}-{arm}-{recipe.name}-s{seed}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


def _notes(plan: Plan, request: Request) -> list[str]:
    """Why each recipe was chosen, what was cut, and what more time would buy."""
    notes = []
    for course in plan.courses:
        cut = (f"; each run is cut to {duration(course.limit)}, {course.epochs:.3g} of {course.recipe.epochs:g} epochs"
               if course.cut_short and course.limit is not None else f"; all {course.recipe.epochs:g} epochs fit")
        notes.append(f"{course.dataset}: recipe '{course.recipe.name}' ({course.reason}){cut}; {course.seeds} paired "
                     f"seed{'s' if course.seeds != 1 else ''}.")
    testable = pairs_needed(len(plan.courses))
    few = [c for c in plan.courses if c.seeds < testable]
    if few and request.seeds is None:
        notes.append(f"A claim made on {len(plan.courses)} data set{'s' if len(plan.courses) != 1 else ''} needs {testable} "
                     f"pairs on each to be tested: too few on {', '.join(c.dataset for c in few)}.")
    if any(c.cut_short for c in plan.courses) and request.within is not None:
        more = sum(2 * max(c.seeds, testable) * (min(request.budget, c.wanted * c.step_seconds / PLANNED_SHARE)
                                                 + c.run_seconds - c.steps * c.step_seconds) for c in plan.courses)
        used = {c.recipe.name for c in plan.courses}
        same = used.pop() if request.recipe == "auto" and len(used) == 1 else request.recipe
        notes.append(f"With about {duration(more)} every run could use all of its recipe or its budget, with at least "
                     f"{testable} pairs a data set: `python -m reports.build --datasets "
                     f"{','.join(c.dataset for c in plan.courses)} --recipe {same} --within none --seeds {testable}`")
    return notes


def describe(plan: Plan) -> list[dict[str, str]]:
    """Rows for people: one a data set, all values formatted."""
    return [{"data set": c.dataset, "recipe": c.recipe.name, "pairs": str(c.seeds), "epochs": f"{c.epochs:.3g}",
             "steps": str(c.steps), "limit a run": "none" if c.limit is None else duration(c.limit),
             "estimate": duration(c.estimate)} for c in plan.courses]
