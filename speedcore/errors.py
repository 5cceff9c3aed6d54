"""Errors that a person can act on.

Every failure caused by input (an option, a file, a folder, a recipe) is a `UserError`: its message says what was
wrong, where, and what to do. Command lines print that message and exit with the error's status (2, 5 where
training diverged); nothing else is caught, so a traceback always means a bug in this project.
"""

from __future__ import annotations

import warnings
from pathlib import Path


class UserError(Exception):
    """Something in the input is wrong, and the message says what, where and what to do."""

    exit_status = 2

    def __init__(self, message: str = ""):
        # It may name a file whose name is no UTF-8, and must be fit to be printed and written all the same.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


class DataError(UserError):
    """A data set is not available, or its bytes are not what they should be."""


class RecipeError(UserError):
    """A recipe or ladder is malformed or contradicts itself."""


class PluginError(RecipeError):
    """Code of a user's own is not there, is not what it was, or does not do what is asked of it."""


class BudgetError(UserError):
    """A budget cannot hold even one optimiser step."""


class DivergedError(UserError):
    """Training came to a loss, or a trained network to an answer, that is no finite number."""

    exit_status = 5


class RunError(UserError):
    """A run folder is missing, incomplete, or written by another version."""


class Damaged(RunError):
    """A stored file is not what was written. path: what holds it, a folder or the file itself."""

    def __init__(self, message: str, path: Path):
        super().__init__(message)
        self.path = path


class Notice(UserWarning):
    """Something that a person should know and that stops nothing; command lines print it on stderr."""


def notice(message: str) -> None:
    """Tell it: a warning, which Python programs can catch or filter as any other."""
    warnings.warn(Notice(message), stacklevel=3)
