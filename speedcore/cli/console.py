"""What the command lines share: errors as one message, the console."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from speedcore.errors import Notice, UserError

if TYPE_CHECKING:
    from rich.console import Console

    from speedcore.store.runs import Run

INTERRUPTED = 130
_STOPPED = "stopped. What had finished is kept; the same command continues from there."


def run_app(app: Callable[..., object]) -> int:
    """Run a typer app. A UserError becomes one message and its exit status, a Notice one line; nothing else is swallowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        warnings.showwarning = _show
        return _run(app)


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
          line: str | None = None) -> None:
    if issubclass(category, Notice):
        print(f"note: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


def _run(app: Callable[..., object]) -> int:
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
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return complain(f"'{error.filename}' is too long for a path here. Write a shorter one.", UserError.exit_status)
        # typer's own usage errors carry their message and status (and live in a private module).
        if hasattr(error, "format_message"):
            hint = getattr(getattr(error, "ctx", None), "command_path", None)
            said, status = error.format_message(), int(getattr(error, "exit_code", UserError.exit_status))
            if not said:
                return status  # called without arguments: the help that was printed says it all
            return complain(said + (f"\nTry '{hint} --help'." if hint else ""), status)
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


def console(stderr: bool = True) -> Console:
    """rich's console; progress and plans go to stderr so that stdout holds results."""
    from rich.console import Console

    # A data set may be called "folder:x:" something; nobody asked for pictures in its place.
    made = Console(stderr=stderr, highlight=False, emoji=False)
    # Files and pipes have no width of their own; 80 columns would fold every table.
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, emoji=False, width=150)


def beside(run: Run) -> str:
    """What belongs beside a run's accuracy, in brackets: that of a constant prediction, where it matters: classes are uneven,
    or the run is no better."""
    from speedcore.training.health import constant_prediction

    constant = constant_prediction(run)
    if constant.no_better:
        return f" ({constant.sentence})"
    return f" (a constant prediction: {100 * constant.share:.2f} %)" if constant.uneven else ""
