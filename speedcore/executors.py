"""Carrying a plan out: runs that stand are reused, the rest are trained, pair by pair, within the time there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch

from speedcore import planning, training
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.planning import Plan, Request
from speedcore.recipe import Recipe
from speedcore.runs import Run, RunStore


@dataclass(frozen=True)
class Outcome:
    """The runs of a plan, in its order; how many were reused; what had to be left out, in sentences; and what failed, by data
    set."""

    runs: tuple[Run, ...]
    reused: int
    left_out: tuple[str, ...] = ()
    failed: Mapping[str, Exception] = field(default_factory=dict)


class Watcher:
    """What a progress display is told. The base class keeps silent."""

    def begins(self, job: training.Job) -> None: ...

    def moment(self, moment: training.Moment) -> None: ...

    def ends(self, run: Run, reused: bool) -> None: ...


def execute(plan: Plan, request: Request, datasets: Mapping[str, Dataset], store: RunStore,
            watcher: Watcher | None = None, seconds_left: Callable[[], float] = lambda: float("inf")) -> Outcome:
    """Train what is missing of `plan`, seeds outermost, so that whatever time allows is balanced over the data sets.

    seconds_left: asked before each pair; a pair that no longer fits is left out, except a data set's first. A pair that fails
    ends its data set; the others go on.
    """
    watcher = watcher or Watcher()
    device = torch.device(request.device)
    pairs = {course.dataset: planning.jobs(course, request) for course in plan.courses}
    runs: list[Run] = []
    reused, dropped, failed = 0, dict.fromkeys(pairs, 0), {}
    seconds: dict[str, float] = {course.dataset: 2 * course.run_seconds for course in plan.courses}
    for seed in range(max((c.seeds for c in plan.courses), default=0)):
        for course in plan.courses:
            if seed >= course.seeds or course.dataset in failed:
                continue
            try:
                found = [store.find(job.key) for job in pairs[course.dataset][seed]]
                if None in found and seed > 0 and seconds_left() < seconds[course.dataset]:
                    dropped[course.dataset] += 1
                    continue
                watch = Stopwatch()
                pair = _pair(pairs[course.dataset][seed], found, datasets[course.dataset], store, device, watcher)
            except Exception as error:
                failed[course.dataset] = error
                continue
            runs += pair
            reused += sum(run is not None for run in found)
            if found == [None, None]:
                seconds[course.dataset] = watch.seconds()
    left_out = tuple(f"{name}: {count} of {len(pairs[name])} pairs left out because the time for the whole build ran out; "
                     f"the next call continues." for name, count in dropped.items() if count)
    return Outcome(tuple(runs), reused, left_out, failed)


def _pair(jobs: tuple[training.Job, training.Job], found: list[Run | None], dataset: Dataset, store: RunStore,
          device: torch.device, watcher: Watcher) -> tuple[Run, Run]:
    """Both arms of a seed."""
    first = _run(jobs[0], found[0], dataset, store, device, watcher)[0]
    # The other arm takes exactly as many steps as this one landed on, so that the pair differs in one thing.
    return first, _run(replace(jobs[1], steps=first.record.steps), found[1], dataset, store, device, watcher)[0]


def _run(job: training.Job, standing: Run | None, dataset: Dataset, store: RunStore, device: torch.device,
         watcher: Watcher) -> tuple[Run, bool]:
    if standing is None:
        watcher.begins(job)
        run = training.train(dataset, job, store, device, watcher.moment)
    else:
        run = standing
    watcher.ends(run, standing is not None)
    return run, standing is not None


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
