"""What goes wrong with one data set takes no other with it: it is told at once, and stands in the report as missing."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from reports.inputs import Missing
from speedcore.errors import UserError

Made = TypeVar("Made")


class ReportWarning(UserWarning):
    """A part of the report could not be made, or WeasyPrint complained: the rest stands, our tests fail."""


class Faults:
    """The parts that are missing because something failed. say: where the reader of a build is told."""

    def __init__(self, say: Callable[[str], None]):
        self.missing: list[Missing] = []
        self._say = say

    @contextmanager
    def of(self, dataset: str, what: str = "") -> Iterator[None]:
        """Whatever fails inside is the end of this data set, or of this part of it, and of nothing else."""
        try:
            yield
        except Exception as error:
            self.add(dataset, error, what)

    def add(self, dataset: str, error: Exception, what: str = "") -> None:
        missing = Missing(dataset, reason(error), "", what)
        self.missing.append(missing)
        self._say(f"{dataset}: {f'{what} ' if what else ''}left out. {missing.reason}")
        if not isinstance(error, UserError):
            traceback.print_exception(error)


def reason(error: Exception) -> str:
    """Why, in words: a UserError says it itself, anything else is a mistake of this project."""
    if isinstance(error, UserError):
        return str(error).replace(str(Path.home()), "~")
    return f"An error in this project: {type(error).__name__}: {error}"


def without_culprits(names: Sequence[str], make: Callable[[list[str]], Made]) -> tuple[Made, Mapping[str, Exception]]:
    """What `make` makes of the data sets `names`; where it fails, of those that it can be made of alone, and the others' errors.

    Raises its error where none can, or where each can alone but not all together.
    """
    try:
        return make(list(names)), {}
    except Exception as error:
        wrong = {}
        for name in names:
            try:
                make([name])
            except Exception as own:
                wrong[name] = own
        good = [name for name in names if name not in wrong]
        if not wrong or not good:
            raise error
        return make(good), wrong
