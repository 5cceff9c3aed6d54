"""Small data sets in every form that is read, made for the tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from speedcore.data import sets
from speedcore.data.formats.idx import serialise
from speedcore.data.published import CIFAR_FILES, IDX_FILES

CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def idx_files(seed: int = 0, train: int = 20, test: int = 10) -> dict[str, bytes]:
    """Four IDX files of random 28×28 images, every digit among the labels."""
    rng = np.random.default_rng(seed)
    files = {}
    for split, count in (("train", train), ("test", test)):
        images, labels = IDX_FILES[split]
        files[images] = serialise(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        files[labels] = serialise((np.arange(count) % 10).astype(np.uint8))
    return files


def write(folder: Path, files: Mapping[str, bytes], packed: bool = False) -> Path:
    for name, content in files.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def publish(monkeypatch: pytest.MonkeyPatch, name: str, **changes: object) -> None:
    """For the length of a test, let `changes` be what is known of the published set `name`."""
    monkeypatch.setitem(sets.KNOWN, name, replace(sets.KNOWN[name], **changes))


def publish_idx(monkeypatch: pytest.MonkeyPatch, name: str, files: Mapping[str, bytes]) -> None:
    publish(monkeypatch, name, idx={file: hashlib.md5(content).hexdigest() for file, content in files.items()})


def image(value: int, size: tuple[int, int] = (8, 6), mode: str = "RGB", suffix: str = "png") -> bytes:
    """An image of one grey level, (width, height) pixels."""
    stream = io.BytesIO()
    colour = {"L": value, "RGB": (value,) * 3, "RGBA": (value, value, value, 255)}.get(mode, value)
    Image.new(mode, size, colour).save(stream, {"png": "PNG", "jpg": "JPEG"}[suffix])
    return stream.getvalue()


def class_folders(classes: tuple[str, ...] = ("cat", "dog"), train: int = 3, test: int = 2, **how: object) -> dict[str, bytes]:
    """Files of class folders. The grey level of an image is 20·class + its number, plus 100 in the test split."""
    return {f"{split}/{name}/{number:04}.png": image(20 * label + number + 100 * (split == "test"), **how)
            for split, count in (("train", train), ("test", test))
            for label, name in enumerate(classes) for number in range(count)}


def tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def cifar_files(count: int = 10) -> dict[str, bytes]:
    """Pickles laid out as CIFAR-10's, `count` images a file; each image's pixels are its file's number, or 0 for test."""
    files = {}
    for number, name in enumerate((*CIFAR_FILES["test"], *CIFAR_FILES["train"])):
        batch = {"data": np.full((count, 3072), number, np.uint8), "labels": [i % 10 for i in range(count)]}
        files[name] = pickle.dumps(batch, protocol=2)
    return files


def publish_cifar(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes], archive: Path | None = None) -> None:
    publish(monkeypatch, "cifar10", pickles={name: hashlib.md5(content).hexdigest() for name, content in files.items()},
            archive_md5=hashlib.md5(archive.read_bytes()).hexdigest() if archive else "")
