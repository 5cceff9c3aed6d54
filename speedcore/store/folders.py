"""Folders that exist whole or not at all, and are never changed afterwards: each has a manifest of its files' sha256.

The manifest is a list as `sha256sum` makes it, so that `sha256sum --check manifest.sha256` is a check of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from speedcore import limits
from speedcore.errors import Damaged, RunError, UserError
from speedcore.store import reading

MANIFEST = "manifest.sha256"
SET_ASIDE = "set-aside"
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9._-]+)\n")


class Folder:
    """A stored folder, opened: what is read of it is what was written, or `Damaged` is raised, which names the file.

    checked: whether it has a manifest; folders that were written before there was one are read as they are.
    """

    def __init__(self, path: Path, files: Iterable[str], cure: str):
        self.path, self.cure = Path(path), cure
        self.checked = os.path.lexists(self.path / MANIFEST)
        self.digests: dict[str, str] = {}
        if self.checked:
            try:
                self.digests = _parsed(reading.content(self.path / MANIFEST, limits.MANIFEST))
            except ValueError as error:
                raise self.damaged(MANIFEST, error) from None
            if self.digests.keys() != set(files):
                raise self.damaged(MANIFEST, f"it names {', '.join(self.digests) or 'no file'}")

    def content(self, file: str, most: int) -> tuple[bytes, str]:
        """The bytes of a file of at most `most`, and their sha256."""
        try:
            found = reading.content(self.path / file, most)
        except ValueError as error:
            raise self.damaged(file, error) from None
        digest = hashlib.sha256(found).hexdigest()
        self._compare(file, digest)
        return found, digest

    def check(self, file: str, most: int) -> str | None:
        """Read a file through and compare it; returns its sha256, None where there is nothing to compare with."""
        if not self.checked:
            return None
        try:
            found = reading.sha256_of(self.path / file, most)
        except ValueError as error:
            raise self.damaged(file, error) from None
        self._compare(file, found)
        return found

    def _compare(self, file: str, found: str) -> None:
        if self.checked and found != self.digests[file]:
            raise self.damaged(file, "it is not the file that was written")

    def damaged(self, file: str, why: object) -> Damaged:
        """The error for a file of this folder."""
        return Damaged(f"{self.path / file} is damaged: {why}; {self.cure}.", self.path)


def _parsed(text: bytes) -> dict[str, str]:
    try:
        lines = _LINE.findall(text.decode("ascii"))
    except UnicodeDecodeError:
        lines = []
    digests = {name: digest for digest, name in lines}
    if not digests or _written(digests) != text:
        raise ValueError("it is no list of files and their sha256")
    return digests


def _written(digests: dict[str, str]) -> bytes:
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


class staged:
    """Context manager: a scratch folder beside `final`, which becomes `final` with its manifest on success, and is removed on
    any failure. What exists at `final` already is never touched: that is a RunError."""

    def __init__(self, final: Path):
        self.final = Path(final)

    def __enter__(self) -> Path:
        if os.path.lexists(self.final):
            raise _in_the_way(self.final)
        self.scratch = scratch(self.final)
        return self.scratch

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                digests = {file.name: reading.sha256_of(file, limits.WEIGHTS) for file in self.scratch.iterdir()}
                (self.scratch / MANIFEST).write_bytes(_written(digests))
                for file in self.scratch.iterdir():
                    synced(file)
                self.scratch.chmod(0o755)
                if os.path.lexists(self.final):
                    raise _in_the_way(self.final)
                os.replace(self.scratch, self.final)
                synced(self.final.parent)
        except OSError as failure:
            error = failure
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise unwritable(self.final, error) from error


def scratch(beside: Path) -> Path:
    """A new empty folder beside `beside`, hidden, to be removed by the caller. Raises RunError if there can be none."""
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{beside.name}.", dir=beside.parent))
    except OSError as error:
        raise RunError(f"cannot write to {beside.parent}: {error.strerror or error}; choose another folder "
                       f"(--runs DIR or SPEEDCORE_RUNS).") from None


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders, and keeps their names by itself
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(path: Path, error: OSError) -> UserError:
    return RunError(f"cannot write {path}: {error.strerror or error}; nothing of it was kept, and everything finished before "
                    f"stands. Free space or choose another folder.")


def _in_the_way(path: Path) -> RunError:
    return RunError(f"{path} is there already, and nothing that is there is replaced; move it away or choose another folder.")


def set_aside(path: Path) -> Path:
    """Move a damaged folder or file, whole, to a folder beside it, and return where it is now. Raises RunError."""
    into = path.parent / SET_ASIDE
    try:
        into.mkdir(exist_ok=True)
        number, target = 1, into / path.name
        while os.path.lexists(target):
            number += 1
            target = into / f"{path.name}-{number}"
        os.rename(path, target)
        return target
    except OSError as error:
        raise RunError(f"{path} is damaged and cannot be moved to {into}: {error.strerror or error}; move it away "
                       f"yourself.") from None
