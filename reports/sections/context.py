"""What all sections share: the results, the judged claims, and a few aggregates that several of them show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reports import findings
from reports.findings import Claim
from reports.results import DatasetResults, Results
from speedcore import stats
from speedcore.machine.arithmetic import together
from speedcore.store.runs import Run
from speedcore.training import health

ARM_LABELS = {"without": "without augmentation", "with": "with augmentation"}


@dataclass(frozen=True)
class Context:
    results: Results

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        return findings.claims(self.results)

    @property
    def sets(self) -> tuple[DatasetResults, ...]:
        return self.results.sets


def plain(run: Run) -> float:
    return run.record.plain_accuracy


def remarks(one: DatasetResults) -> tuple[str, ...]:
    """Runs of a data set that did no better than a constant prediction, or that lie apart from the others, as sentences."""
    return tuple(f"**{one.title}**, {ARM_LABELS[arm]}: {said}." for arm, runs in one.arms.items()
                 for said in health.remarks(runs, [plain(run) for run in runs]))


def mean_of(runs: Sequence[Run], value: Callable[[Run], float]) -> float:
    return stats.mean([value(run) for run in runs])


def with_views(runs: Sequence[Run]) -> list[float]:
    """Accuracies with test-time views, of the runs that have them."""
    return [run.record.metrics.tta_accuracy for run in runs if run.record.metrics.tta_accuracy is not None]


def budget_share(run: Run) -> float | None:
    """Share of the budget used, under the clock that the budget counts by."""
    record = run.record
    return record.clocks[record.budget_policy] / record.budget_seconds if record.budget_seconds else None


def files_word(one: DatasetResults) -> str:
    """Whether the bytes are the published ones."""
    if one.name.split(":")[0] == "shapes":
        return "made by this project"
    return "official files" if one.record.official else "not the official files"


def arithmetic(runs: Sequence[Run]) -> tuple[str, ...]:
    """In which arithmetic runs were trained, and why where that is on record: a sentence each, without its full stop."""
    told = (run.record.provenance for run in runs)
    return tuple(together(str(p.get("arithmetic_reason") or f"trained in {p['arithmetic']}") for p in told
                          if p.get("arithmetic")))
