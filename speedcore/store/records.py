"""Records of one file that are written again as results come in: replaced whole, and each with its own sha256.

The last field of the JSON is "sha256": of everything before it, byte for byte. So a record and its check are one file, and
replacing that file is one step: a reader sees the old one or the new one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from speedcore import limits
from speedcore.errors import Damaged, notice
from speedcore.store import reading
from speedcore.store.folders import scratch, set_aside, synced, unwritable

Record = TypeVar("Record", bound=BaseModel)

_SEAL = re.compile(rb',\n "sha256": "([0-9a-f]{64})"\n}\n')
_SEAL_BYTES = len(b',\n "sha256": ""\n}\n') + 64


def write(path: Path, record: BaseModel) -> Path:
    """Write `record` so that the file at `path` is the old one or the new one, whole. Raises RunError.

    Only what carries this module's sha256 is replaced; anything else there is set aside first.
    """
    body = record.model_dump_json(indent=1).encode().removesuffix(b"\n}")
    text = body + b',\n "sha256": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
    folder = scratch(path)
    try:
        (folder / path.name).write_bytes(text)
        synced(folder / path.name)
        if os.path.lexists(path) and not _ours(path):
            target = set_aside(path)
            notice(f"{path} was in the way of a new one and is now {target}.")
        os.replace(folder / path.name, path)
        synced(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def read(path: Path, kind: type[Record]) -> Record | None:
    """The record at `path`; None if there is none. Raises Damaged. One without a sha256 is older, and taken as it is."""
    if not os.path.lexists(path):
        return None
    try:
        text = reading.content(path, limits.RECORD)
        content = reading.json_object(text)
        if "sha256" in content:
            if not _sealed(text):
                raise ValueError("it is not the file that was written")
            text = text[:-_SEAL_BYTES] + b"\n}"
        return kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"field {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except ValueError as error:
        why = str(error)
    raise Damaged(f"{path} is damaged: {why}; move it away to have it made again.", path)


def take(path: Path, kind: type[Record], whole: Path | None = None) -> Record | None:
    """As `read`, for what can be made again: a damaged record is named and set aside (`whole`: with its folder), and None."""
    try:
        return read(path, kind)
    except Damaged as error:
        target = set_aside(whole or path)
        notice(f"{error} It was set aside, in {target}, and is made again.")
        return None


def look(path: Path, kind: type[Record]) -> Record | None:
    """As `read`, for what is only looked at: a damaged record is named and left where it is, and None."""
    try:
        return read(path, kind)
    except Damaged as error:
        notice(f"{error} It is left out.")
        return None


def field(path: Path, name: str, otherwise: object = None) -> object:
    """One field of the record at `path`, unchecked; None if there is none, `otherwise` if the file cannot be read."""
    try:
        return reading.json_object(reading.content(path, limits.RECORD)).get(name)
    except ValueError:
        return otherwise


def _sealed(text: bytes) -> bool:
    seal = _SEAL.fullmatch(text[-_SEAL_BYTES:])
    return seal is not None and hashlib.sha256(text[:-_SEAL_BYTES]).hexdigest().encode() == seal[1]


def _ours(path: Path) -> bool:
    try:
        return _sealed(reading.content(path, limits.RECORD))
    except ValueError:
        return False
