"""Carrying a plan out: finished runs are reused, the rest are trained, pair by pair, within the time there is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import DivergedError
from speedcore.planning import plan as planning
from speedcore.planning import planned_runs
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.request import Request
from speedcore.planning.run import reuse
from speedcore.store.runs import Run, RunStore
from speedcore.training import loop
from speedcore.training.callback import Callback
from speedcore.training.job import Job

# How many times the share of a build's time that a run was given the second arm of a pair may take for the first one's steps.
_ROOM = 1.3


@dataclass(frozen=True)
class Outcome:
    """The runs of a plan, in its order; how many were reused; and what had to be left out, in sentences.

    plan: as it was carried out. notes: what was planned again, in sentences.
    diverged: pairs of which a run came to no finite number, in sentences, by data set. failed: what else ended a data set.
    """

    runs: tuple[Run, ...]
    reused: int
    left_out: tuple[str, ...] = ()
    plan: Plan | None = None
    notes: tuple[str, ...] = ()
    diverged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)


def execute(plan: Plan, request: Request, datasets: Mapping[str, Dataset], store: RunStore,
            callback: Callback | None = None, seconds_left: Callable[[], float] = lambda: float("inf")) -> Outcome:
    """Train what is missing of `plan`, seeds outermost, so that whatever time allows is balanced over the data sets.

    seconds_left: asked before each pair; a pair that no longer fits is left out, except a data set's first. Where a step of the
    first pair took over 1.5 times more or less than planned, the rest is planned again. A run that diverges costs its pair, a
    pair that fails otherwise its data set; the others go on.
    """
    callback, device = callback or Callback(), torch.device(request.device)
    todo = {planned.dataset: planned for planned in plan.planned}
    runs: dict[str, list[tuple[Run, ...]]] = {name: [] for name in todo}
    diverged: dict[str, list[str]] = {name: [] for name in todo}
    failed: dict[str, Exception] = {}
    notes: list[str] = []
    reused, dropped = 0, dict.fromkeys(todo, 0)
    seconds: dict[str, float] = {planned.dataset: 2 * planned.run_seconds for planned in plan.planned}
    for seed in itertools.count():
        if all(seed >= planned.seeds for planned in todo.values()):
            break
        for name, planned in todo.items():
            if seed >= planned.seeds or name in failed:
                continue
            try:
                found = _pair(planned, seed, request, datasets[name], store, device, callback,
                              may_train=seed == 0 or seconds_left() >= seconds[name])
                if found is None:
                    dropped[name] += 1
                    continue
                if seed == 0 and found.seconds is not None:
                    todo[name] = again = _replanned(planned, found, request)
                    if again != planned:
                        plan = planning.changed(plan, again, _off(planned, again), store)
                        notes.append(plan.notes[-1])
                        if again.limit != planned.limit:  # another limit is another run
                            found = _pair(again, seed, request, datasets[name], store, device, callback) or found
            except Exception as error:
                failed[name] = error
                continue
            runs[name].append(found.runs)
            reused += found.reused
            diverged[name] += found.diverged
            if found.seconds is not None:
                seconds[name] = found.seconds
    left_out = tuple(f"{name}: {count} of {todo[name].seeds} pairs left out because the time for the whole build ran out; "
                     f"the next call continues." for name, count in dropped.items() if count)
    ordered = [run for pairs in itertools.zip_longest(*runs.values()) for pair in pairs if pair for run in pair]
    return Outcome(tuple(ordered), reused, left_out, plan, tuple(notes),
                   {name: tuple(said) for name, said in diverged.items() if said}, failed)


@dataclass(frozen=True)
class _Pair:
    """The runs of one seed, two unless one diverged; reused: how many stood already; seconds: of training both, None where one
    stood or diverged; diverged: in sentences."""

    runs: tuple[Run, ...]
    reused: int
    seconds: float | None
    diverged: tuple[str, ...] = ()


def _pair(planned: PlannedRuns, seed: int, request: Request, dataset: Dataset, store: RunStore, device: torch.device,
          callback: Callback, may_train: bool = True) -> _Pair | None:
    """The runs of one seed, found or trained; None where one is missing and may not be trained."""
    with_job, without_job = planned_runs.pair(planned, request, seed)
    standing = [store.find(job.key) for job in (with_job, without_job)]
    if None in standing and not may_train:
        return None
    watch = Stopwatch()
    done: list[tuple[Run, bool]] = []
    diverged: tuple[str, ...] = ()
    try:
        done.append(_run(with_job, standing[0], dataset, store, device, callback))
        # The other arm takes exactly as many steps as this one took, so that the pair differs in one thing. Its share of a
        # build's time is no reason to land earlier, where the machine is a little slower now: only the budget is.
        room = min(without_job.budget.seconds, _ROOM * without_job.limit)
        paired = replace(without_job, steps=done[0][0].record.steps, limit=room)
        done.append(_run(paired, standing[1], dataset, store, device, callback))
    except DivergedError as error:
        kept = "the arm with augmentation stands alone" if done else "neither arm stands"
        diverged = (f"{planned.dataset}, seed {seed}: there is no pair, {kept}. {error}",)
        callback.on_run_failed(diverged[0], 2 - len(done))
    reused = sum(was_there for _, was_there in done)
    return _Pair(tuple(run for run, _ in done), reused, watch.seconds() if len(done) == 2 and not reused else None, diverged)


def _replanned(planned: PlannedRuns, first: _Pair, request: Request) -> PlannedRuns:
    """What would have been planned, had the first pair been known."""
    trained = [run.record for run in first.runs]
    step = sum(r.ledger["train"] for r in trained) / sum(r.steps for r in trained)
    return planned_runs.revised(planned, request, step, (first.seconds or 0.0) + 2 * planned.explain_seconds)


def _off(before: PlannedRuns, after: PlannedRuns) -> str:
    pairs = f"{after.seeds} pair{'s' if after.seeds > 1 else ''} instead of {before.seeds}" if after.seeds != before.seeds else \
        "the number of pairs stays"
    return (f"{before.dataset}: planned again after the first pair, whose steps took {after.step_seconds:.3g} s each instead of "
            f"{before.step_seconds:.3g}: {pairs}.")


def _run(job: Job, standing: Run | None, dataset: Dataset, store: RunStore, device: torch.device,
         callback: Callback) -> tuple[Run, bool]:
    if standing is None:
        return loop.train(dataset, job, store, device, callback), False
    return reuse(standing, dataset, callback), True
