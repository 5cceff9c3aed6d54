"""What is told of runs while they are trained: one event, one callback, for the loop and for whatever carries out many runs."""

from __future__ import annotations

from dataclasses import dataclass

from speedcore.store.runs import Run
from speedcore.training.job import Job


@dataclass(frozen=True)
class ProgressEvent:
    """Where a run in training is. seconds: used of `limit`, under the rule of its budget; loss: of the last batch."""

    key: str
    step: int
    steps: int
    seconds: float
    limit: float
    loss: float


class Callback:
    """Told of the start, the progress and the end of each run. The base class does nothing: override what is of interest."""

    def on_run_start(self, job: Job) -> None:
        """A run is about to be trained."""

    def on_progress(self, event: ProgressEvent) -> None:
        """After each step on a CPU, about a hundred times a run on an accelerator."""

    def on_run_end(self, run: Run, reused: bool) -> None:
        """A run is there: trained now, or (`reused`) found among the finished ones."""

    def on_run_failed(self, why: str, runs: int) -> None:
        """A run diverged, and `runs` of what was planned will not come. why: a sentence."""
