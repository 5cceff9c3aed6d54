"""Archives and folders as trees: links, odd members, and small files that would cost much."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from speedcore import limits
from speedcore.data import load
from speedcore.data.folder.folders import survey
from speedcore.data.folder.tree import of_folder
from speedcore.data.formats.archives import of_archive
from speedcore.errors import DataError
from tests.speedcore.data.making import class_folders, image, tar, write, zipped


def tar_of(path: Path, members: list[tuple[str, bytes | str]], kinds: dict[str, bytes] | None = None) -> Path:
    """A tar of files (bytes) and of links to a target (text), symbolic unless `kinds` says otherwise."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                member.type, member.linkname = (kinds or {}).get(name, tarfile.SYMTYPE), content
                archive.addfile(member)
    return path


def zip_of(path: Path, members: list[tuple[str, bytes | str]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.external_attr = (0o120777 if isinstance(content, str) else 0o100644) << 16
            archive.writestr(member, content)
    return path


def disk_of(path: Path, members: list[tuple[str, bytes | str]]) -> Path:
    for name, content in members:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            (path / name).symlink_to(content)
    return path


def contents(tree) -> dict[str, bytes]:
    return dict(tree.read([entry.name for entry in tree.entries if not entry.fault]))


LINKED = [("pool/a.png", b"a"), ("pool/deep/b.png", b"b"), ("train/cat/1.png", "../../pool/a.png"), ("train/dog", "../pool/deep"),
          ("train/cat/2.png", "1.png"), ("test", "train"), ("train/cat/gone.png", "nowhere.png"), ("train/cat/up", "..")]


def test_links_are_followed_inside_an_archive_as_on_a_disk(tmp_path: Path) -> None:
    trees = [of_folder(disk_of(tmp_path / "disk", LINKED)), of_archive(tar_of(tmp_path / "a.tar", LINKED)),
             of_archive(zip_of(tmp_path / "a.zip", LINKED))]
    expected = {"pool/a.png": b"a", "pool/deep/b.png": b"b", "train/cat/1.png": b"a", "train/cat/2.png": b"a",
                "train/dog/b.png": b"b", "test/cat/1.png": b"a", "test/cat/2.png": b"a", "test/dog/b.png": b"b"}
    for tree in trees:
        assert contents(tree) == expected
        faults = {entry.name: entry.fault for entry in tree.entries if entry.fault}
        assert set(faults) == {"train/cat/gone.png", "train/cat/up", "test/cat/gone.png", "test/cat/up"}
        assert faults["train/cat/gone.png"] == "a link that leads nowhere"
        assert faults["train/cat/up"] == "a link back to a folder that it lies in"


def test_hard_links_and_links_out_of_a_tar(tmp_path: Path) -> None:
    members = [("cat/1.png", b"one"), ("dog/2.png", "cat/1.png"), ("dog/3.png", "/etc/passwd"), ("dog/4.png", "../../secret.png"),
               ("dog/5.png", "dog/5.png")]
    tree = of_archive(tar_of(tmp_path / "a.tar", members, {"dog/2.png": tarfile.LNKTYPE, "dog/5.png": tarfile.LNKTYPE}))
    assert contents(tree) == {"cat/1.png": b"one", "dog/2.png": b"one"}
    assert {entry.name: entry.fault for entry in tree.entries if entry.fault} == {
        "dog/3.png": "a link that leads out of the archive", "dog/4.png": "a link that leads out of the archive",
        "dog/5.png": "a link that leads nowhere"}
    assert [entry.fault for entry in of_archive(zip_of(tmp_path / "a.zip", [("cat/1.png", "/etc/passwd")])).entries] == [
        "a link that leads out of the archive"]


def test_data_sets_made_of_links_are_those_of_files(tmp_path: Path) -> None:
    files = class_folders()
    plain = load(f"folder:{write(tmp_path / 'plain', files)}")
    pooled = [(f"pool/{i}.png", content) for i, content in enumerate(files.values())]
    pooled = [("pool/README", b"")] + pooled
    links = [(name, f"../../pool/{i}.png") for i, name in enumerate(files)]
    for made in (tar_of(tmp_path / "l.tar", pooled + links), zip_of(tmp_path / "l.zip", pooled + links)):
        linked = load(f"folder:{made}")
        assert linked.fingerprint == plain.fingerprint
        assert "21 files found: 10 used, 11 left out" in linked.provenance.note


def test_a_folder_that_is_linked_twice_is_two_classes(tmp_path: Path) -> None:
    write(tmp_path / "real", {"cat/0.png": image(0), "cat/1.png": image(1)})
    os.symlink("cat", tmp_path / "real" / "dog")
    assert load(f"folder:{tmp_path / 'real'}").classes == ("cat", "dog")


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_regular_file_is_skipped_and_counted(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path / "pets", class_folders())
    os.mkfifo(path / "train/cat/pipe.png")
    if packed:
        with tarfile.open(tmp_path / "pets.tar", "w") as archive:
            archive.add(path, "pets")
        path = tmp_path / "pets.tar"
    note = load(f"folder:{path}").provenance.note
    assert "11 files found: 10 used, 0 left out, 1 ignored (1 no regular file: " in note and "pipe.png" in note


def test_members_without_a_name_and_twice_the_same_name_are_counted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "pets.zip", class_folders())
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("train/cat/0000.png", image(90))
        archive.writestr("train/cat/0000.png", image(91))
        archive.writestr(zipfile.ZipInfo(""), b"")
    dataset = load(f"folder:{path}")
    assert dataset.train.images[0].unique().tolist() == [91]  # as unpacking leaves it
    assert "13 files found: 10 used, 3 left out (" in dataset.provenance.note
    for words in ("2 replaced by a later member of the same name", "1 a member without a name"):
        assert words in dataset.provenance.note


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    files = {os.fsdecode(os.fsencode(name).replace(b"0000", b"\xff0")): content for name, content in class_folders().items()}
    odd = write(tmp_path / os.fsdecode(b"pets\xfe"), {**files, os.fsdecode(b"train/\xff.txt"): b""})
    for path in (odd, tar(tmp_path / "odd.tar", files)):
        dataset = load(f"folder:{path}")
        assert sorted(dataset.train.images[:, 0, 0, 0].tolist()) == [0, 1, 2, 20, 21, 22] and dataset.name.isprintable()
        f"{dataset.name} {dataset.summary}".encode()
    (odd / os.fsdecode(b"train/\xffcat")).mkdir()
    (odd / os.fsdecode(b"train/\xffcat/0.png")).write_bytes(image(0))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        load(f"folder:{odd}")
    str(caught.value).encode()


# --- small files that would cost much --------------------------------------------------------------------------------

def test_only_what_will_be_used_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**class_folders(), "train/film.mp4": b"m" * 5000, "train/cat/log.txt": b"t" * 5000, "train/loose.png": b"p" * 5000}
    folder = write(tmp_path / "pets", files)
    read: list[str] = []
    real = io.open
    monkeypatch.setattr(Path, "open", lambda self, *how, **words: (read.append(self.name), real(self, *how, **words))[1])
    load(f"folder:{folder}")
    assert {"0000.png", "0001.png"} <= set(read) and not {"film.mp4", "log.txt", "loose.png"} & set(read)
    wanted: list[str] = []
    real_read = zipfile.ZipFile.read
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, member, *how: (wanted.append(member.filename),
                                                                            real_read(self, member, *how))[1])
    load(f"folder:{zipped(tmp_path / 'pets.zip', files)}")
    assert sorted(wanted) == sorted(class_folders())


