"""Carrying a plan out: runs that stand are reused, the rest are trained, pair by pair, within the time there is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from speedcore import checks
from speedcore.clock import POLICIES, Budget, Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import DivergedError
from speedcore.machine.device import resolve
from speedcore.planning import costs, planned_runs
from speedcore.planning import plan as planning
from speedcore.planning.costs import Request
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.settle import settle, settled
from speedcore.recipe import Network, Recipe
from speedcore.recipes import with_own
from speedcore.store.runs import Run, RunStore
from speedcore.training import loop

# How many times the share of a build's time that a run was given the second arm of a pair may take for the first one's steps.
_ROOM = 1.3


@dataclass(frozen=True)
class Outcome:
    """The runs of a plan, in its order; how many were reused; and what had to be left out, in sentences.

    plan: as it was carried out. notes: what was planned anew, in sentences.
    diverged: pairs of which a run came to no finite number, in sentences, by data set. failed: what else ended a data set.
    """

    runs: tuple[Run, ...]
    reused: int
    left_out: tuple[str, ...] = ()
    plan: Plan | None = None
    notes: tuple[str, ...] = ()
    diverged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    failed: Mapping[str, Exception] = field(default_factory=dict)


class Callback:
    """What a progress display is told. The base class keeps silent."""

    def begins(self, job: loop.Job) -> None: ...

    def moment(self, moment: loop.ProgressEvent) -> None: ...

    def ends(self, run: Run, reused: bool) -> None: ...

    def fails(self, why: str, runs: int) -> None:
        """A run diverged; `runs` of the plan will not come."""


def execute(plan: Plan, request: Request, datasets: Mapping[str, Dataset], store: RunStore,
            callback: Callback | None = None, seconds_left: Callable[[], float] = lambda: float("inf")) -> Outcome:
    """Train what is missing of `plan`, seeds outermost, so that whatever time allows is balanced over the data sets.

    seconds_left: asked before each pair; a pair that no longer fits is left out, except a data set's first. Where a step of the
    first pair took over 1.5 times more or less than planned, the rest is planned anew. A run that diverges costs its pair, a pair
    that fails otherwise its data set; the others go on.
    """
    callback, device = callback or Callback(), torch.device(request.device)
    todo = {planned.dataset: planned for planned in plan.courses}
    runs: dict[str, list[tuple[Run, ...]]] = {name: [] for name in todo}
    reused, dropped, notes, diverged, failed = 0, dict.fromkeys(todo, 0), [], {name: [] for name in todo}, {}
    seconds: dict[str, float] = {planned.dataset: 2 * planned.run_seconds for planned in plan.courses}
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
                            found = _pair(again, seed, request, datasets[name], store, device, callback)
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
    watch, done, diverged = Stopwatch(), [], ()
    try:
        done.append(_run(with_job, standing[0], dataset, store, device, callback))
        # The other arm takes exactly as many steps as this one landed on, so that the pair differs in one thing. Its share of a
        # build's time is no reason to land earlier, where the machine is a little slower now: only the budget is.
        room = min(without_job.budget.seconds, _ROOM * without_job.limit)
        paired = replace(without_job, steps=done[0][0].record.steps, limit=room)
        done.append(_run(paired, standing[1], dataset, store, device, callback))
    except DivergedError as error:
        kept = "the arm with augmentation stands alone" if done else "neither arm stands"
        diverged = (f"{planned.dataset}, seed {seed}: there is no pair, {kept}. {error}",)
        callback.fails(diverged[0], 2 - len(done))
    reused = sum(was_there for _, was_there in done)
    return _Pair(tuple(run for run, _ in done), reused, watch.seconds() if len(done) == 2 and not reused else None, diverged)


def _replanned(planned: PlannedRuns, first: _Pair, request: Request) -> PlannedRuns:
    """The course as it would have been planned, had its first pair been known."""
    trained = [run.record for run in first.runs]
    step = sum(r.ledger["train"] for r in trained) / sum(r.steps for r in trained)
    return planned_runs.revised(planned, request, step, first.seconds + 2 * planned.explain_seconds)


def _off(before: PlannedRuns, after: PlannedRuns) -> str:
    pairs = f"{after.seeds} pair{'s' if after.seeds > 1 else ''} instead of {before.seeds}" if after.seeds != before.seeds else \
        "the number of pairs stays"
    return (f"{before.dataset}: planned anew after the first pair, whose steps took {after.step_seconds:.3g} s each instead of "
            f"{before.step_seconds:.3g}: {pairs}.")


def _run(job: loop.Job, standing: Run | None, dataset: Dataset, store: RunStore, device: torch.device,
         callback: Callback) -> tuple[Run, bool]:
    if standing is None:
        callback.begins(job)
        run = loop.train(dataset, job, store, device, callback.moment)
    else:
        run = _under_name(standing, dataset)
    callback.ends(run, standing is not None)
    return run, standing is not None


def _under_name(run: Run, dataset: Dataset) -> Run:
    """The run with the names that its data set and classes have today: folders may be renamed, and content decides."""
    data = run.record.data
    if (data.name, data.classes) == (dataset.name, dataset.classes):
        return run
    data = data.model_copy(update={"name": dataset.name, "classes": dataset.classes})
    return replace(run, record=run.record.model_copy(update={"data": data}))


def whole_key(dataset: Dataset, recipe: Recipe, arm: str, seed: int, device: str = "auto") -> str:
    """The name under which `whole_run` keeps its run."""
    on, budget = resolve(device), Budget(float("inf"), POLICIES["article"])
    recipe = settled(recipe, dataset, on)
    return planned_runs.run_key(recipe, dataset.name, dataset.fingerprint, arm, seed, budget, budget.seconds, str(on))


def whole_run(dataset: Dataset, recipe: Recipe, arm: str, seed: int, store: RunStore, device: str = "auto",
              callback: Callback | None = None) -> Run:
    """Train all the epochs of `recipe` as it stands, whatever time that takes, or find the run that did."""
    on = resolve(device)
    found = settle(recipe, dataset, on)
    budget, steps = Budget(float("inf"), POLICIES["article"]), loop.full_steps(dataset, recipe)
    key = whole_key(dataset, found.recipe, arm, seed, str(on))
    job = loop.Job(key, found.recipe, arm, seed, budget, budget.seconds, steps, steps, arithmetic=found.why)
    return _run(job, store.find(key), dataset, store, on, callback or Callback())[0]


def run(dataset: str | Dataset, recipe: str | Recipe = "auto", budget: float | str | None = 1000.0, seed: int = 0,
        arm: str = "with", store: RunStore | Path | str | None = None, device: str | torch.device = "auto",
        callback: Callback | None = None, policy: str = "article", data_mode: str | None = None, *,
        network: str | Callable | Network | None = None, augmentation: str | Callable | None = None,
        technique: str | Callable | None = None) -> Run:
    """Train one run (or find it) and return it.

    dataset: a name that `speedcore.load` knows, or a Dataset. recipe: a name, a TOML file, or a Recipe. budget: seconds
    under the clock rule `policy`, also as "90s", "20m"; None for no limit. arm: "with" or "without" augmentation. store: the
    folder of runs. device: "auto", "cuda", "cuda:1", "mps" or "cpu". data_mode: "device" or "precomputed" instead of the
    recipe's own. network, augmentation, technique: one's own in place of the recipe's network, and after its augmentations and
    techniques: a function or class of a module, functools.partial of one with its arguments, "module:name", or the name of an
    entry point (docs/extending.md). Raises UserError for a value that is none of these, before any data is fetched.
    """
    from speedcore.data import load

    checks.one_of("arm", arm, checks.ARMS)
    checks.one_of("policy", policy, POLICIES)
    checks.one_of("data_mode", "device" if data_mode is None else data_mode, checks.DATA_MODES)
    seconds, seed = checks.seconds_of(budget, "budget") or float("inf"), checks.seed_of(seed)
    store, on, named = checks.store_of(store), resolve(device), checks.dataset_of(dataset)
    name = named if isinstance(named, str) else named.name
    recipe = with_own(checks.recipe_of(recipe), name, network, augmentation, technique)
    request = Request(recipe=recipe, budget=seconds, policy=policy, within=None, seeds=1, device=str(on),
                      data_mode=data_mode)
    costs.candidates(request, name)  # a bad recipe fails here
    data = load(named) if isinstance(named, str) else named
    planned = planning.make_plan([data], request, store).courses[0]
    job = planned_runs.job(planned, Budget(seconds, POLICIES[policy]), str(on), arm, seed)
    return _run(job, store.find(job.key), data, store, on, callback or Callback())[0]
