"""What lies on disk is read without trust: names, files, JSON, arrays, folders with their manifest, records with their seal."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from speedcore.errors import Damaged, Notice, RunError
from speedcore.store import names, reading, records
from speedcore.store.fields import Name
from speedcore.store.folders import Folder, set_aside, staged


class Toy(BaseModel, extra="forbid"):
    """A record."""

    count: int
    name: Name = "a"


# --- names -----------------------------------------------------------------------------------------------------------

BAD_NAMES = ["", " ", ".", "..", "../x", "a/b", "/etc", "a\\b", "C:\\x", "C:x", "\\\\host\\share", "a\0b", "a\nb", "a\x7fb",
             ".hidden", "trailing.", "trailing ", " leading", "CON", "nul", "Aux.txt", "com1", "LPT9.tar.gz", "com¹", "a*b",
             "a?b", 'a"b', "a<b", "a|b", "a\u202eb", "a\u2028b", "a\ud800b", "x" * 181, "ü" * 91]
GOOD_NAMES = ["mnist-with-record-s0-1a2b3c4d5e", "shapes-corner0.9,seed1-without-dash-s12-0", "Fuß", "\u65e5\u672c", "console",
              "com10", "x" * 180, "a..b", "a b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_of_a_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a folder"):
        names.check(name)
    assert not names.valid(name)


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_what_is_a_name_passes_as_it_is(name: str, tmp_path: Path) -> None:
    assert names.check(name) == name
    (tmp_path / name).mkdir()
    assert [path.parent for path in tmp_path.iterdir()] == [tmp_path]


@given(st.text())
def test_a_name_that_passes_is_one_step_down_and_a_part_of_any_text_passes(text: str) -> None:
    if names.valid(text):
        assert Path(text).name == text and not Path(text).is_absolute() and os.path.normpath(text) == text
    assert names.valid(f"a{names.part(text)}b")


@pytest.mark.parametrize(("text", "passes"), [
    ("folder:/home/me/my pictures", True), ("two\nlines", False), ("bell\a", False), ("esc\x1b[2J", False), ("x" * 4097, False)])
def test_a_line_of_text_has_nothing_that_cannot_be_seen(text: str, passes: bool) -> None:
    if passes:
        assert names.check_text(text) == text
    else:
        with pytest.raises(ValueError):
            names.check_text(text)


# --- files -----------------------------------------------------------------------------------------------------------

def test_a_file_is_read_whole_or_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert reading.content(path, 5) == b"12345"
    assert reading.sha256_of(path, 5) == hashlib.sha256(b"12345").hexdigest()
    with pytest.raises(ValueError, match="5 bytes.*at most 4"):
        reading.content(path, 4)
    with path.open("r+b") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(ValueError, match="1,099,511,627,776 bytes"):
        reading.sha256_of(path, 1 << 30)


@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "missing", "link to nothing"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_text("secret")
    {"link": lambda: path.symlink_to(other), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "missing": lambda: None,
     "link to nothing": lambda: path.symlink_to(tmp_path / "nothing")}[kind]()
    with pytest.raises(ValueError, match="missing" if kind == "missing" else "no regular file"):
        reading.content(path, 1000)


@pytest.mark.parametrize(("text", "words"), [
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "integer of 5,000 digits"), (b'{"a": ' + b"9" * 21 + b"}", "integer of 21 digits"),
    (b"[1]", "no object"), (b'"a"', "no object"), (b"null", "no object"), (b'{"a": 1, "a": 2}', "twice"),
    (b'{"b": {"a": 1, "a": 2}}', "twice"), (b"{", "line 1"), (b"", "line 1"), (b'{"a": "\xff"}', "utf-8"),
    (b'\xef\xbb\xbf{}', "BOM")])
def test_json_that_is_no_record_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reading.json_object(text)


def test_json_that_is_one_is_read() -> None:
    assert reading.json_object(b'{"a": [1, {"b": -18446744073709551615}], "c": "\\u00e4"}') == {
        "a": [1, {"b": -(2**64) + 1}], "c": "ä"}


# --- arrays ----------------------------------------------------------------------------------------------------------

def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def archive(data: bytes, name: str = "a.npy", compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as made:
        made.writestr(name, data)
    return stream.getvalue()


def npy(header: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def test_arrays_are_read_as_they_were_written() -> None:
    written = {"a": np.arange(6).reshape(2, 3), "b": np.float32([np.nan, np.inf, -0.0]), "c": np.zeros((0, 4), bool),
               "d": np.array(1.5), "e": np.arange(6.0).reshape(2, 3).T,
               "f": np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 1, 0)}
    found = reading.arrays(npz(**written))
    assert found.keys() == written.keys()
    for name, values in written.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f")
        assert np.array_equal(np.signbit(found[name] * 1.0), np.signbit(values * 1.0))
        found[name][...] = 0  # a copy of their own, which may be written to


def said(header: str, data: bytes = b"") -> bytes:
    """An archive of one array whose header says so."""
    return archive(npy(header + " }\n", data))


@pytest.mark.parametrize(("data", "words"), [
    (archive(b"\0" * 10_000_000, compression=zipfile.ZIP_DEFLATED), "compressed"),
    (said("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,),"), "shape .1000000000000,., and has 0 bytes"),
    (said("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2),", b"\0" * 16), "plain numbers"),
    (said("{'descr': '|O', 'fortran_order': False, 'shape': (1,),", b"\x80\x04N."), "plain numbers"),
    (said("{'descr': '<U4', 'fortran_order': False, 'shape': (1,),", b"\0" * 16), "plain numbers"),
    (said("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 2),", b"\0" * 16), "plain numbers"),
    (said("{'descr': '<f4'" + " " * 20_000), "plain numbers"), (said("(" * 3000), "plain numbers"),
    (archive(b"\x93NUMPY\x02\x00"), "plain numbers"), (archive(b""), "plain numbers"),
    (archive(npz(a=np.zeros(3)), name="../../a"), "no array"), (npz(a=np.zeros(100))[:-50], "zip"), (b"", "zip"), (b"PK", "zip")])
def test_arrays_that_were_not_written_here_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reading.arrays(data)


def test_two_arrays_of_one_name_are_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made, pytest.warns(UserWarning, match="Duplicate"):
        for value in (1, 2):
            made.writestr("a.npy", zipfile.ZipFile(io.BytesIO(npz(a=np.array(value)))).read("a.npy"))
    with pytest.raises(ValueError, match="twice"):
        reading.arrays(stream.getvalue())


# --- folders ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with staged(tmp_path / "made") as scratch:
        (scratch / "one").write_bytes(b"1")
        (scratch / "two").write_bytes(b"22")
    return tmp_path / "made"


def opened(path: Path) -> list[bytes]:
    found = Folder(path, ("one", "two"), "make it again")
    found.check("two", 10)
    return [found.content(file, 10)[0] for file in ("one", "two")]


def test_a_manifest_is_what_sha256sum_makes_and_checks(folder: Path) -> None:
    assert opened(folder) == [b"1", b"22"]
    subprocess.run(["sha256sum", "--check", "--strict", "manifest.sha256"], cwd=folder, check=True, capture_output=True)
    made = subprocess.run(["sha256sum", "one", "two"], cwd=folder, check=True, capture_output=True).stdout
    assert (folder / "manifest.sha256").read_bytes() == made


def manifest(change):
    """A change of the manifest's text."""
    def apply(folder: Path) -> None:
        path = folder / "manifest.sha256"
        path.write_text(change(path.read_text()))
    return apply


