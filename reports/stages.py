"""The stages of a build, data set by data set: get the data, plan, train, explain. One set's failure is its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reports.faults import Faults, without_culprits
from reports.inputs import Missing
from speedcore.errors import BudgetError, DataError, UserError

if TYPE_CHECKING:
    from explain.artefact import Explanation
    from speedcore.data.dataset import Dataset
    from speedcore.planning.execute import Callback, Outcome
    from speedcore.planning.plan import Plan, Request
    from speedcore.store.runs import Run, RunStore


def load(names: Iterable[str], data: Path | None, offline: bool, faults: Faults,
         say: Callable) -> tuple[dict[str, Dataset], list[Missing]]:
    """(data sets by name, those that are not available). Says where each comes from."""
    from speedcore.data import load

    loaded, absent = {}, []
    for name in names:
        with faults.of(name):
            try:
                made = load(name, data, offline)
            except DataError as error:
                absent.append(_missing(name, str(error)))
                say(f"{name}: left out. {error}", markup=False)
                continue
            if made.name in loaded and loaded[made.name].fingerprint != made.fingerprint:
                raise DataError(f"two data sets are called '{made.name}'; rename the folder of one of them.")
            loaded[made.name] = made
            say(made.summary, markup=False, soft_wrap=True)
    return loaded, absent


def _missing(name: str, message: str) -> Missing:
    """The loader's message as two sentences for the report: what was tried, and what to do."""
    tried, _, remedy = message.replace(str(Path.home()), "~").partition("\nWhat to do: ")
    places = [line.strip().removeprefix("- ") for line in tried.splitlines()[1:]]
    reason = f"Tried {'; '.join(places)}." if places else tried
    return Missing(name, reason, f"{remedy[:1].upper()}{remedy[1:]}" or "See `python -m speedcore data`.")


def plan(datasets: dict[str, Dataset], request: Request, store: RunStore, spent: float, faults: Faults, say: Callable,
         anew: bool) -> Plan:
    """One plan for all data sets that can be planned; those that cannot leave `datasets`."""
    from speedcore.planning import plan as planning

    made, wrong = without_culprits(list(datasets), lambda names: planning.make_plan(
        [datasets[name] for name in names], request, store, spent, say, anew))
    for name, error in wrong.items():
        del datasets[name]
        faults.add(name, error)
    for name in sorted(datasets.keys() - {planned.dataset for planned in made.courses}):
        # The plan's notes say so too; but it is the set that is missing.
        del datasets[name]
        faults.add(name, BudgetError("every batch is larger than its training split; choose a recipe with a smaller batch_size."))
    return made


def train(plan: Plan, request: Request, datasets: Mapping[str, Dataset], store: RunStore, callback: Callback,
          seconds_left: Callable[[], float], faults: Faults) -> Outcome:
    """The runs of a plan. Where not one run is available, there is nothing to report: the first error is raised."""
    from speedcore.planning import execute as executors

    outcome = executors.execute(plan, request, datasets, store, callback, seconds_left)
    if outcome.failed and not outcome.runs:
        raise next(iter(outcome.failed.values()))
    for name, error in outcome.failed.items():
        pairs = sum(run.record.data.name == datasets[name].name for run in outcome.runs) // 2
        faults.add(name, error, f"pairs after the first {pairs}" if pairs else "")
    return outcome


def explain(runs: Iterable[Run], datasets: Mapping[str, Dataset], store: RunStore, device: str, faults: Faults,
            say: Callable[[str], None]) -> tuple[Explanation, ...]:
    """Explanations of all runs, data set by data set, so that both arms show the same images."""
    from rich.markup import escape

    from explain import explain_runs

    runs, found = list(runs), []
    for name, dataset in datasets.items():
        arms = {arm: [r for r in runs if r.record.data.name == dataset.name and r.record.arm == arm]
                for arm in ("with", "without")}
        if any(arms.values()):
            say(escape(f"explaining {name}: {len(found)} of {len(runs)} runs done"))
            with faults.of(name, "heatmaps"):
                for arm in explain_runs(arms["with"], arms["without"], dataset, store.root, device=device,
                                        failed=lambda run, name=name: faults.add(name, run.error, f"heatmaps of {run.run}")):
                    found += arm
    return tuple(found)


def load_all(read: Callable[[RunStore], Iterable], store: RunStore, what: str, say: Callable) -> tuple:
    """Results of studies beside the runs; where one cannot be read, none, and why is told."""
    try:
        return tuple(read(store))
    except UserError as error:
        say(f"{what}: left out. {error}", markup=False)
        return ()
