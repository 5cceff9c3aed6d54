"""What fits: measured throughput becomes a recipe, a number of seeds, steps and an estimate, before anything starts.

A plan is made once and kept beside the runs, so that the next call with the same request continues it instead of
planning anew with slightly different measurements.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import BudgetError
from speedcore.machine.arithmetic import together
from speedcore.machine.provenance import describe_device
from speedcore.planning import costs
from speedcore.planning.costs import PLANNED_SHARE, Request, candidates, duration
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.sharing import share_out
from speedcore.stats.statistics import pairs_needed
from speedcore.store import records
from speedcore.store.runs import RunStore

# Seconds of `within` that rendering the report may take.
RENDERING = 25.0


def make_plan(datasets: list[Dataset], request: Request, store: RunStore, spent: float = 0.0,
              say: Callable[[str], None] = lambda line: None, anew: bool = False) -> Plan:
    """The plan for `request`: the one kept from an earlier call, else a new one from measurements.

    spent: seconds of `within` that are gone already, or spoken for. Raises BudgetError if no data set fits.
    """
    hashes = [r.hash for d in datasets for r in candidates(request, d.name)]
    key = request.key((d.fingerprint for d in datasets), hashes)
    kept = None if anew else records.take(_path(store, key), Plan)
    kept = kept and _under_names(kept, datasets, request)
    if kept is not None and kept.answers(key, datasets):
        return kept
    watch, device = Stopwatch(), torch.device(request.device)
    found, timed = {}, {}
    for dataset in datasets:
        say(f"measuring what {dataset.name} costs on this machine")
        found[dataset.name] = costs.options(dataset, request, device, timed)
    left_out = {name: "every batch is larger than its training split; choose a recipe with a smaller batch_size."
                for name, options in found.items() if not options}
    if len(left_out) == len(found):
        raise BudgetError(f"{', '.join(left_out)}: every batch is larger than the training split; choose a recipe with a smaller "
                          f"batch_size.")
    found = {name: options for name, options in found.items() if options}
    left = math.inf if request.within is None else request.within - spent - watch.seconds()
    courses, too_dear = share_out(found, request, left)
    plan = Plan(request=key, machine=describe_device(device), courses=tuple(courses),
                left_out=left_out | too_dear)
    plan = plan.model_copy(update={"notes": tuple(_notes(plan, request))})
    keep(plan, store)
    say(f"planned in {duration(watch.seconds())}")
    return plan


def keep(plan: Plan, store: RunStore) -> None:
    """Write the plan where the next call with the same request finds it."""
    records.write(_path(store, plan.request), plan)


def changed(plan: Plan, planned: PlannedRuns, note: str, store: RunStore) -> Plan:
    """The plan with another course for one data set and a note that says why; kept in its place."""
    courses = tuple(planned if old.dataset == planned.dataset else old for old in plan.courses)
    plan = plan.model_copy(update={"courses": courses, "notes": (*plan.notes, note)})
    keep(plan, store)
    return plan


def _under_names(plan: Plan, datasets: list[Dataset], request: Request) -> Plan:
    """A kept plan with the names that its data sets have today: a folder may have been renamed, and content decides."""
    today = {dataset.fingerprint: dataset.name for dataset in datasets}
    given = {(dataset.name, dataset.fingerprint) for dataset in datasets}
    courses = tuple(planned if (planned.dataset, planned.fingerprint) in given
                    else planned.model_copy(update={"dataset": today.get(planned.fingerprint, planned.dataset)})
                    for planned in plan.courses)
    if courses == plan.courses:
        return plan
    renamed, old = plan.model_copy(update={"courses": courses}), set(_notes(plan, request))
    return renamed.model_copy(update={"notes": (*(note for note in plan.notes if note not in old), *_notes(renamed, request))})


def _path(store: RunStore, key: str) -> Path:
    return store.root / "plans" / f"{key}.json"


def _notes(plan: Plan, request: Request) -> list[str]:
    """Why each recipe was chosen, what was cut, and what more time would buy."""
    notes = [f"{plan.machine}. " + ". ".join(_arithmetic(plan.courses)) + "."] if plan.machine else []
    notes += [f"{name} is left out: {reason}" for name, reason in plan.left_out.items()]
    for planned in plan.courses:
        cut = (f"; each run is cut to {duration(planned.limit)}, {planned.epochs:.3g} of {planned.recipe.epochs:g} epochs"
               if planned.cut_short and planned.limit is not None else f"; all {planned.recipe.epochs:g} epochs fit")
        notes.append(f"{planned.dataset}: recipe '{planned.recipe.name}' ({planned.reason}){cut}; {planned.seeds} paired "
                     f"seed{'s' if planned.seeds != 1 else ''}.")
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
                     f"{shlex.quote(','.join(c.dataset for c in plan.courses))} --recipe {shlex.quote(same)} --within none "
                     f"--seeds {testable}`")
    return notes


def _arithmetic(courses: Sequence[PlannedRuns]) -> Iterator[str]:
    """Why the recipes of each arithmetic are trained in it, with the data sets that it is about."""
    by_precision: dict[str, list[PlannedRuns]] = {}
    for planned in courses:
        by_precision.setdefault(planned.recipe.precision, []).append(planned)
    for precision, found in by_precision.items():
        names = ", ".join(planned.dataset for planned in found)
        yield f"{names}: " + "; ".join(together(planned.arithmetic or f"trained in {precision}" for planned in found))


def describe(plan: Plan) -> list[dict[str, str]]:
    """Rows for people: one a data set, all values formatted."""
    return [{"data set": c.dataset, "recipe": c.recipe.name, "pairs": str(c.seeds), "arithmetic": c.recipe.precision,
             "epochs": f"{c.epochs:.3g}",
             "steps": str(c.steps), "limit a run": "none" if c.limit is None else duration(c.limit),
             "estimate": duration(c.estimate)} for c in plan.courses]
