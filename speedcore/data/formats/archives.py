"""Tar and zip archives, read in memory: no member is ever written to disk.

First what is in it, then only what is wanted of it. Links are followed inside the archive, and never out of it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, cast

from speedcore import limits
from speedcore.data.folder.tree import LOOP, LOST, NAMELESS, OUTSIDE, REPLACED, SPECIAL, Entry, Tree, check_members, shown
from speedcore.errors import DataError
from speedcore.limits import size_of, too_much

# The longest suffix that fits decides.
OPENERS: dict[str, Callable[..., Any]] = {
    ".tar": open, ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.xz": lzma.open, ".txz": lzma.open,
    ".tar.bz2": bz2.open, ".tbz2": bz2.open,
}
ARCHIVE_SUFFIXES = (*OPENERS, ".zip")

_FOLDER = "folder"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Member:
    """Where its content is: in a tar at `offset` of the unpacked stream (-1 where it lies in pieces), in a zip at `info`.
    target: of a link, from the archive's root; None for anything else. fault: why it cannot be read."""

    name: str
    size: int = 0
    offset: int = 0
    info: zipfile.ZipInfo | None = None
    target: str | None = None
    fault: str = ""


def is_archive(path: Path) -> bool:
    """Does the name say that this is an archive which `of_archive` reads?"""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def of_archive(path: Path) -> Tree:
    """The files of the archive `path`. Raises DataError if it is damaged, unsafe or unpacks to too much."""
    is_zip = path.name.lower().endswith(".zip")
    with _Named(path):
        stored = path.stat().st_size
        found = list(_zip_members(path) if is_zip else _tar_members(path, stored))
    latest: dict[str, _Member] = {}
    faults = []
    for member in found:
        if member.fault == NAMELESS:
            faults.append(Entry("", 0, NAMELESS))
            continue
        if (earlier := latest.get(member.name)) and earlier.fault != _FOLDER:
            faults.append(Entry(earlier.name, 0, REPLACED))
        latest[member.name] = member
    entries, empty, real = _walk(path, latest)
    read = partial(_read_zip if is_zip else _read_tar, path, latest, real, stored)
    return Tree(path, tuple(sorted([*entries, *faults], key=lambda entry: entry.name)), empty, stored, read)


class _Named:
    """Context manager: whatever a damaged archive raises becomes a DataError that names it."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Damaged archives raise nearly anything: zipfile says NotImplementedError of a compression that it does not know,
        # RuntimeError of an encrypted member; tarfile ValueError of a number that is none.
        if isinstance(error, Exception) and not isinstance(error, DataError):
            raise DataError(f"{self._path} is damaged, incomplete or not the archive that its name says ({error}). Get or pack "
                            "it again.") from error


# --- what is in it ------------------------------------------------------------------------------------------------

def _name(path: Path, name: str) -> str:
    """A member's name, normalised; empty where it has none."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{path}: member '{shown(name)}' points outside the archive. Such an archive is not trusted; pack the "
                        "class folders again.")
    return "/".join(parts.parts)


def _target(name: str, link: str) -> str | None:
    """What a symbolic link leads to, from the archive's root; None where that is outside."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), link.replace("\\", "/")))
    return None if target.startswith(("/", "..")) else target


def _linked(name: str, target: str | None) -> _Member:
    return _Member(name, fault=OUTSIDE) if target is None else _Member(name, target=target)


def _tar_members(path: Path, stored: int) -> Iterator[_Member]:
    with _unpacked(path) as file:
        stream = _Tail(path, file, stored)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
            for count, member in enumerate(archive):
                check_members(path, count)
                name = _name(path, member.name)
                if member.isdir():
                    yield _Member(name, fault=_FOLDER)
                elif not name:
                    yield _Member(name, fault=NAMELESS)
                elif member.issym():
                    yield _linked(name, _target(name, member.linkname))
                elif member.islnk():
                    yield _linked(name, _target("", member.linkname))
                elif member.isfile():
                    yield _Member(name, member.size, -1 if member.issparse() else member.offset_data)
                else:
                    yield _Member(name, fault=SPECIAL)
        while stream.read(_CHUNK):  # to the end: a compressed stream's checksum lies there
            pass
        # Cut off between two members, a tar looks whole but for its closing block of zeros.
        if stream.tail != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the end of the archive is missing")


def _unpacked(path: Path) -> IO[bytes]:
    """The tar's own stream. Decompressed here rather than by tarfile: a cut-off one raises EOFError, not an early end."""
    suffix = next(suffix for suffix in sorted(OPENERS, key=len, reverse=True) if path.name.lower().endswith(suffix))
    return OPENERS[suffix](path, "rb")


