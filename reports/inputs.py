"""What a report is made from: runs, explanations, studies, and what is said beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reports.labels import title_of
from speedcore.store.runs import Run

if TYPE_CHECKING:
    from explain.artefact import Explanation
    from explain.claim.verdicts import ClaimRecord
    from explain.studies.shortcuts import StudyRecord
    from speedcore.data.dataset import Dataset
    from speedcore.ladders.result import LadderResult
    from speedcore.planning.planned_runs import PlannedRuns
    from speedcore.studies.records import StudyRecord as Studied

Status = Literal["complete", "partial", "smoke"]


@dataclass(frozen=True)
class Missing:
    """A data set that was asked for and is not in the report; or, where `what` names it, a part of one: "heatmaps"."""

    dataset: str
    reason: str
    remedy: str
    what: str = ""

    @property
    def title(self) -> str:
        """What is missing, as a sentence begins with it."""
        return f"{self.what[:1].upper()}{self.what[1:]} of {title_of(self.dataset)}" if self.what else title_of(self.dataset)

    @property
    def sentence(self) -> str:
        """Why, and what to do."""
        return " ".join(text if text.endswith((".", "`")) else f"{text}." for text in (self.reason, self.remedy) if text)


@dataclass(frozen=True)
class Inputs:
    """Everything that goes into a report.

    datasets: by name, for the images (those without runs are passed over). plan: the courses of `planning.Plan`.
    notes: what more time would buy and the command that buys it, as sentences with `code` in backticks. command: the
    command line that makes this report again. environment: `provenance.collect`. ladders: climbs, a chapter each.
    studies: results of studies that are no climb, a chapter each. shortcuts: studies of planted shortcuts, shown before any
    heatmaps. registered: studies of the preregistered claim. diverged: pairs of which a run came to no finite number, in
    sentences, by data set. folders: of this machine, by what stands for them: no rendering shows their paths.
    """

    datasets: Mapping[str, Dataset]
    runs: tuple[Run, ...]
    explanations: tuple[Explanation, ...] = ()
    missing: tuple[Missing, ...] = ()
    plan: tuple[PlannedRuns, ...] = ()
    notes: tuple[str, ...] = ()
    budget_seconds: float | None = 1000.0
    within_seconds: float | None = None
    status: Status = "complete"
    command: str = ""
    environment: Mapping[str, object] = field(default_factory=dict)
    ladders: tuple[LadderResult, ...] = ()
    studies: tuple[Studied, ...] = ()
    shortcuts: tuple[StudyRecord, ...] = ()
    registered: tuple[ClaimRecord, ...] = ()
    diverged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
