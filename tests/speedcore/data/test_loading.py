"""Where a data set is looked for and in which order, what is said where it is not, and what is kept for the next time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from speedcore import data as package
from speedcore.clock import Ledger, Phase
from speedcore.data import NAMES, available, describe, load, loading, locate, mirrors
from speedcore.data.dataset_files import NotFound
from speedcore.data.sources import Source
from speedcore.errors import DataError
from tests.speedcore.data.making import CIFAR_CLASSES, class_folders, idx_files, publish, publish_idx, tar, write


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPEEDCORE_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network, and programs that use one, that must not be touched."""
    touched = []
    for owner, name in ((socket, "socket"), (socket, "getaddrinfo"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, lambda *args, name=name, **how: touched.append(name))
    monkeypatch.setattr(mirrors, "DEBIAN_FOLDER", Path("/nowhere"))
    yield
    assert touched == []


def _sources(monkeypatch: pytest.MonkeyPatch, *outcomes: dict[str, bytes] | str) -> list[str]:
    """Let MNIST's sources give these files, or fail for these reasons; returns the titles of those asked."""
    asked: list[str] = []

    def source(title: str, outcome: dict[str, bytes] | str) -> Source:
        def get(name: str, offline: bool) -> dict[str, bytes]:
            asked.append(title)
            if isinstance(outcome, str):
                raise NotFound(outcome)
            return outcome
        return Source(title, get)

    publish(monkeypatch, "mnist", sources=tuple(source(f"source {number}", outcome) for number, outcome in enumerate(outcomes)))
    return asked


def test_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The given folder, then the environment's, then the cache, then one source after the other."""
    given, environment, cached, obtained = (idx_files(seed) for seed in range(4))
    publish_idx(monkeypatch, "mnist", obtained)
    asked = _sources(monkeypatch, "closed", obtained, given)
    write(tmp_path / "given", given)
    write(tmp_path / "environment", environment)
    expected = {key: load("mnist", write(tmp_path / f"alone-{key}", files)).fingerprint
                for key, files in (("given", given), ("environment", environment), ("cached", cached), ("obtained", obtained))}
    assert not asked

    write(cache / "mnist", cached)
    monkeypatch.setenv("SPEEDCORE_DATA", str(tmp_path / "environment"))
    assert load("mnist", tmp_path / "given").fingerprint == expected["given"]
    assert load("mnist").fingerprint == expected["environment"]
    monkeypatch.delenv("SPEEDCORE_DATA")
    assert load("mnist").fingerprint == expected["cached"]
    assert not asked
    for path in (cache / "mnist").iterdir():
        path.unlink()
    dataset = load("mnist")
    assert dataset.fingerprint == expected["obtained"] and asked == ["source 0", "source 1"]
    assert dataset.provenance.official and dataset.provenance.source == "IDX files from source 1"


def test_obtained_files_are_kept_and_the_next_time_needs_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch, request) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "mnist", files)
    asked = _sources(monkeypatch, files)
    first = load("mnist")
    assert {path.name: path.read_bytes() for path in (cache / "mnist").iterdir()} == {**files, "source.txt": b"source 0"}
    assert [path.name for path in cache.iterdir()] == ["mnist"]
    request.getfixturevalue("no_network")
    assert load("mnist", offline=True).fingerprint == load("mnist").fingerprint == first.fingerprint
    assert asked == ["source 0"]


