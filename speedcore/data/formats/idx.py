"""IDX, the format of MNIST and Fashion-MNIST: 0, 0, type, rank, big-endian sizes, then the bytes."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from speedcore import limits
from speedcore.data.dataset import Split
from speedcore.data.dataset_files import RawDataset
from speedcore.data.published import IDX_FILES, Manifest
from speedcore.errors import DataError

UNSIGNED_BYTE = 0x08


def read_bytes(path: Path) -> bytes:
    """The content of `path`, gunzipped where it ends in .gz. Raises DataError, also where that is more than an IDX file has."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            raw = file.read(limits.IDX_BYTES + 1)
            if len(raw) <= limits.IDX_BYTES:
                return raw
            raise DataError(f"{path} holds more than {limits.size_of(limits.IDX_BYTES)}: it is no IDX file of a published data "
                            "set. Get the file again, or remove it so that the next source is tried.")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): it is damaged or incomplete. Get the file again, or remove "
                        "it so that the next source is tried.") from error


def parse(raw: bytes, where: Path | str) -> UInt8[np.ndarray, "..."]:
    """The array in the bytes of an IDX file; `where` names it in the DataError that anything else raises."""
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE:
        raise DataError(f"{where} is not an IDX file of unsigned bytes (it begins with {raw[:4].hex() or 'nothing'}). "
                        "Get the file again, or remove it so that the next source is tried.")
    begin = 4 + 4 * raw[3]
    if len(raw) < begin:
        raise DataError(f"{where} ends within its IDX header. Get the file again.")
    shape = struct.unpack(f">{raw[3]}I", raw[4:begin])
    if (size := int(np.prod(shape, dtype=object))) != len(raw) - begin:
        raise DataError(f"{where} is truncated or damaged: its header promises {size} bytes ({'×'.join(map(str, shape))}), "
                        f"{len(raw) - begin} follow. Get the file again.")
    return np.frombuffer(raw, np.uint8, offset=begin).reshape(shape)


def serialise(array: UInt8[np.ndarray, "..."]) -> bytes:
    """The bytes of an IDX file holding `array`."""
    return bytes((0, 0, UNSIGNED_BYTE, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def differing(contents: Mapping[str, bytes], known: Manifest) -> list[str]:
    """The names of those IDX files whose content is not the published one."""
    return [name for name, md5 in known.idx.items() if hashlib.md5(contents[name]).hexdigest() != md5]


def decode(paths: Mapping[str, Path], known: Manifest) -> RawDataset:
    """The data set in the four files `paths` (published name -> where it lies). Raises DataError."""
    contents = {name: read_bytes(path) for name, path in paths.items()}
    splits = {split: _split(*((parse(contents[name], paths[name]), paths[name]) for name in names))
              for split, names in IDX_FILES.items()}
    changed = differing(contents, known)
    note = f"not the official files: {', '.join(changed)} differ{'s' if len(changed) == 1 else ''}" if changed else ""
    return RawDataset(known.classes, splits["train"], splits["test"], official=not changed, note=note)


def _split(images: tuple[np.ndarray, Path], labels: tuple[np.ndarray, Path]) -> Split:
    for (array, path), rank, meaning in ((images, 3, "images (N, height, width)"), (labels, 1, "labels (N,)")):
        if array.ndim != rank:
            raise DataError(f"{path} holds an array of rank {array.ndim}; {meaning} were expected. Get the file again.")
    if len(images[0]) != len(labels[0]):
        raise DataError(f"{images[1]} holds {len(images[0])} images but {labels[1]} holds {len(labels[0])} labels. "
                        "Get both files again, from one source.")
    return Split(torch.from_numpy(images[0][:, None].copy()), torch.from_numpy(labels[0].astype(np.int64)))
