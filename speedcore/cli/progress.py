"""The display of progress."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from speedcore.cli.console import beside

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import Console
    from rich.progress import TaskID

    from speedcore.store.runs import Run
    from speedcore.training.callback import Callback, ProgressEvent
    from speedcore.training.job import Job


def live(overall: str, runs: int, out: Console) -> AbstractContextManager[Callback]:
    """A callback that shows one bar for the run with its budget counting down, and one for all runs."""
    from rich.progress import BarColumn, Progress, TextColumn

    from speedcore.training.callback import Callback

    class Live(Callback):
        """Two bars on a terminal; a line a run elsewhere."""

        def __init__(self) -> None:
            self.bars = Progress(TextColumn("{task.description}", justify="left", markup=False),
                                 BarColumn(bar_width=30), TextColumn("{task.fields[state]}", markup=False),
                                 console=out, transient=True)
            self.all = self.bars.add_task(overall, total=runs, state=f"0 of {runs} runs")
            self.done = 0
            self.task: TaskID | None = None

        def __enter__(self) -> Self:
            if out.is_terminal:
                self.bars.start()
            return self

        def __exit__(self, *_: object) -> None:
            self.bars.stop()

        def on_run_start(self, job: Job) -> None:
            self.task = self.bars.add_task(job.key, total=max(1, job.steps), state="preparing")

        def on_progress(self, event: ProgressEvent) -> None:
            left = "" if math.isinf(event.limit) else f"{max(0, event.limit - event.seconds):6.1f} s left"
            if self.task is not None:
                self.bars.update(self.task, total=event.steps, completed=event.step, state=f"{left}  loss {event.loss:.3f}")

        def on_run_end(self, run: Run, reused: bool) -> None:
            self._over(1)
            if not reused:
                r = run.record
                out.print(f"[{self.done}/{runs}] {run.name}: {100 * r.accuracy:.2f} % on the test set{beside(run)}, "
                          f"{r.epochs:.3g} epochs in {r.clocks[r.budget_policy]:.1f} s", markup=False)

        def on_run_failed(self, why: str, runs: int) -> None:
            self._over(runs)
            out.print(f"left out: {why}", markup=False)

        def _over(self, count: int) -> None:
            """So many more runs will not be waited for."""
            if self.task is not None:
                self.bars.remove_task(self.task)
                self.task = None
            self.done += count
            self.bars.update(self.all, completed=self.done, state=f"{self.done} of {runs} runs")

    return Live()