def test_source_that_gives_other_bytes_is_passed_over(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = idx_files()
    publish_idx(monkeypatch, "mnist", good)
    changed = bytearray(good["train-labels-idx1-ubyte"])
    changed[-1] ^= 1
    asked = _sources(monkeypatch, {**good, "train-labels-idx1-ubyte": bytes(changed)}, good)
    assert load("mnist").provenance.official and asked == ["source 0", "source 1"]
    asked = _sources(monkeypatch, {**good, "train-labels-idx1-ubyte": bytes(changed)})
    with pytest.raises(DataError, match=r"source 0: it gave other bytes than the official ones \(train-labels"):
        load("mnist", cache=cache / "other")
    assert not (cache / "other").exists()


def test_every_place_is_named_with_its_reason(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _sources(monkeypatch, "the door is shut", "the shop is empty")
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError) as caught:
        load("mnist", tmp_path / "given")
    message = str(caught.value)
    for part in ("data set 'mnist' is not available", f"{tmp_path / 'given'} holds neither", f"the user cache: {cache}",
                 "source 0: the door is shut", "source 1: the shop is empty", "What to do: put train-images-idx3-ubyte"):
        assert part in message
    with pytest.raises(DataError, match="--data and SPEEDCORE_DATA: not given"):
        load("mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_offline_touches_no_network(cache: Path, no_network: None, name: str) -> None:
    with pytest.raises(DataError, match="not tried offline.*(?s:.*)without --offline"):
        load(name, offline=True)


def test_damage_in_the_given_folder_is_no_reason_to_look_elsewhere(tmp_path: Path, cache: Path) -> None:
    write(cache / "mnist", idx_files())
    write(tmp_path / "mnist", {**idx_files(), "t10k-labels-idx1-ubyte": b"?"})
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is not an IDX file"):
        load("mnist", tmp_path)


def test_given_folder_must_exist(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="given as --data, does not exist"):
        load("mnist", tmp_path / "nowhere")
    monkeypatch.setenv("SPEEDCORE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="given as SPEEDCORE_DATA, does not exist"):
        load("mnist")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(DataError, match="file.txt is neither a folder nor an archive"):
        load("mnist", tmp_path / "file.txt")


def test_given_archive_serves_the_set_that_it_names(tmp_path: Path, cache: Path) -> None:
    path = tar(tmp_path / "cifar10-few.tar", class_folders(CIFAR_CLASSES, 1, 1))
    assert len(load("cifar10", path, offline=True).train) == 10
    with pytest.raises(DataError, match="is another data set, by its name"):
        load("mnist", path, offline=True)


def test_unwritable_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "mnist", files)
    _sources(monkeypatch, files)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cache .*file.* cannot be written.*SPEEDCORE_CACHE"):
        load("mnist", cache=tmp_path / "file" / "cache")


def test_time_is_charged_to_provision_and_load(tmp_path: Path, cache: Path) -> None:
    ticks = iter(range(1000))
    ledger = Ledger(carried={"load": 50.0}, clock=lambda: float(next(ticks)))
    dataset = load("mnist", write(tmp_path / "mnist", idx_files()).parent, ledger=ledger)
    assert set(dataset.provenance.seconds) == {"provision", "load"}
    assert all(seconds > 0 for seconds in dataset.provenance.seconds.values())
    assert ledger.seconds()[Phase.LOAD] == 50 + dataset.provenance.seconds["load"]


@pytest.mark.parametrize(("name", "says"), [
    ("minst", "unknown data set 'minst' .did you mean mnist?"), ("MNIST", "did you mean mnist?"),
    ("fashion_mnist", "did you mean fashion-mnist?"), ("xyz", "Known: mnist, fashion-mnist, cifar10, shapes"),
    ("folder:", "unknown data set"), ("shapes:centre=1", "is not a name of made shapes"), ("shapes:corner=x", "is not a name"),
    ("shapes:", "is not a name"), ("shapes:hue=2", "outside 0..1"),
])
def test_bad_names(cache: Path, name: str, says: str) -> None:
    for call in (load, loading.check_name):
        with pytest.raises(DataError, match=says):
            call(name)
    assert says.split(".")[0] in locate(name).reason.replace("(", ".") or not locate(name).found


def test_listing(tmp_path: Path, cache: Path) -> None:
    write(tmp_path / "mnist", idx_files())
    row = describe("mnist", tmp_path)
    dataset = load("mnist", tmp_path)
    assert row.found and not row.official and row.reason == "" and row.note.startswith("not the official files")
    assert (row.size, row.train, row.test, row.path) == ((1, 28, 28), 20, 10, tmp_path / "mnist")
    assert (row.mean, row.std, row.fingerprint) == (dataset.mean, dataset.std, dataset.fingerprint)
    missing = describe("cifar10", tmp_path, offline=True)
    assert not missing.found and "is not available" in missing.reason and missing.train == 0
    rows = {row.name: row for row in available(tmp_path)}
    assert tuple(rows) == NAMES == loading.NAMES
    assert [name for name, row in rows.items() if row.found] == ["mnist", "shapes"]
    assert "torchvision's download" in rows["cifar10"].reason


# --- folders by their own name ---------------------------------------------------------------------------------------

def test_the_name_of_a_folder_is_its_own_and_its_content_is_its_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "marker-of-the-builder"
    made = load(f"folder:{write(marker / 'pets', class_folders())}")
    moved = load(f"folder:{write(tmp_path / 'elsewhere' / 'pets', class_folders())}")
    renamed = load(f"folder:{write(tmp_path / 'animals', class_folders())}")
    assert (made.name, moved.name, renamed.name) == ("folder:pets", "folder:pets", "folder:animals")
    assert made.fingerprint == moved.fingerprint == renamed.fingerprint
    for text in (made.name, made.summary, repr(made.provenance), repr(locate(f"folder:{marker / 'pets'}").name)):
        assert marker.name not in text
    monkeypatch.chdir(marker / "pets")
    assert load("folder:.").name == "folder:pets" == load("folder:../pets").name


def test_a_recorded_name_is_found_again_in_the_folder_that_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPEEDCORE_DATA", raising=False)
    made = load(f"folder:{write(tmp_path / 'data' / 'pets', class_folders())}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="give --data the folder that it lies in"):
        load(made.name)
    for data in (tmp_path / "data", tmp_path / "data" / "pets"):
        assert load(made.name, data).fingerprint == made.fingerprint
    monkeypatch.setenv("SPEEDCORE_DATA", str(tmp_path / "data"))
    assert load(made.name).fingerprint == made.fingerprint
    write(tmp_path / "pets", class_folders(train=5))  # what the name says here comes first
    assert len(load(made.name).train) == 10


@pytest.mark.parametrize("text", ["~nobody-has-this-name/x", "x" * 260, "a/" * 130 + "x" * 300, "a\0b"])
def test_paths_that_can_be_none(text: str) -> None:
    for call in (lambda: load(f"folder:{text}"), lambda: load("mnist", text, offline=True)):
        with pytest.raises(DataError):
            call()
    assert not describe(f"folder:{text}").found


def test_what_is_neither_folder_nor_archive(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    os.mkfifo(tmp_path / "pipe.zip")
    for name in ("notes.txt", "pipe.zip"):
        with pytest.raises(DataError, match=f"{name} is neither a folder nor an archive"):
            load(f"folder:{tmp_path / name}")


def test_a_summary_names_classes_and_counts(tmp_path: Path) -> None:
    dataset = load(f"folder:{write(tmp_path / 'pets', {**class_folders(), 'README': b''})}")
    assert dataset.summary.startswith("folder:pets: class folders in pets. 6 training and 4 test images of 2 classes: cat, dog. "
                                      "11 files found: 10 used, 1 left out (1 no image by its name")
    many = load(f"folder:{write(tmp_path / 'many', class_folders(tuple(f'c{i}' for i in range(60)), 1, 1, size=(2, 2)))}")
    assert "of 60 classes: c0, c1, " in many.summary and ", c38, …, c59." in many.summary


def test_package_is_light_and_complete() -> None:
    code = "import sys, speedcore.data as d; assert d.NAMES; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        package.lode  # noqa: B018
