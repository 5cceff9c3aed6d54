"""CIFAR-10 as it is published: pickles, alone or in an archive. Opened only where their checksums are the published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from speedcore import limits
from speedcore.data.dataset import Split
from speedcore.data.dataset_files import RawDataset
from speedcore.data.formats.archives import of_archive
from speedcore.data.formats.unpickle import load_arrays
from speedcore.data.published import CIFAR_FILES, Manifest
from speedcore.errors import DataError

REFUSED = ("CIFAR-10's files are pickles, and a pickle that is not the published one could run anything, so it was not "
           "opened. Get the published file again, remove it, or give the images as class folders of PNG.")


def archive_key(path: Path) -> str:
    """Names the content of the archive, or of the folder of extracted pickles, `path`."""
    digest = hashlib.sha256(b"cifar10-1")
    for file in [path] if path.is_file() else [path / name for names in CIFAR_FILES.values() for name in names]:
        digest.update(_read(file))
    return digest.hexdigest()


def decode(path: Path, known: Manifest) -> RawDataset:
    """The data set in the archive, or the folder of extracted pickles, `path`. Raises DataError if not the published."""
    names = [name for split in CIFAR_FILES.values() for name in split]
    if path.is_dir():
        contents = {name: _read(path / name) for name in names}
    else:
        _verify(hashlib.md5(_read(path)).hexdigest(), known.archive_md5, path)
        tree = of_archive(path)
        wanted = [entry.name for entry in tree.entries if not entry.fault and Path(entry.name).name in names]
        contents = {Path(name).name: content for name, content in tree.read(wanted)}
        if missing := [name for name in names if name not in contents]:
            raise DataError(f"{path} lacks {', '.join(missing)}. Get the archive again.")
    for name in names:
        _verify(hashlib.md5(contents[name]).hexdigest(), known.pickles[name], path / name)
    splits = {split: _split(contents, files, path) for split, files in CIFAR_FILES.items()}
    return RawDataset(known.classes, splits["train"], splits["test"], official=True)


def _read(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > limits.PUBLISHED_BYTES:
            raise DataError(f"{path} has {limits.size_of(size)} and cannot be the published file. {REFUSED}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). The published archive holds it; extract "
                        "the archive again.") from error


def _verify(md5: str, expected: str, path: Path) -> None:
    if md5 != expected:
        raise DataError(f"{path} has the md5 {md5}, the published file has {expected}. {REFUSED}")


def _split(contents: Mapping[str, bytes], files: tuple[str, ...], path: Path) -> Split:
    batches = [load_arrays(contents[name], path / name) for name in files]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([batch["labels"] for batch in batches])
    return Split(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels.astype(np.int64)))
