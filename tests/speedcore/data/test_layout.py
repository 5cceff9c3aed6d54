"""What a tree of names means: torchvision's reading, split names, two readings refused, every file accounted for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.datasets import ImageFolder

from speedcore.data.folder import layout
from speedcore.data.folder.folders import survey
from speedcore.data.folder.layout import Reading, natural
from speedcore.data.folder.splits import split_of
from speedcore.data.folder.tree import Entry
from speedcore.errors import DataError


def reading(names: Iterable[str], empty: Iterable[str] = ()) -> Reading:
    return layout.read([Entry(name, 1) for name in sorted(names)], sorted(empty))


def tree(**folders: int | dict) -> list[str]:
    """tree(train={"cat": 2}) -> train/cat/0.png, train/cat/1.png."""
    names = []
    for folder, inner in folders.items():
        names += [f"{folder}/notes.txt"] if inner == {} else []
        below = tree(**inner) if isinstance(inner, dict) else [f"{i}.png" for i in range(inner)]
        names += [f"{folder}/{name}" for name in below]
    return names


def meaning(names: Iterable[str]) -> dict[str, dict[str, int]]:
    """split -> class -> images."""
    found: dict[str, dict[str, int]] = {}
    for image in reading(names).images:
        classes = found.setdefault(image.split, {})
        classes[image.label] = classes.get(image.label, 0) + 1
    return found


BOTH = {"cat": 2, "dog": 1}


@pytest.mark.parametrize(("folders", "expected"), [
    ({"train": BOTH, "test": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"Training": BOTH, "TESTING": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"train_images": BOTH, "test_images": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"TrainSet": BOTH, "testset": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"pets-train": BOTH, "pets-test": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"seg_train": {"seg_train": BOTH}, "seg_test": {"seg_test": BOTH}}, {"train": BOTH, "test": BOTH}),
    ({"train": {"images": BOTH}, "test": {"images": BOTH}}, {"train": BOTH, "test": BOTH}),
    ({"a": {"b": {"train": BOTH, "test": BOTH}}}, {"train": BOTH, "test": BOTH}),
    # Without a test folder the validation folder is what is held out, by whatever name.
    *(({"train": BOTH, name: BOTH}, {"train": BOTH, "test": BOTH}) for name in ("val", "valid", "validation", "Val", "VALID")),
    ({"train": BOTH, "val": {"cat": 1, "dog": 1}, "test": BOTH}, {"train": BOTH, "test": BOTH}),
    ({"train": BOTH}, {"train": BOTH}),
    # Test images without labels are no class, and no test split.
    ({"train": BOTH, "test": 3}, {"train": BOTH}),
    ({"train": BOTH, "val": {"cat": 1, "dog": 1}, "test": 3}, {"train": BOTH, "test": {"cat": 1, "dog": 1}}),
    ({"train": BOTH, "test": BOTH, "extra": {"cat": 5}}, {"train": BOTH, "test": BOTH}),
    # No splits: each folder is a class, and all that is in it.
    (BOTH, {"train": BOTH}),
    ({"pets": BOTH}, {"train": BOTH}),
    ({"pets": {"images": BOTH, "labels": {}}}, {"train": BOTH}),
    ({"cat": {"day1": 1, "day2": 2}, "dog": {"day1": 1}}, {"train": {"cat": 3, "dog": 1}}),
    ({"train": {"cat": {"day1": 1, "day2": 2}, "dog": 1}, "test": BOTH}, {"train": {"cat": 3, "dog": 1}, "test": BOTH}),
    ({"car": 1, "bus": 1, "train": 2}, {"train": {"car": 1, "bus": 1, "train": 2}}),
    ({"bullet_train": 1, "test_tube": 1, "apple": 1}, {"train": {"bullet_train": 1, "test_tube": 1, "apple": 1}}),
    ({"train_station": 1, "beach": 2}, {"train": {"train_station": 1, "beach": 2}}),
])
def test_what_folders_mean(folders: dict, expected: dict) -> None:
    assert meaning(tree(**folders)) == expected


@pytest.mark.parametrize(("folders", "says"), [
    ({"car": {"day1": 1, "day2": 1}, "train": {"day1": 1, "day2": 1}}, ["'train' is a split", "'car' is left out", "is a class"]),
    ({"cat": 2, "dog": 1, "test": BOTH}, ["'test' is a split", "'cat' and 'dog' are left out"]),
    ({"cat": 2, "dog": 1, "test": 3}, ["'test' is a split", "'cat' and 'dog' are left out"]),
    ({"cat": 1, "train": 2, "test": 2}, ["'test' and 'train' are splits", "'cat' is left out"]),
    ({"train": BOTH, "Train": BOTH, "test": BOTH}, ["'Train' and 'train' both name the train split"]),
    ({"train": BOTH, "test": BOTH, "testing": BOTH}, ["'test' and 'testing' both name the test split"]),
    ({"train": BOTH, "val": BOTH, "validation": BOTH}, ["'val' and 'validation' both name the validation split"]),
    ({"cat": {"train": 2, "test": 1}, "dog": {"train": 2, "test": 1}}, ["'cat/", "split of the class 'cat'", "two ways"]),
    ({"train": {"cat": {"val": 1}, "dog": 1}}, ["'train/cat/val'", "split of the class 'cat'"]),
    ({"train": 3, "test": 3}, ["directly in 'test' and 'train'", "read as classes"]),
    ({"train_a": BOTH, "testing_b": BOTH}, ["'testing_b' and 'train_a'", "two ways"]),
    ({"test": BOTH}, ["no image in train/<class>/"]),
])
def test_two_readings_are_refused_and_both_are_named(folders: dict, says: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        reading(tree(**folders))
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(("files", "empty", "says"), [
    (["cat/0.png", "dog/0.png", "bird/0.heic"], [], "'bird' (1 other file)"),
    (["cat/0.png", "dog/0.png"], ["bird"], "'bird' (empty)"),
    (["train/cat/0.png", "train/dog/0.png", "test/cat/0.png", "test/dog/0.webm"], [], "'test/dog' (1 other file)"),
    (["cat/day1/0.png", "cat/day2/0.png"], ["dog"], "'dog' (empty)"),
])
def test_a_class_without_images_is_refused_as_torchvision_does(files: list[str], empty: list[str], says: str) -> None:
    with pytest.raises(DataError, match="hold no image") as caught:
        reading(files, empty)
    assert says in str(caught.value)


def test_whatever_is_not_used_is_named_with_its_reason() -> None:
    files = ["train/cat/0.png", "train/dog/0.JPG", "train/loose.png", "README", "val/cat/1.png", "test/cat/2.webp",
             "test/dog/2.png", "more/x/3.png", "train/cat/.hidden.png", "__MACOSX/train/cat/0.png", "more/cat/4.png"]
    faults = {"train/cat/pipe": "no regular file", "": "a member without a name",
              "train/cat/gone.png": "a link that leads nowhere"}
    found = layout.read([*(Entry(name, 1) for name in files), *(Entry(name, 0, fault) for name, fault in faults.items())])
    assert {image.name for image in found.images} == {"train/cat/0.png", "train/dog/0.JPG", "test/cat/2.webp", "test/dog/2.png"}
    assert dict(found.left_out) == {
        "train/loose.png": layout.OUTSIDE, "README": layout.NO_IMAGE, "val/cat/1.png": layout.SPARE,
        "more/x/3.png": layout.BESIDE, "more/cat/4.png": layout.BESIDE, "": "a member without a name",
        "train/cat/gone.png": "a link that leads nowhere"}
    assert dict(found.ignored) == {"train/cat/.hidden.png": layout.HIDDEN, "__MACOSX/train/cat/0.png": layout.HIDDEN,
                                   "train/cat/pipe": "no regular file"}
    assert found.counts.startswith("14 files found: 4 used, 7 left out (") and ", 3 ignored (2 hidden" in found.counts
    for name, reason in (*found.left_out, *found.ignored):
        assert f"'{name}'" in found.counts and reason in found.counts


# --- any tree at all -------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(["train", "test", "val", "Train", "validation", "cat", "dog", "1", "2", "10", "images", ".git",
                         "__MACOSX", "x y", "train_images", "test_images", "extra", "bullet_train"])
FILES = st.sampled_from(["0.png", "1.png", "a.JPG", "b.webp", "notes.txt", "film.mp4", ".DS_Store", "Thumbs.db", "c.gif",
                         "d.heic"])
FAULTS = st.sampled_from(["", "", "", "", "no regular file", "a link that leads nowhere"])
TREES = st.dictionaries(st.tuples(st.lists(PARTS, max_size=4), FILES).map(lambda it: "/".join([*it[0], it[1]])), FAULTS,
                        max_size=25)


@given(TREES)
def test_used_and_left_out_and_ignored_are_all_that_is_found(files: dict[str, str]) -> None:
    entries = [Entry(name, 1, fault) for name, fault in sorted(files.items())]
    try:
        found = layout.read(entries)
    except DataError:
        return
    accounted = [*(image.name for image in found.images), *(name for name, _ in (*found.left_out, *found.ignored))]
    assert sorted(accounted) == sorted(files)
    assert found.found == len(files) and f"{len(files):,} files found: {len(found.images):,} used" in found.counts
    for image in found.images:
        assert not files[image.name] and image.name.endswith(image.own) and image.label in image.own.split("/")


PLAIN = st.dictionaries(
    st.tuples(st.sampled_from(["cat", "dog", "Bird", "car", "ant hill"]),
              st.lists(st.sampled_from(["day", "night", "b", "B"]), max_size=2),
              st.sampled_from(["0.png", "1.png", "10.png", "a.JPG", "z.bmp", "w.webp", "t.tiff", "notes.txt"]))
    .map(lambda it: "/".join([it[0], *it[1], it[2]])), st.just(b""), min_size=1, max_size=15)


@given(PLAIN)
def test_class_folders_are_read_as_torchvision_reads_them(tmp_path_factory, files: dict[str, bytes]) -> None:
    root = tmp_path_factory.mktemp("plain")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    try:
        expected = ImageFolder(root)
    except FileNotFoundError:  # a class without an image
        with pytest.raises(DataError, match="hold no image"):
            survey(root)
        return
    if len(expected.classes) == 1:  # for which we look further in
        return
    _, found = survey(root)
    assert [image.name for image in found.of("train")] == [os.path.relpath(path, root) for path, _ in expected.samples]
    assert [image.label for image in found.of("train")] == [expected.classes[label] for _, label in expected.samples]


def test_train_and_test_folders_are_two_image_folders(tmp_path: Path) -> None:
    for name in tree(train={"a": {"x": 2, "y": 1}, "b": 3}, val={"a": 1, "b": 2}):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    _, found = survey(tmp_path)
    for split, folder in (("train", "train"), ("test", "val")):
        expected = ImageFolder(tmp_path / folder)
        assert [(image.name, image.label) for image in found.of(split)] == [
            (os.path.relpath(path, tmp_path), expected.classes[label]) for path, label in expected.samples]


# --- names -----------------------------------------------------------------------------------------------------------

def test_numbers_are_in_natural_order() -> None:
    assert sorted(["10", "9", "a10b", "a9c", "1", "07", "7", "b", "A"], key=natural) == \
        ["1", "07", "7", "9", "10", "A", "a9c", "a10b", "b"]
    huge = "9" * 5000
    assert sorted([f"1{huge}", huge], key=natural) == [huge, f"1{huge}"]
    assert [image.label for image in reading(tree(**{str(i): 1 for i in (2, 10, 1)})).images] == ["1", "2", "10"]


@given(st.lists(st.text(alphabet="ab-_ AZ019é", max_size=6), unique=True, max_size=8))
def test_natural_order_is_that_of_text_but_for_numbers(names: list[str]) -> None:
    ordered = sorted(names, key=natural)
    # Padded to one length, numbers sort as text.
    import re
    padded = sorted(names, key=lambda name: (re.sub("[0-9]+", lambda digits: digits[0].zfill(9), name), name))
    assert ordered == padded


@pytest.mark.parametrize(("name", "split"), [
    *dict.fromkeys(("train", "TRAIN", "training", "trainset", "train-images", "images.train", "trainData"), "train").items(),
    *dict.fromkeys(("test", "Testing", "test_set"), "test").items(),
    *dict.fromkeys(("valid", "val", "Validation", "dev"), "validation").items(),
    *dict.fromkeys(("trainer", "trains", "bullet train", "contest", "invalid", "value", "traintest", "train_test", "images",
                    "")).items()])
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split