@pytest.mark.parametrize(("change", "file"), [
    (lambda f: (f / "one").write_bytes(b"2"), "one"), (lambda f: (f / "two").write_bytes(b"222"), "two"),
    (lambda f: (f / "two").unlink(), "two"), (lambda f: (f / "one").unlink() or (f / "one").symlink_to(f / "two"), "one"),
    (lambda f: (f / "manifest.sha256").write_bytes(b"\xff" * 70), "manifest"), (manifest(lambda text: ""), "manifest"),
    (manifest(str.upper), "manifest"), (manifest(lambda text: text + "\n"), "manifest"),
    (manifest(lambda text: text.replace("one", "../one")), "manifest"),
    (manifest(lambda text: text.splitlines()[0] + "\n"), "manifest")])
def test_what_is_not_what_was_written_is_named_with_its_file_and_a_cure(folder: Path, change, file: str) -> None:
    change(folder)
    with pytest.raises(Damaged, match=rf"{file}.* is damaged: .*; make it again\.") as raised:
        opened(folder)
    assert raised.value.path == folder


def test_files_that_a_file_manager_leaves_are_no_damage(folder: Path) -> None:
    (folder / ".DS_Store").write_bytes(b"x")
    assert opened(folder) == [b"1", b"22"]


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "link", "link to nothing"])
def test_what_stands_is_never_replaced(tmp_path: Path, kind: str) -> None:
    final, other = tmp_path / "final", tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("mine")
    {"folder": lambda: final.mkdir() or (final / "mine").write_text("mine"), "empty folder": final.mkdir,
     "file": lambda: final.write_text("mine"), "link": lambda: final.symlink_to(other),
     "link to nothing": lambda: final.symlink_to(tmp_path / "nothing")}[kind]()

    def state() -> list:
        return sorted((str(path), path.is_symlink(), path.is_file() and path.read_text()) for path in tmp_path.rglob("*"))

    before = state()
    with pytest.raises(RunError, match="final is there already, and nothing that is there is replaced"), staged(final):
        raise AssertionError("nothing is to be made that cannot be kept")
    assert state() == before