class _Tail:
    """A stream that remembers its last block, and refuses to become much larger than the file that it comes from."""

    def __init__(self, path: Path, file: IO[bytes], stored: int):
        self._path, self._file, self._stored = path, file, stored
        self.tail, self._count = b"", 0

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._count += len(chunk)
        if too_much(self._count, self._stored, limits.UNPACKED_RATIO):
            raise _bomb(self._path, self._count, self._stored)
        self.tail = (self.tail + chunk)[-tarfile.BLOCKSIZE:]
        return chunk


def _bomb(path: Path, unpacked: int, stored: int) -> DataError:
    return DataError(f"{path} has {size_of(stored)} and unpacks to {size_of(unpacked)} or more, over {limits.UNPACKED_RATIO} "
                     "times as much: such an archive is not trusted. Pack the class folders without what is not needed.")


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        check_members(path, len(archive.infolist()))
        for member in archive.infolist():
            name = _name(path, member.filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if not name:
                yield _Member(name, fault=NAMELESS)
            elif member.is_dir():
                yield _Member(name, fault=_FOLDER)
            elif kind == stat.S_IFLNK:
                small = member.file_size <= limits.LINK_BYTES
                yield _linked(name, _target(name, archive.read(member).decode()) if small else None)
            elif kind in (0, stat.S_IFREG):
                yield _Member(name, member.file_size, info=member)
            else:
                yield _Member(name, fault=SPECIAL)


# --- links --------------------------------------------------------------------------------------------------------

def _walk(path: Path, members: dict[str, _Member]) -> tuple[list[Entry], tuple[str, ...], dict[str, str]]:
    """(files, empty folders, name -> the member that holds the content), with every link followed, as on a disk."""
    inner: dict[str, dict[str, None]] = {"": {}}
    for name in members:
        while name and name not in inner.setdefault(folder := posixpath.dirname(name), {}):
            inner[folder][name] = None
            name = folder
    for name, member in members.items():
        if member.fault == _FOLDER:
            inner.setdefault(name, {})
    entries, empty, real = [], [], {}
    waiting = [("", "", frozenset({""}))]
    while waiting:
        folder, at, above = waiting.pop()
        if not inner[at] and folder:
            empty.append(folder)
        for place in inner[at]:
            name = posixpath.join(folder, posixpath.basename(place))
            found = _resolve(place, members, inner)
            if found is None:
                entries.append(Entry(name, 0, LOST))
                continue
            holder = members.get(found)
            if holder is not None and holder.fault != _FOLDER:
                entries.append(Entry(name, holder.size, holder.fault))
                real[name] = found
            if found in above:
                entries.append(Entry(name, 0, LOOP))
            elif found in inner:
                waiting.append((name, found, above | {found}))
        check_members(path, len(entries) + len(waiting))
    return entries, tuple(empty), real


def _resolve(name: str, members: dict[str, _Member], inner: dict[str, dict[str, None]]) -> str | None:
    """The member or folder that the path `name` leads to, None if there is none."""
    for _ in range(limits.LINK_HOPS):
        parts = name.split("/")
        for i in range(1, len(parts) + 1):
            member = members.get("/".join(parts[:i]))
            if member is not None and member.target is not None:
                name = posixpath.normpath(posixpath.join(member.target, *parts[i:]))
                name = "" if name == "." else name
                break
        else:
            return name if name in members or name in inner else None
    return None


# --- what is wanted of it -----------------------------------------------------------------------------------------

def _by_content(names: Collection[str], members: dict[str, _Member], real: dict[str, str]) -> dict[str, list[str]]:
    """Member that holds the content -> the names it is wanted under."""
    wanted: dict[str, list[str]] = {}
    for name in names:
        wanted.setdefault(real[name], []).append(name)
    return wanted


def _read_tar(path: Path, members: dict[str, _Member], real: dict[str, str], stored: int,
              names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    wanted = _by_content(names, members, real)
    if pieces := [name for name in wanted if members[name].offset == -1]:
        raise DataError(f"{path}: member '{shown(pieces[0])}' is stored as a sparse file. Pack the archive without --sparse.")
    at = 0
    with _Named(path), _unpacked(path) as file:
        for name in sorted(wanted, key=lambda name: members[name].offset):
            member = members[name]
            while skipped := file.read(min(_CHUNK, member.offset - at)) if member.offset > at else b"":
                at += len(skipped)
            content = file.read(member.size)
            at += len(content)
            for known in wanted[name]:
                yield known, content


def _read_zip(path: Path, members: dict[str, _Member], real: dict[str, str], stored: int,
              names: Collection[str]) -> Iterator[tuple[str, bytes]]:
    wanted = _by_content(names, members, real)
    if too_much(total := sum(members[name].size for name in wanted), stored, limits.UNPACKED_RATIO):
        raise _bomb(path, total, stored)
    with _Named(path), zipfile.ZipFile(path) as archive:
        for name, known_as in wanted.items():
            info = members[name].info
            assert info is not None
            content = archive.read(info)
            for known in known_as:
                yield known, content
