"""Decoded copies: equal to what they copy, verified when read, never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from speedcore.data import load
from speedcore.data.cache import Cache
from speedcore.data.dataset import Split
from speedcore.data.dataset_files import RawDataset
from speedcore.data.formats import pictures
from tests.speedcore.data.making import class_folders, image, tar, write


def _decoded() -> RawDataset:
    splits = (Split(torch.randint(0, 256, (n, 3, 4, 5), dtype=torch.uint8), torch.arange(n) % 2, torch.rand(n, 4, 5) < 0.5)
              for n in (6, 3))
    return RawDataset(("a", "b"), *splits, official=False, note="a note")


def _same(one: RawDataset, two: RawDataset) -> bool:
    tensors = [[getattr(split, part) for split in (it.train, it.test) for part in ("images", "labels", "masks")]
               for it in (one, two)]
    return all(map(torch.equal, *tensors)) and (one.classes, one.official, one.note) == (two.classes, two.official, two.note)


def test_copy_is_equal(tmp_path: Path) -> None:
    decoded, cache = _decoded(), Cache.at(tmp_path)
    assert cache.read("key") is None
    cache.write("key", decoded)
    assert _same(cache.read("key"), decoded)
    assert [path.name for path in (tmp_path / "decoded").iterdir()] == ["key.safetensors"]


@pytest.mark.parametrize("where", [3, 100, -1, -40, "cut", "empty"])
def test_damaged_copy_is_not_used(tmp_path: Path, where: int | str) -> None:
    cache = Cache.at(tmp_path)
    cache.write("key", _decoded())
    path = tmp_path / "decoded" / "key.safetensors"
    raw = bytearray(path.read_bytes())
    if isinstance(where, int):
        raw[where] ^= 1
    path.write_bytes({"cut": raw[:-1], "empty": b""}.get(where, raw))
    assert cache.read("key") is None


def test_second_load_decodes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "pets.tar", class_folders())
    first = load(f"folder:{path}", cache=tmp_path / "cache")
    monkeypatch.setattr(pictures, "decode", lambda *args: pytest.fail("decoded again"))
    second = load(f"folder:{path}", cache=tmp_path / "cache")
    assert second.fingerprint == first.fingerprint and second.provenance.note == first.provenance.note


@pytest.mark.parametrize("packed", [False, True])
def test_changed_content_is_decoded_again(tmp_path: Path, packed: bool) -> None:
    def made(files: dict[str, bytes]) -> str:
        return f"folder:{tar(tmp_path / 'pets.tar', files) if packed else write(tmp_path / 'pets', files)}"

    first = load(made(class_folders()), cache=tmp_path / "cache")
    second = load(made({**class_folders(), "train/cat/0001.png": image(200)}), cache=tmp_path / "cache")
    assert first.fingerprint != second.fingerprint and second.train.images[1].unique().tolist() == [200]


def test_unwritable_cache_costs_time_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    path = tar(tmp_path / "pets.tar", class_folders())
    assert len(load(f"folder:{path}", cache=tmp_path / "file" / "cache").train) == 6
    assert "no decoded copy kept" in caplog.text


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path / "environment"))
    assert Cache.at(tmp_path / "given").root == tmp_path / "given"
    assert Cache.at().root == tmp_path / "environment"
    monkeypatch.delenv("SPEEDCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert Cache.at().root.is_relative_to(tmp_path / "home") and Cache.at().root.name == "speedcore"
