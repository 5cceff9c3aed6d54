"""Errors that a person can act on.

Every failure caused by input (an option, a file, a folder, a recipe) is a `UserError`: its message says what was
wrong, where, and what to do. Command lines print that message and exit with status 2; nothing else is caught, so
a traceback always means a bug in this project.
"""

from __future__ import annotations


class UserError(Exception):
    """Something in the input is wrong, and the message says what, where and what to do."""

    exit_status = 2

    def __init__(self, message: str = ""):
        # It may name a file whose name is no UTF-8, and must be fit to be printed and written all the same.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


class DataError(UserError):
    """A data set cannot be had, or its bytes are not what they should be."""


class RecipeError(UserError):
    """A recipe or ladder is malformed or contradicts itself."""


class BudgetError(UserError):
    """A budget cannot hold even one optimiser step."""


class RunError(UserError):
    """A run folder is missing, incomplete, or written by another version."""
