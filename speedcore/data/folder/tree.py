"""What lies in a folder or an archive: names, sizes and kinds, known before a single file is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speedcore import limits
from speedcore.errors import DataError

# Why a file that is there cannot be read.
SPECIAL = "no regular file"
LOST = "a link that leads nowhere"
LOOP = "a link back to a folder that it lies in"
OUTSIDE = "a link that leads out of the archive"
NAMELESS = "a member without a name"
REPLACED = "replaced by a later member of the same name"


@dataclass(frozen=True)
class Entry:
    """A file: its name from the root, parts joined by "/", its size in bytes, and why it cannot be read, empty if it can."""

    name: str
    size: int
    fault: str = ""


@dataclass(frozen=True)
class Tree:
    """The files of a folder or an archive.

    empty: folders in which nothing lies. stored: bytes of the archive; of all files in a folder. read(names): (name, content)
    of these, in any order; raises DataError.
    """

    path: Path
    entries: tuple[Entry, ...]
    empty: tuple[str, ...]
    stored: int
    read: Callable[[Collection[str]], Iterator[tuple[str, bytes]]]


def shown(name: str) -> str:
    """A file's name for people: what cannot be printed, as a byte that is no UTF-8, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def of_folder(path: Path) -> Tree:
    """All files under the folder `path`; links are followed, for class folders are often links. Raises DataError."""
    entries: list[Entry] = []
    empty: list[str] = []
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        place = path / folder
        try:
            about = place.stat()
            found = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{shown(str(place))} cannot be read ({error.strerror or error}). Make it readable.") from error
        above |= {(about.st_dev, about.st_ino)}
        if not found and folder:
            empty.append(folder)
        for inner in found:
            entry = _entry(inner, f"{folder}/{inner.name}" if folder else inner.name, above)
            if entry is None:
                waiting.append((f"{folder}/{inner.name}" if folder else inner.name, above))
            else:
                entries.append(entry)
        check_members(path, len(entries) + len(waiting))
    entries.sort(key=lambda entry: entry.name)
    stored = sum(entry.size for entry in entries)
    return Tree(path, tuple(entries), tuple(sorted(empty)), stored, partial(_read, path))


def check_members(path: Path, count: int) -> None:
    """Raises DataError where there are more files than are read."""
    if count > limits.MEMBERS:
        raise DataError(f"{path} holds more than {limits.MEMBERS:,} files, the most that are read. Name the folder that "
                        "holds the class folders, or make the data set smaller.")


def _entry(inner: os.DirEntry[str], name: str, above: frozenset[tuple[int, int]]) -> Entry | None:
    """The file; None for a folder that is to be entered."""
    try:
        about = inner.stat()
    except OSError:
        return Entry(name, 0, LOST)
    if stat.S_ISDIR(about.st_mode):
        return Entry(name, 0, LOOP) if (about.st_dev, about.st_ino) in above else None
    return Entry(name, about.st_size) if stat.S_ISREG(about.st_mode) else Entry(name, 0, SPECIAL)


def _read(path: Path, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        file = path / name
        try:
            with file.open("rb") as stream:
                yield name, stream.read(limits.IMAGE_BYTES)
        except OSError as error:
            raise DataError(f"{shown(str(file))} cannot be read ({error.strerror or error}). Make it readable.") from error
