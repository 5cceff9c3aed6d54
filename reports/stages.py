"""The stages of a build, data set by data set: get the data, plan, train, explain. One set's failure is its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from reports.faults import Faults, without_culprits
from reports.inputs import Missing
from speedcore.errors import BudgetError, DataError, UserError

if TYPE_CHECKING:
    from explain.artefact import Explanation
    from explain.attribution.explaining import Failure
    from speedcore.data.dataset import Dataset
    from speedcore.ladders.result import LadderResult
    from speedcore.planning.execute import Outcome
    from speedcore.planning.planned_runs import Plan
    from speedcore.planning.request import Request
    from speedcore.store.runs import Run, RunStore
    from speedcore.studies.records import StudyRecord
    from speedcore.training.callback import Callback

T = TypeVar("T")


def load(names: Iterable[str], data: Path | None, offline: bool, faults: Faults,
         say: Callable[..., None]) -> tuple[dict[str, Dataset], list[Missing]]:
    """(data sets by name, those that are not available). Says where each comes from."""
    from speedcore.data import load

    loaded: dict[str, Dataset] = {}
    absent: list[Missing] = []
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


def plan(datasets: dict[str, Dataset], request: Request, store: RunStore, spent: float, faults: Faults, say: Callable[..., None],
         again: bool) -> Plan:
    """One plan for all data sets that can be planned; those that cannot leave `datasets`."""
    from speedcore.planning import plan as planning

    made, wrong = without_culprits(list(datasets), lambda names: planning.make_plan(
        [datasets[name] for name in names], request, store, spent, say, again))
    for name, error in wrong.items():
        del datasets[name]
        faults.add(name, error)
    for name in sorted(datasets.keys() - {planned.dataset for planned in made.planned}):
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

    runs = list(runs)
    found: list[Explanation] = []
    for name, dataset in datasets.items():
        arms = {arm: [r for r in runs if r.record.data.name == dataset.name and r.record.arm == arm]
                for arm in ("with", "without")}
        if any(arms.values()):
            say(escape(f"explaining {name}: {len(found)} of {len(runs)} runs done"))
            with faults.of(name, "heatmaps"):
                for arm in explain_runs(arms["with"], arms["without"], dataset, store.root, device=device,
                                        failed=_into(faults, name)):
                    found += arm
    return tuple(found)


def _into(faults: Faults, name: str) -> Callable[[Failure], None]:
    """What adds a run of data set `name` that could not be explained to `faults`."""
    return lambda failure: faults.add(name, failure.error, f"heatmaps of {failure.run}")


def lost(outcome: Outcome) -> list[Missing]:
    """Data sets of which every run diverged."""
    trained = {run.record.data.name for run in outcome.runs}
    return [Missing(name, " ".join(whys), "Choose another --recipe, or a recipe file with a lower rate.")
            for name, whys in outcome.diverged.items() if name not in trained]


def left_out(plan: Plan) -> list[Missing]:
    """Data sets that the plan has no time for: a planner's words as a reason and what to do about it, a sentence each."""
    def sentence(words: str, end: str = "") -> str:
        return f"{words[:1].upper()}{words[1:]}{end}"

    told = {name: why.rpartition("; ") for name, why in plan.left_out.items()}
    return [Missing(name, sentence(reason, "."), sentence(remedy)) for name, (reason, _, remedy) in told.items()]


def status(plan: Plan, outcome: Outcome, missing: Collection[Missing]) -> Literal["complete", "partial", "smoke"]:
    """"smoke" where runs are shorter than their recipe's least, "partial" where something is missing, else "complete"."""
    if any(planned.epochs < planned.recipe.min_epochs for planned in plan.planned):
        return "smoke"
    return "partial" if outcome.left_out or outcome.diverged or missing else "complete"


def chapters(names: str | None, store: RunStore) -> tuple[tuple[LadderResult, ...], tuple[StudyRecord, ...]]:
    """(ladders, other studies) that are to be chapters, as they are kept beside the runs; none where `names` is None.

    names: comma-separated, or "all". Raises UserError for one that is not there.
    """
    from reports.sections.chapters import name as name_of
    from speedcore.ladders.run import load_all as load_ladders
    from speedcore.studies import STUDIES
    from speedcore.studies.stored import load_all as load_studies

    if names is None:
        return (), ()
    ladders, studies = [result for result in load_ladders(store) if result.rungs], list(load_studies(store))
    asked = [name.strip() for name in names.split(",") if name.strip()]
    known = list(dict.fromkeys([*map(name_of, ladders), *map(name_of, studies)]))
    if asked == ["all"]:
        asked = known
    if not asked:
        raise UserError(f"--chapters '{names}': no ladder and no study has been run yet; do so first, for example "
                        f"python -m speedcore ladder mnist-fast")
    for name in asked:
        if name not in known:
            kind = "study" if name in STUDIES else "ladder"
            raise UserError(f"--chapters: the {kind} '{name}' has not been run yet (there are: {', '.join(known) or 'none'}); "
                            f"do so first: python -m speedcore {kind} {name}")
    return (tuple(one for name in asked for one in ladders if name_of(one) == name),
            tuple(one for name in asked for one in studies if name_of(one) == name))


def studies_of_maps(store: RunStore, say: Callable[..., None]) -> dict[str, tuple[Any, ...]]:
    """Studies of shortcuts and of the preregistered claim beside the runs, by the fields of `Inputs` that they are."""
    from explain.claim import verdicts
    from explain.studies import shortcuts

    return {"shortcuts": readable(shortcuts.load_all, store, "studies of shortcuts", say),
            "registered": readable(verdicts.load_all, store, "studies of the claim", say)}


def readable(read: Callable[[RunStore], Iterable[T]], store: RunStore, what: str, say: Callable[..., None]) -> tuple[T, ...]:
    """Results of studies beside the runs; where one cannot be read, none, and why is told."""
    try:
        return tuple(read(store))
    except UserError as error:
        say(f"{what}: left out. {error}", markup=False)
        return ()
