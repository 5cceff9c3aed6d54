"""Stored files, read without trust: regular files of a bearable size, plain JSON, arrays of numbers.

Each function raises ValueError saying in a few words what is wrong; callers add where, and what to do.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from speedcore import limits

# What numpy writes before an array of numbers. Nothing else needs to be understood; numpy's own reader evaluates it as Python.
_HEADER = re.compile(rb"\{'descr': '([<|][biuf][1248])', 'fortran_order': (True|False), "
                     rb"'shape': \(((?:\d{1,15},|\d{1,15}(?:, \d{1,15})+|))\), \} *\n")


def content(path: Path, most: int) -> bytes:
    """All bytes of a regular file of at most `most`."""
    with _regular(path, most) as file:
        return file.read(most)


def sha256_of(path: Path, most: int) -> str:
    """The same file's digest, in hex."""
    with _regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _regular(path: Path, most: int) -> Iterator[BufferedReader]:
    # Neither followed nor waited for: a link leads out of the folder, a pipe never ends.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise ValueError("it is no regular file")
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise ValueError("it is missing") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if about.st_size > most:
            raise ValueError(f"it has {about.st_size:,} bytes, and at most {most:,} were expected")
        try:
            yield file
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from None


def json_object(text: bytes) -> dict[str, Any]:
    """The JSON object that `text` holds: each name once, no integer of absurd length, no absurd depth."""
    try:
        found = json.loads(text.decode("utf-8"), parse_int=_integer, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("its JSON is no object")
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > limits.DIGITS:
        raise ValueError(f"its JSON has an integer of {len(digits):,} digits")
    return int(digits)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("its JSON has a name twice in one object")
    return found


def arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz file as `numpy.savez` writes it. Never more memory than a few times the file's bytes."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(content):
                    raise ValueError(f"its array '{name}' is compressed, and none that is written here is")
                if name == member.filename or name in found:
                    raise ValueError(f"'{member.filename}' is no array, or is there twice")
                found[name] = _array(archive.read(member), name)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, RuntimeError, NotImplementedError, OverflowError) as error:
        raise ValueError(str(error) or "it is cut off") from None
    return found


def _array(data: bytes, name: str) -> np.ndarray:
    found = _HEADER.match(data, 10)
    if data[:8] != b"\x93NUMPY\x01\x00" or not found or found.end() != 10 + int.from_bytes(data[8:10], "little"):
        raise ValueError(f"its array '{name}' does not hold plain numbers as they are written here")
    kind, order, sides = (part.decode() for part in found.groups())
    dtype, shape = np.dtype(kind), tuple(int(side) for side in sides.split(",") if side.strip())
    values = data[found.end():]
    if prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"its array '{name}' is said to be of shape {shape}, and has {len(values):,} bytes")
    return np.frombuffer(bytearray(values), dtype).reshape(shape, order="F" if order == "True" else "C")
