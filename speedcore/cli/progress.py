"""The display of progress."""

from __future__ import annotations

import math

from speedcore.cli.console import beside


def live(overall: str, runs: int, out):
    """A callback that shows one bar for the run with its budget counting down, and one for all runs."""
    from rich.progress import BarColumn, Progress, TextColumn

    from speedcore.training.callback import Callback

    class Live(Callback):
        """Two bars on a terminal; a line a run elsewhere."""

        def __init__(self):
            self.bars = Progress(TextColumn("{task.description}", justify="left", markup=False),
                                 BarColumn(bar_width=30), TextColumn("{task.fields[state]}", markup=False),
                                 console=out, transient=True)
            self.all = self.bars.add_task(overall, total=runs, state=f"0 of {runs} runs")
            self.done, self.task = 0, None

        def __enter__(self):
            if out.is_terminal:
                self.bars.start()
            return self

        def __exit__(self, *_):
            self.bars.stop()

        def on_run_start(self, job):
            self.task = self.bars.add_task(job.key, total=max(1, job.steps), state="preparing")

        def on_progress(self, event):
            left = "" if math.isinf(event.limit) else f"{max(0, event.limit - event.seconds):6.1f} s left"
            self.bars.update(self.task, total=event.steps, completed=event.step, state=f"{left}  loss {event.loss:.3f}")

        def on_run_end(self, run, reused):
            if self.task is not None:
                self.bars.remove_task(self.task)
                self.task = None
            self.done += 1
            self.bars.update(self.all, completed=self.done, state=f"{self.done} of {runs} runs")
            if not reused:
                r = run.record
                out.print(f"[{self.done}/{runs}] {run.name}: {100 * r.accuracy:.2f} % on the test set{beside(run)}, "
                          f"{r.epochs:.3g} epochs in {r.clocks[r.budget_policy]:.1f} s", markup=False)

        def on_run_failed(self, why, lost):
            if self.task is not None:
                self.bars.remove_task(self.task)
                self.task = None
            self.done += lost
            self.bars.update(self.all, completed=self.done, state=f"{self.done} of {runs} runs")
            out.print(f"left out: {why}", markup=False)

    return Live()
