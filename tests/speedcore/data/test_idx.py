"""IDX files: the format, the checksums, and every way in which one can be wrong."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given

from speedcore import limits
from speedcore.data import load
from speedcore.data.formats import idx
from speedcore.data.sets import KNOWN
from speedcore.errors import DataError
from tests.speedcore.data.making import idx_files, publish_idx, write

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_no_more_is_read_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(gzip.compress(bytes(1000)) if suffix else bytes(1000))
    monkeypatch.setattr(limits, "IDX_BYTES", 1000)
    assert idx.read_bytes(path) == bytes(1000)
    monkeypatch.setattr(limits, "IDX_BYTES", 999)
    with pytest.raises(DataError, match="holds more than 999 bytes"):
        idx.read_bytes(path)


def test_format_as_defined() -> None:
    raw = bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3) + bytes([1, 2, 3, 4, 5, 6])
    assert idx.parse(raw, "x").tolist() == [[1, 2, 3], [4, 5, 6]]
    assert idx.serialise(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)) == raw


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_what_is_written_is_read(array: np.ndarray) -> None:
    assert np.array_equal(idx.parse(idx.serialise(array), "x"), array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "mnist", "MNIST/raw", "MNIST"])
def test_found_in_every_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, packed: bool) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "mnist", files)
    write(tmp_path / place, files, packed)
    dataset = load("mnist", tmp_path, offline=True)
    assert dataset.provenance.official and dataset.provenance.note == ""
    assert dataset.train.images.shape == (20, 1, 28, 28) and len(dataset.test) == 10
    assert np.array_equal(dataset.train.images[:, 0].numpy(), idx.parse(files[IMAGES], "x"))
    assert dataset.train.labels.tolist() == idx.parse(files[LABELS], "x").tolist()
    assert dataset.classes == tuple("0123456789")


def test_dotted_names_are_read(tmp_path: Path) -> None:
    write(tmp_path, {name.replace("-idx", ".idx"): content for name, content in idx_files().items()})
    assert len(load("mnist", tmp_path, offline=True).train) == 20


def test_other_content_is_used_and_marked(tmp_path: Path) -> None:
    write(tmp_path / "mnist", idx_files(), packed=True)
    provenance = load("mnist", tmp_path, offline=True).provenance
    assert not provenance.official
    assert provenance.note.startswith("not the official files: ")
    assert all(name in provenance.note for name in KNOWN["mnist"].idx)


def test_only_the_changed_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "mnist", files)
    changed = bytearray(files[IMAGES])
    changed[-1] ^= 1
    write(tmp_path / "mnist", {**files, IMAGES: bytes(changed)})
    provenance = load("mnist", tmp_path, offline=True).provenance
    assert not provenance.official and provenance.note == f"not the official files: {IMAGES} differs"


def test_the_other_set_is_told_by_its_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST and Fashion-MNIST name their files alike: in a folder that names neither, content decides."""
    files = idx_files()
    publish_idx(monkeypatch, "fashion-mnist", files)
    write(tmp_path, files)
    assert load("fashion-mnist", tmp_path, offline=True).provenance.official
    with pytest.raises(DataError, match="is not available"):
        load("mnist", tmp_path, offline=True)


def _cut(raw: bytes) -> bytes:
    return raw[:-1]


@pytest.mark.parametrize(("file", "packed", "damage", "says"), [
    (IMAGES, False, _cut, "truncated"),
    (IMAGES, True, lambda raw: gzip.compress(raw)[:-20], "damaged or incomplete"),
    (IMAGES, True, lambda raw: b"no gzip at all", "damaged or incomplete"),
    (IMAGES, True, lambda raw: gzip.compress(raw)[:40] + bytes(200), "damaged or incomplete"),
    (LABELS, False, lambda raw: b"", "not an IDX file"),
    (LABELS, False, lambda raw: b"<html>", "not an IDX file"),
    (LABELS, False, lambda raw: b"\0\0\x0d\1" + raw[4:], "not an IDX file of unsigned bytes"),
    (LABELS, False, lambda raw: raw[:6], "within its IDX header"),
    (LABELS, False, lambda raw: idx.serialise(np.zeros(19, np.uint8)), "20 images .* 19 labels"),
    (LABELS, False, lambda raw: idx.serialise(np.zeros((20, 1), np.uint8)), "rank 2"),
])
def test_damage_is_one_message_that_names_the_file(tmp_path: Path, file, packed, damage, says) -> None:
    files = idx_files()
    write(tmp_path / "mnist", files)
    path = tmp_path / "mnist" / (f"{file}.gz" if packed else file)
    (tmp_path / "mnist" / file).unlink()
    path.write_bytes(damage(files[file]))
    with pytest.raises(DataError, match=says) as caught:
        load("mnist", tmp_path, offline=True)
    assert str(path) in str(caught.value)


def test_label_outside_the_classes(tmp_path: Path) -> None:
    write(tmp_path / "mnist", {**idx_files(), LABELS: idx.serialise(np.full(20, 10, np.uint8))})
    with pytest.raises(DataError, match="outside 0..9"):
        load("mnist", tmp_path, offline=True)


def test_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "mnist", idx_files())
    (tmp_path / "mnist" / LABELS).unlink()
    with pytest.raises(DataError, match=f"lacks {LABELS}"):
        load("mnist", tmp_path, offline=True)
