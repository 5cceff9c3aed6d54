"""What the readers hand to each other: files that were found, what they hold once decoded, why nothing was found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from speedcore.data.dataset import Split


class NotFound(Exception):
    """This place does not hold the data set; the message is the reason. The search goes on."""


@dataclass(frozen=True)
class RawDataset:
    """A data set's content. official: True only if it matched the published checksums; note: why not, if not."""

    classes: tuple[str, ...]
    train: Split
    test: Split
    official: bool
    note: str = ""


@dataclass(frozen=True)
class DatasetFiles:
    """Files that hold a data set.

    source: one line for people, without the machine's folders: reports are shared.
    path: the file or folder; None for what is made.
    decode: reads the files; raises DataError naming the file that is at fault.
    key: names the content and its decoder, for the decoded copy; None where decoding is as fast as a copy.
    """

    source: str
    path: Path | None
    decode: Callable[[], RawDataset]
    key: Callable[[], str] | None = None
