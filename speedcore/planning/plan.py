"""What fits: measured throughput becomes a recipe, a number of seeds, steps and an estimate, before anything starts.

A plan is made once and kept beside the runs, so that the next call with the same request continues it instead of
planning again with slightly different measurements.
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
from speedcore.planning.candidates import Candidate, candidates
from speedcore.planning.costs import PLANNED_SHARE, Throughput, duration
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.request import Request
from speedcore.planning.sharing import share_out
from speedcore.stats import pairs_needed
from speedcore.store import records
from speedcore.store.runs import RunStore

# Seconds of `within` that rendering the report may take.
RENDERING = 25.0


def make_plan(datasets: list[Dataset], request: Request, store: RunStore, spent: float = 0.0,
              say: Callable[[str], None] = lambda line: None, again: bool = False) -> Plan:
    """The plan for `request`: the one kept from an earlier call, else a new one from measurements.

    spent: seconds of `within` that are gone already, or spoken for. again: plan also where a plan was kept. Raises BudgetError if
    no data set fits.
    """
    hashes = [r.hash for d in datasets for r in request.recipes(d.name)]
    key = request.key((d.fingerprint for d in datasets), hashes)
    kept = None if again else records.take(_path(store, key), Plan)
    kept = kept and _under_names(kept, datasets, request)
    if kept is not None and kept.answers(key, datasets):
        return kept
    watch, device = Stopwatch(), torch.device(request.device)
    found: dict[str, list[Candidate]] = {}
    timed: dict[str, Throughput] = {}
    for dataset in datasets:
        say(f"measuring what {dataset.name} costs on this machine")
        found[dataset.name] = candidates(dataset, request, device, timed)
    left_out = {name: "every batch is larger than its training split; choose a recipe with a smaller batch_size."
                for name, reachable in found.items() if not reachable}
    if len(left_out) == len(found):
        raise BudgetError(f"{', '.join(left_out)}: every batch is larger than the training split; choose a recipe with a smaller "
                          f"batch_size.")
    found = {name: reachable for name, reachable in found.items() if reachable}
    left = math.inf if request.within is None else request.within - spent - watch.seconds()
    planned, too_dear = share_out(found, request, left)
    plan = Plan(request=key, machine=describe_device(device), planned=tuple(planned), left_out=left_out | too_dear)
    plan = plan.model_copy(update={"notes": tuple(_notes(plan, request))})
    keep(plan, store)
    say(f"planned in {duration(watch.seconds())}")
    return plan


def keep(plan: Plan, store: RunStore) -> None:
    """Write the plan where the next call with the same request finds it."""
    records.write(_path(store, plan.request), plan)


def changed(plan: Plan, planned: PlannedRuns, note: str, store: RunStore) -> Plan:
    """The plan with other runs for one data set and a note that says why; kept in its place."""
    runs = tuple(planned if old.dataset == planned.dataset else old for old in plan.planned)
    plan = plan.model_copy(update={"planned": runs, "notes": (*plan.notes, note)})
    keep(plan, store)
    return plan


def _under_names(plan: Plan, datasets: list[Dataset], request: Request) -> Plan:
    """A kept plan with the names that its data sets have today: a folder may have been renamed, and content decides."""
    today = {dataset.fingerprint: dataset.name for dataset in datasets}
    given = {(dataset.name, dataset.fingerprint) for dataset in datasets}
    planned = tuple(runs if (runs.dataset, runs.fingerprint) in given
                    else runs.model_copy(update={"dataset": today.get(runs.fingerprint, runs.dataset)})
                    for runs in plan.planned)
    if planned == plan.planned:
        return plan
    renamed, old = plan.model_copy(update={"planned": planned}), set(_notes(plan, request))
    return renamed.model_copy(update={"notes": (*(note for note in plan.notes if note not in old), *_notes(renamed, request))})


def _path(store: RunStore, key: str) -> Path:
    return store.root / "plans" / f"{key}.json"


def _notes(plan: Plan, request: Request) -> list[str]:
    """Why each recipe was chosen, what was cut, and what more time would buy."""
    notes = [f"{plan.machine}. " + ". ".join(_arithmetic(plan.planned)) + "."] if plan.machine else []
    notes += [f"{name} is left out: {reason}" for name, reason in plan.left_out.items()]
    for runs in plan.planned:
        cut = (f"; each run is cut to {duration(runs.limit)}, {runs.epochs:.3g} of {runs.recipe.epochs:g} epochs"
               if runs.cut_short and runs.limit is not None else f"; all {runs.recipe.epochs:g} epochs fit")
        notes.append(f"{runs.dataset}: recipe '{runs.recipe.name}' ({runs.reason}){cut}; {runs.seeds} paired "
                     f"seed{'s' if runs.seeds != 1 else ''}.")
    testable = pairs_needed(len(plan.planned))
    few = [c for c in plan.planned if c.seeds < testable]
    if few and request.seeds is None:
        notes.append(f"A claim made on {len(plan.planned)} data set{'s' if len(plan.planned) != 1 else ''} needs {testable} "
                     f"pairs on each to be tested: too few on {', '.join(c.dataset for c in few)}.")
    if any(c.cut_short for c in plan.planned) and request.within is not None:
        more = sum(2 * max(c.seeds, testable) * (min(request.budget, c.full_steps * c.step_seconds / PLANNED_SHARE)
                                                 + c.run_seconds - c.steps * c.step_seconds) for c in plan.planned)
        used = {c.recipe.name for c in plan.planned}
        asked = request.recipe if isinstance(request.recipe, str) else request.recipe.name
        same = used.pop() if asked == "auto" and len(used) == 1 else asked
        notes.append(f"With about {duration(more)} every run could use all of its recipe or its budget, with at least "
                     f"{testable} pairs a data set: `python -m reports.build --dataset "
                     f"{shlex.quote(','.join(c.dataset for c in plan.planned))} --recipe {shlex.quote(same)} --within none "
                     f"--seeds {testable}`")
    return notes


def _arithmetic(planned: Sequence[PlannedRuns]) -> Iterator[str]:
    """Why the recipes of each arithmetic are trained in it, with the data sets that it is about."""
    by_precision: dict[str, list[PlannedRuns]] = {}
    for runs in planned:
        by_precision.setdefault(runs.recipe.precision, []).append(runs)
    for precision, found in by_precision.items():
        names = ", ".join(runs.dataset for runs in found)
        yield f"{names}: " + "; ".join(together(runs.arithmetic or f"trained in {precision}" for runs in found))


def describe(plan: Plan) -> list[dict[str, str]]:
    """Rows for people: one a data set, all values formatted."""
    return [{"data set": c.dataset, "recipe": c.recipe.name, "pairs": str(c.seeds), "arithmetic": c.recipe.precision,
             "epochs": f"{c.epochs:.3g}",
             "steps": str(c.steps), "limit a run": "none" if c.limit is None else duration(c.limit),
             "estimate": duration(c.estimate)} for c in plan.planned]
