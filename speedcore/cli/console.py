"""What the command lines share: errors as one message, durations, the display of progress."""

from __future__ import annotations

import errno
import math
import sys
import warnings
from collections.abc import Callable

from speedcore.errors import Notice, UserError

INTERRUPTED = 130
_STOPPED = "stopped. What had finished is kept; the same command continues from there."


def run_app(app: Callable[..., None]) -> int:
    """Run a typer app. A UserError becomes one message and its exit status, a Notice one line; nothing else is swallowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        warnings.showwarning = _show
        return _run(app)


def _show(message: Warning | str, category: type[Warning], *where, **rest) -> None:
    if issubclass(category, Notice):
        print(f"note: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, *where[:2]), end="", file=sys.stderr)


def _run(app: Callable[..., None]) -> int:
    try:
        status = app(standalone_mode=False)
        if status == INTERRUPTED:  # typer's answer to Ctrl-C, or Abort, or nothing caught: that depends on its version
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except UserError as error:
        return complain(str(error), error.exit_status)
    except KeyboardInterrupt:
        return complain(_STOPPED, INTERRUPTED)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:
            return complain(f"'{error.filename}' is too long for a path here. Write a shorter one.", UserError.exit_status)
        # typer's own usage errors carry their message and status (and live in a private module).
        if hasattr(error, "format_message"):
            hint = getattr(getattr(error, "ctx", None), "command_path", None)
            if not error.format_message():
                return error.exit_code  # called without arguments: the help that was printed says it all
            return complain(error.format_message() + (f"\nTry '{hint} --help'." if hint else ""), error.exit_code)
        if type(error).__name__ == "Abort":
            return complain(_STOPPED, INTERRUPTED)
        raise


def complain(message: str, status: int) -> int:
    """Print an error where errors go, and hand its exit status back."""
    print(f"error: {message}", file=sys.stderr)
    return status


def device_of(name: str) -> str:
    """The name of the device that "auto" or another name stands for here. Raises UserError for one that is not there."""
    from speedcore.machine.device import resolve  # not before it is needed: torch takes seconds

    return str(resolve(name))


def console(stderr: bool = True):
    """rich's console; progress and plans go to stderr so that stdout holds results."""
    from rich.console import Console

    # A data set may be called "folder:x:" something; nobody asked for pictures in its place.
    made = Console(stderr=stderr, highlight=False, emoji=False)
    # Files and pipes have no width of their own; 80 columns would fold every table.
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, width=150)


def beside(run) -> str:
    """What belongs beside a run's accuracy, in brackets: that of a constant prediction, where it matters: classes are uneven,
    or the run is no better."""
    from speedcore.training.health import constant_prediction

    constant = constant_prediction(run)
    if constant.no_better:
        return f" ({constant.sentence})"
    return f" (a constant prediction: {100 * constant.share:.2f} %)" if constant.uneven else ""


def live(overall: str, runs: int, out):
    """A Watcher that shows one bar for the run with its budget counting down, and one for all runs."""
    from rich.progress import BarColumn, Progress, TextColumn

    from speedcore.planning.execute import Callback

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

        def begins(self, job):
            self.task = self.bars.add_task(job.key, total=max(1, job.steps), state="preparing")

        def moment(self, m):
            left = "" if math.isinf(m.limit) else f"{max(0, m.limit - m.seconds):6.1f} s left"
            self.bars.update(self.task, total=m.steps, completed=m.step, state=f"{left}  loss {m.loss:.3f}")

        def ends(self, run, reused):
            if self.task is not None:
                self.bars.remove_task(self.task)
                self.task = None
            self.done += 1
            self.bars.update(self.all, completed=self.done, state=f"{self.done} of {runs} runs")
            if not reused:
                r = run.record
                out.print(f"[{self.done}/{runs}] {run.name}: {100 * r.accuracy:.2f} % on the test set{beside(run)}, "
                          f"{r.epochs:.3g} epochs in {r.clocks[r.budget_policy]:.1f} s", markup=False)

        def fails(self, why, runs_lost):
            if self.task is not None:
                self.bars.remove_task(self.task)
                self.task = None
            self.done += runs_lost
            self.bars.update(self.all, completed=self.done, state=f"{self.done} of {runs} runs")
            out.print(f"left out: {why}", markup=False)

    return Live()