def test_what_appears_meanwhile_is_not_replaced_either(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there already"), staged(tmp_path / "final") as scratch:
        (scratch / "file").write_text("new")
        (tmp_path / "final").mkdir()
        (tmp_path / "final" / "mine").write_text("mine")
    assert {path.name for path in tmp_path.rglob("*")} == {"final", "mine"}


def test_what_is_set_aside_is_kept_whole_as_often_as_it_happens(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "file").write_text(str(number))
        set_aside(tmp_path / "run")
    kept = {path.parent.name: path.read_text() for path in (tmp_path / "set-aside").glob("*/file")}
    assert kept == {"run": "0", "run-2": "1", "run-3": "2"}


def test_what_cannot_be_set_aside_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "set-aside").write_text("in the way")
    with pytest.raises(RunError, match="run is damaged and cannot be moved"):
        set_aside(tmp_path / "run")
    assert (tmp_path / "run").is_dir()


# --- records of one file ---------------------------------------------------------------------------------------------

def test_a_record_is_read_as_it_was_written_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "record.json"
    for count in (1, 2):
        assert records.write(path, Toy(count=count)) == path
        assert records.read(path, Toy) == Toy(count=count)
        body, seal = path.read_bytes().rsplit(b',\n "sha256": ', 1)
        assert json.loads(seal.removesuffix(b"\n}\n")) == hashlib.sha256(body).hexdigest()
    assert [found.name for found in path.parent.iterdir()] == ["record.json"]
    assert records.read(tmp_path / "other.json", Toy) is None


def test_every_flipped_bit_of_a_record_is_noticed(tmp_path: Path) -> None:
    path = records.write(tmp_path / "record.json", Toy(count=1000))
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(harmed)
        with pytest.raises(Damaged, match="record.json is damaged"):
            records.read(path, Toy)


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"count": "1"}', '{"count": true}', '{"count": 1.5}', '{"count": NaN}', '{"count": 1, "more": 2}',
    '{"count": 1, "name": "../x"}', '{"count": 1, "name": "\\ud800"}', '{"count": 1, "sha256": "0"}'])
def test_an_unsealed_record_is_taken_if_it_is_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text('{"count": 1}')
    assert records.read(path, Toy) == Toy(count=1)
    path.write_text(text)
    with pytest.raises(Damaged, match="record.json is damaged"):
        records.read(path, Toy)
    with pytest.warns(Notice, match="left out"):
        assert records.look(path, Toy) is None
    assert path.read_text() == text
    with pytest.warns(Notice, match="set aside"):
        assert records.take(path, Toy) is None
    assert not path.exists() and (tmp_path / "set-aside" / "record.json").read_text() == text


def test_what_is_not_ours_is_set_aside_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("mine")
    with pytest.warns(Notice, match="in the way"):
        records.write(path, Toy(count=1))
    assert records.read(path, Toy) == Toy(count=1)
    assert (tmp_path / "set-aside" / "record.json").read_text() == "mine"


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = records.write(tmp_path / "record.json", Toy(count=1))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="record.json: No space left"):
        records.write(path, Toy(count=2))
    assert records.read(path, Toy) == Toy(count=1) and [found.name for found in tmp_path.iterdir()] == ["record.json"]
