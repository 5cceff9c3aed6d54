"""Tar and zip archives, read in memory: no member is ever written to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from speedcore.errors import DataError

# The longest suffix that fits decides.
OPENERS: dict[str, Callable] = {
    ".tar": open, ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.xz": lzma.open, ".txz": lzma.open,
    ".tar.bz2": bz2.open, ".tbz2": bz2.open,
}
ARCHIVE_SUFFIXES = (*OPENERS, ".zip")


def is_archive(path: Path) -> bool:
    """Does the name say that this is an archive which `members` reads?"""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every regular file, in archive order. Raises DataError if the archive is damaged or unsafe."""
    try:
        for name, content in _zip(path) if path.name.lower().endswith(".zip") else _tar(path):
            parts = PurePosixPath(name.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts:
                raise DataError(f"{path}: member '{name}' points outside the archive. Such an archive is not trusted; "
                                "pack the class folders again.")
            yield str(parts), content
    # zipfile says NotImplementedError of a compression that it does not know, RuntimeError of an encrypted member.
    except (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, RuntimeError,
            NotImplementedError) as error:
        raise DataError(f"{path} is damaged, incomplete or not the archive that its name says ({error}). Get or pack "
                        "it again.") from error


def _tar(path: Path) -> Iterator[tuple[str, bytes]]:
    opener = next(OPENERS[suffix] for suffix in sorted(OPENERS, key=len, reverse=True)
                  if path.name.lower().endswith(suffix))
    # Decompressed here rather than by tarfile, so that a cut-off stream raises EOFError instead of ending early.
    with opener(path, "rb") as file:
        stream = _Tail(file)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.isfile():
                    yield member.name, archive.extractfile(member).read()
        while stream.read(1 << 20):  # to the end: a compressed stream's checksum lies there
            pass
        # Cut off between two members, a tar looks whole but for its closing block of zeros.
        if stream.tail != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the end of the archive is missing")


class _Tail:
    """A stream that remembers its last block."""

    def __init__(self, file):
        self._file = file
        self.tail = b""

    def read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self.tail = (self.tail + chunk)[-tarfile.BLOCKSIZE:]
        return chunk


def _zip(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                yield member.filename, archive.read(member)
