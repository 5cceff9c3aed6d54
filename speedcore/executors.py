"""Carrying a plan out: runs that stand are reused, the rest are trained, pair by pair, within the time there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from speedcore import planning, training
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.planning import Plan, Request
from speedcore.recipe import Recipe
from speedcore.runs import Run, RunStore


@dataclass(frozen=True)
class Outcome:
    """The runs of a plan, in its order; how many were reused; and what had to be left out, in sentences."""

    runs: tuple[Run, ...]
    reused: int
    left_out: tuple[str, ...] = ()


class Watcher:
    """What a progress display is told. The base class keeps silent."""

    def begins(self, job: training.Job) -> None: ...

    def moment(self, moment: training.Moment) -> None: ...

    def ends(self, run: Run, reused: bool) -> None: ...


def execute(plan: Plan, request: Request, datasets: Mapping[str, Dataset], store: RunStore,
            watcher: Watcher | None = None, seconds_left: Callable[[], float] = lambda: float("inf")) -> Outcome:
    """Train what is missing of `plan`, seeds outermost, so that whatever time allows is balanced over the data sets.

    seconds_left: asked before each pair; a pair that no longer fits is left out, except a data set's first.
    """
    watcher = watcher or Watcher()
    device = torch.device(request.device)
    pairs = {course.dataset: planning.jobs(course, request) for course in plan.courses}
    runs: list[Run] = []
    reused, dropped = 0, dict.fromkeys(pairs, 0)
    seconds: dict[str, float] = {course.dataset: 2 * course.run_seconds for course in plan.courses}
    for seed in range(max((c.seeds for c in plan.courses), default=0)):
        for course in plan.courses:
            if seed >= course.seeds:
                continue
            with_job, without_job = pairs[course.dataset][seed]
            standing = [store.find(job.key) for job in (with_job, without_job)]
            if None in standing and seed > 0 and seconds_left() < seconds[course.dataset]:
                dropped[course.dataset] += 1
                continue
            watch = Stopwatch()
            first, was_there = _run(with_job, standing[0], datasets[course.dataset], store, device, watcher)
            # The other arm takes exactly as many steps as this one landed on, so that the pair differs in one thing.
            paired = replace(without_job, steps=first.record.steps)
            second, too = _run(paired, standing[1], datasets[course.dataset], store, device, watcher)
            runs += [first, second]
            reused += was_there + too
            if not (was_there or too):
                seconds[course.dataset] = watch.seconds()
    left_out = tuple(f"{name}: {count} of {len(pairs[name])} pairs left out because the time for the whole build ran out; "
                     f"the next call continues." for name, count in dropped.items() if count)
    return Outcome(tuple(runs), reused, left_out)


def _run(job: training.Job, standing: Run | None, dataset: Dataset, store: RunStore, device: torch.device,
         watcher: Watcher) -> tuple[Run, bool]:
    if standing is None:
        watcher.begins(job)
        run = training.train(dataset, job, store, device, watcher.moment)
    else:
        run = _under_name(standing, dataset)
    watcher.ends(run, standing is not None)
    return run, standing is not None


def _under_name(run: Run, dataset: Dataset) -> Run:
    """The run with the names that its data set and classes have today: folders may be renamed, and content decides."""
    data = run.record.data
    if (data.name, data.classes) == (dataset.name, dataset.classes):
        return run
    data = data.model_copy(update={"name": dataset.name, "classes": dataset.classes})
    return replace(run, record=run.record.model_copy(update={"data": data}))


def whole_key(dataset: Dataset, recipe: Recipe, arm: str, seed: int, device: str = "cpu") -> str:
    """The name under which `whole_run` keeps its run."""
    budget = planning.Budget(float("inf"), planning.POLICIES["article"])
    return planning.run_key(recipe, dataset.name, dataset.fingerprint, arm, seed, budget, budget.seconds, device)


def whole_run(dataset: Dataset, recipe: Recipe, arm: str, seed: int, store: RunStore, device: str = "cpu",
              watcher: Watcher | None = None) -> Run:
    """Train all the epochs of `recipe` as it stands, whatever time that takes, or find the run that did."""
    budget, steps = planning.Budget(float("inf"), planning.POLICIES["article"]), training.full_steps(dataset, recipe)
    key = whole_key(dataset, recipe, arm, seed, device)
    job = training.Job(key, recipe, arm, seed, budget, budget.seconds, steps, steps)
    return _run(job, store.find(key), dataset, store, torch.device(device), watcher or Watcher())[0]


def run(dataset: str | Dataset, recipe: str | Recipe = "auto", budget: float = 1000.0, seed: int = 0, arm: str = "with",
        store: RunStore | None = None, device: str = "cpu", watcher: Watcher | None = None, policy: str = "article",
        data_mode: str | None = None) -> Run:
    """Train one run (or find it) and return it.

    dataset: a name that `speedcore.load` knows, or a Dataset. recipe: a name, a TOML file, or a Recipe. budget: seconds
    under the clock rule `policy`.
    """
    from speedcore.data import load

    store = store or RunStore()
    data = load(dataset) if isinstance(dataset, str) else dataset
    request = Request(recipe=recipe, budget=budget, policy=policy, within=None, seeds=1, device=device, data_mode=data_mode)
    course = planning.make_plan([data], request, store).courses[0]
    job = planning.job(course, planning.Budget(budget, planning.POLICIES[policy]), device, arm, seed)
    return _run(job, store.find(job.key), data, store, torch.device(device), watcher or Watcher())[0]
