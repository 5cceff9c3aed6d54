"""Pickles: verified before they are opened, and opened by a reader that admits arrays and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from speedcore.data import load, mirrors
from speedcore.data.dataset_files import NotFound
from speedcore.data.formats import cifar, idx
from speedcore.data.formats.unpickle import load_arrays
from speedcore.errors import DataError
from tests.speedcore.data.making import cifar_files, publish_cifar, tar, write


class Trap:
    """Pickles to a call that makes a folder when it is opened."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_trap_is_refused_and_does_not_spring(tmp_path: Path, protocol: int) -> None:
    hidden = {"data": [1, 2], "labels": [Trap(tmp_path / "sprung")]}
    with pytest.raises(DataError, match=f"data_batch_1 is not a pickle of arrays.*{os.mkdir.__module__}.mkdir"):
        load_arrays(pickle.dumps(hidden, protocol), "data_batch_1")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("raw", [
    b"cbuiltins\neval\n(V1\ntR.", b"cnumpy\nload\n(Vx\ntR.", b"cnumpy\nmemmap\n(Vx\ntR.", b"cos\nsystem\n(Vtrue\ntR.",
    b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", b"c_codecs\nencode\n(Vx\nVzip\ntR.",
    b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(I0\ntVb\ntR.", b"", b"\x80", b"not a pickle", b"(((", b"Pid\n.",
])
def test_everything_but_arrays_is_refused(raw: bytes) -> None:
    with pytest.raises(DataError, match="Nothing in it was run"):
        load_arrays(raw, "file")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_are_admitted(protocol: int) -> None:
    arrays = [np.arange(12, dtype=kind).reshape(3, 4) for kind in (np.uint8, np.float32, np.int64)]
    read = load_arrays(pickle.dumps({"data": arrays, "n": 3, "names": ("a", None)}, protocol), "file")
    assert all(np.array_equal(one, two) and one.dtype == two.dtype for one, two in zip(read["data"], arrays, strict=True))
    assert read["n"] == 3 and read["names"] == ("a", None)


def test_published_cifar_is_read_from_archive_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"cifar-10-batches-py/{name}": content for name, content in cifar_files().items()}
    archive = tar(tmp_path / "archive/cifar-10-python.tar.gz", files, "w:gz")
    publish_cifar(monkeypatch, cifar_files(), archive)
    for folder in (archive.parent, write(tmp_path / "folder", files)):
        dataset = load("cifar10", folder, offline=True)
        assert dataset.provenance.official and dataset.provenance.note == ""
        assert dataset.train.images.shape == (50, 3, 32, 32) and len(dataset.test) == 10
        assert dataset.train.images[:, 0, 0, 0].tolist() == [number for number in range(1, 6) for _ in range(10)]
        assert dataset.test.images.unique().tolist() == [0] and dataset.test.labels.tolist() == list(range(10))


def test_planes_are_red_green_blue_rows_first() -> None:
    batch = {"data": np.arange(3072, dtype=np.int64).reshape(1, 3072) % 251, "labels": [3]}
    contents = {"one": pickle.dumps({**batch, "data": batch["data"].astype(np.uint8)}, 2)}
    split = cifar._split(contents, ("one",), Path("x"))
    assert split.images[0, 2, 5, 7] == (2 * 1024 + 5 * 32 + 7) % 251


def test_unverified_cifar_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setattr(cifar, "load_arrays", lambda *args: opened.append(args))
    files = {f"cifar-10-batches-py/{name}": pickle.dumps(Trap(tmp_path / "sprung")) for name in cifar_files()}
    tar(tmp_path / "archive/cifar-10-python.tar.gz", files, "w:gz")
    write(tmp_path / "folder", files)
    for place, file in (("archive", "cifar-10-python.tar.gz"), ("folder", "data_batch_1")):
        with pytest.raises(DataError, match=f"{file} has the md5 .*was not opened"):
            load("cifar10", tmp_path / place, offline=True)
    assert not opened and not (tmp_path / "sprung").exists()


def test_truncated_official_archive_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "cifar-10-python.tar.gz", {"cifar-10-batches-py/data_batch_1": b"x"}, "w:gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cifar-10-python.tar.gz has the md5"):
        load("cifar10", tmp_path, offline=True)


def _mnist_pickle(labels: object = None) -> tuple[bytes, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (count, 784), dtype=np.uint8) for count in (5, 2, 3)]
    pairs = tuple((part.astype(np.float32) / 256, np.arange(len(part)) if labels is None else labels) for part in pixels)
    return gzip.compress(pickle.dumps(pairs, 2)), pixels


def test_mnist_member_becomes_idx_files() -> None:
    member, pixels = _mnist_pickle()
    files = mirrors.mnist_from_pickle(member, hashlib.sha256(member).hexdigest())
    images = idx.parse(files["train-images-idx3-ubyte"], "x")
    assert np.array_equal(images, np.concatenate(pixels[:2]).reshape(7, 28, 28))
    assert idx.parse(files["train-labels-idx1-ubyte"], "x").tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert np.array_equal(idx.parse(files["t10k-images-idx3-ubyte"], "x"), pixels[2].reshape(3, 28, 28))


def test_other_mnist_member_is_not_opened(tmp_path: Path) -> None:
    member = gzip.compress(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(NotFound, match="it was not opened"):
        mirrors.mnist_from_pickle(member)
    with pytest.raises(DataError, match="not a pickle of arrays"):
        mirrors.mnist_from_pickle(member, hashlib.sha256(member).hexdigest())
    assert not (tmp_path / "sprung").exists()