def test_a_sparse_member_of_50_gigabytes(tmp_path: Path) -> None:
    """A 2 kB tar whose largest file is nothing but a hole: passed over as a note, refused as an image, never unpacked."""
    for name, says in (("train/cat/9.png", "53.7 GB, more than"), ("train/cat/9.txt", None)):
        with tarfile.open(tmp_path / "pets.tar", "w", format=tarfile.PAX_FORMAT) as archive:
            for file, content in class_folders().items():
                member = tarfile.TarInfo(file)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            hole = tarfile.TarInfo(name)
            sparse = b"1\n0\n512\n".ljust(512, b"\0") + bytes(512)
            hole.size = len(sparse)
            hole.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name,
                                "GNU.sparse.realsize": str(50 << 30)}
            archive.addfile(hole, io.BytesIO(sparse))
        if says is None:
            assert len(load(f"folder:{tmp_path / 'pets.tar'}").train) == 6
        else:
            with pytest.raises(DataError, match=says):
                load(f"folder:{tmp_path / 'pets.tar'}")


@pytest.mark.parametrize("name", ["bomb.tar.gz", "bomb.tar.xz", "bomb.tar.bz2", "bomb.zip"])
def test_an_archive_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    files = {**class_folders(), "train/cat/zeros.png": bytes(4_000_000)}
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, content in files.items():
                archive.writestr(file, content)
    else:
        tar(path, files, f"w:{name.rpartition('.')[2]}")
    monkeypatch.setattr(limits, "RATIO_FLOOR", 3_000_000)
    with pytest.raises(DataError, match="over 200 times as much"):
        load(f"folder:{path}")
    monkeypatch.setattr(limits, "RATIO_FLOOR", 5_000_000)
    with pytest.raises(DataError, match="'train/cat/zeros.png' does not decode"):
        load(f"folder:{path}")


@pytest.mark.parametrize("packed", [None, "a.tar", "a.zip"])
def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: str | None) -> None:
    files = class_folders()
    path = (write(tmp_path / "pets", files) if packed is None else
            (tar if packed.endswith("tar") else zipped)(tmp_path / packed, files))
    monkeypatch.setattr(limits, "MEMBERS", 8)
    with pytest.raises(DataError, match="more than 8 files"):
        survey(path)


@pytest.mark.parametrize("damage", ["1" * 5000, "x", "-1", "9" * 30])
def test_damaged_numbers_in_a_tar_are_one_message(tmp_path: Path, damage: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("train/cat/0.png")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": damage, "size": damage}
        archive.addfile(member, io.BytesIO())
    with pytest.raises(DataError, match=r"a\.tar"):
        load(f"folder:{tmp_path / 'a.tar'}")
