"""Class folders and archives of them: layout, channels, sizes, held-out images, and every kind of damage."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from speedcore.data import load
from speedcore.data.formats.archives import of_archive
from speedcore.errors import DataError
from tests.speedcore.data.making import CIFAR_CLASSES, class_folders, image, tar, write, zipped

ARCHIVES = {"images.tar": "w", "images.tar.gz": "w:gz", "images.tgz": "w:gz", "images.tar.xz": "w:xz", "images.tar.bz2": "w:bz2",
            "images.zip": ""}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    return zipped(path, files) if path.suffix == ".zip" else tar(path, files, ARCHIVES[path.name])


def test_folder_as_defined(tmp_path: Path) -> None:
    dataset = load(f"folder:{write(tmp_path / 'pets', class_folders())}")
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.images.shape == (6, 3, 6, 8) and dataset.test.images.shape == (4, 3, 6, 8)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 20, 21, 22]
    assert dataset.test.images[:, 2, 5, 7].tolist() == [100, 101, 120, 121]
    assert dataset.name == "folder:pets"
    assert not dataset.provenance.official and dataset.provenance.source == "class folders in pets"


@pytest.mark.parametrize("around", ["", "./", "pets/", "a/b/"])
@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_equals_the_folder(tmp_path: Path, name: str, around: str) -> None:
    files = class_folders()
    folder = load(f"folder:{write(tmp_path / 'pets', files)}")
    archive = load(f"folder:{pack(tmp_path / name, {around + file: content for file, content in files.items()})}")
    assert archive.fingerprint == folder.fingerprint and archive.classes == folder.classes


def test_channels_are_the_images_own(tmp_path: Path) -> None:
    grey = load(f"folder:{write(tmp_path / 'grey', class_folders(mode='L'))}")
    assert grey.channels == 1 and grey.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 20, 21, 22]
    files = {**class_folders(mode="L"), "train/dog/0000.png": image(7, mode="RGBA")}
    mixed = load(f"folder:{write(tmp_path / 'mixed', files)}")
    assert mixed.channels == 3 and mixed.train.images[3].unique().tolist() == [7]
    assert mixed.train.images[1].unique().tolist() == [1]


def test_jpeg(tmp_path: Path) -> None:
    files = {f"{split}/{label}/{label}.jpg": image(value, suffix="jpg") for split in ("train", "test")
             for label, value in (("dark", 10), ("light", 240))}
    dataset = load(f"folder:{write(tmp_path / 'shades', files)}")
    # One grey level is one discrete cosine: JPEG keeps it to a level or two.
    assert np.abs(dataset.train.images.float().mean((1, 2, 3)).numpy() - [10, 240]).max() <= 2


def test_moments_are_those_of_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    files = {f"{split}/{label}/{i}.png": image(int(rng.integers(256)), (3, 3)) for split in ("train", "test")
             for label in "ab" for i in range(5)}
    dataset = load(f"folder:{write(tmp_path / 'm', files)}")
    pixels = dataset.train.images.numpy().astype(np.float64) / 255
    assert dataset.mean == pytest.approx(pixels.mean((0, 2, 3))) and dataset.std == pytest.approx(pixels.std((0, 2, 3)))


def test_held_out_images_without_a_test_folder(tmp_path: Path) -> None:
    files = class_folders(("a", "b"), train=10, test=0)
    dataset = load(f"folder:{write(tmp_path / 'one', files)}")
    assert np.bincount(dataset.train.labels).tolist() == [8, 8] and np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert "20% of each class held out" in dataset.provenance.note
    levels = [set(split.images[:, 0, 0, 0].tolist()) for split in (dataset.train, dataset.test)]
    assert not levels[0] & levels[1] and levels[0] | levels[1] == {*range(10), *range(20, 30)}
    assert load(f"folder:{write(tmp_path / 'again', files)}").fingerprint == dataset.fingerprint


def test_classes_without_any_split_folder(tmp_path: Path) -> None:
    files = {f"{label}/{i}.png": image(i) for label in ("a", "b") for i in range(5)}
    dataset = load(f"folder:{write(tmp_path / 'flat', files)}")
    assert dataset.classes == ("a", "b") and (len(dataset.train), len(dataset.test)) == (8, 2)


def test_what_is_no_image_is_left_out_and_said(tmp_path: Path) -> None:
    files = {**class_folders(), "README.md": b"", "train/cat/.DS_Store": b"x", "train/dog/notes.txt": b"none",
             "__MACOSX/train/cat/0000.png": b"x"}
    dataset = load(f"folder:{write(tmp_path / 'pets', files)}")
    assert len(dataset.train) == 6
    assert ("14 files found: 10 used, 2 left out (2 no image by its name (png, jpg, jpeg, jfif, jpe, webp, bmp, dib, tif, tiff, "
            "gif, ppm, pgm are): 'README.md', 'train/dog/notes.txt'), 2 ignored (2 hidden, or the system's own: "
            "'__MACOSX/train/cat/0000.png', 'train/cat/.DS_Store')") in dataset.provenance.note


def test_linked_class_folders(tmp_path: Path) -> None:
    write(tmp_path / "real", class_folders())
    (tmp_path / "linked" / "train").mkdir(parents=True)
    os.symlink(tmp_path / "real" / "train" / "cat", tmp_path / "linked" / "train" / "cat")
    os.symlink(tmp_path / "real" / "train" / "dog", tmp_path / "linked" / "train" / "dog")
    os.symlink(tmp_path / "real" / "test", tmp_path / "linked" / "test")
    os.symlink(tmp_path / "linked", tmp_path / "linked" / "loop")
    assert load(f"folder:{tmp_path / 'linked'}").fingerprint == load(f"folder:{tmp_path / 'real'}").fingerprint


@pytest.mark.parametrize(("change", "says"), [
    ({"train/cat/0001.png": image(1, (9, 6))}, r"differ in size .*9×6 \('train/cat/0001.png'\)"),
    ({"train/cat/0001.png": image(1)[:40]}, "image 'train/cat/0001.png' does not decode"),
    ({"train/cat/0001.png": b""}, "image 'train/cat/0001.png' does not decode"),
    ({"train/cat/0001.png": image(1, mode="I;16")}, "0001.png' does not decode .*8 bits a channel"),
    ({"test/bird/0000.png": image(1)}, "test folder holds classes that training does not: bird"),
])
def test_bad_images_are_named(tmp_path: Path, change: dict[str, bytes], says: str) -> None:
    path = write(tmp_path / "pets", {**class_folders(), **change})
    with pytest.raises(DataError, match=says) as caught:
        load(f"folder:{path}")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("files", "says"), [
    (class_folders(("cat",)), "one class, 'cat'"),
    ({"notes.txt": b"none"}, "no image in class folders"),
    ({"test/cat/0.png": image(1)}, "no image in train/<class>/"),
    ({"train/a/0.png": image(1), "train/b/0.png": image(1)}, "class 'a' has one image"),
])
def test_folders_that_are_no_data_set(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(f"folder:{write(tmp_path / 'pets', files)}")
    with pytest.raises(DataError, match=says):
        load(f"folder:{tar(tmp_path / 'images.tar', files)}")


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load(f"folder:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("name", ARCHIVES)
def test_cut_off_archive_is_named_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    whole = pack(tmp_path / name, class_folders()).read_bytes()
    cut = tmp_path / f"cut-{name}"
    # A tar ends in a padding of zeros that nobody misses; all before it counts.
    end = len(whole.rstrip(b"\0")) if name == "images.tar" else len(whole)
    # Multiples of 512 lie between the members of a tar, where nothing but the missing end tells.
    for size in sorted({0, 1, 100, end - 1, *range(512, end, 512), *range(1, end, end // 7)}):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match=f"cut-{name}"):
            load(f"folder:{cut}")


@pytest.mark.parametrize("name", ["/train/cat/0.png", "../train/cat/0.png", "train/../../x.png", "..\\x.png"])
def test_member_outside_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    for path in (tar(tmp_path / "images.tar", {name: image(1)}), zipped(tmp_path / "images.zip", {name: image(1)})):
        with pytest.raises(DataError, match="points outside"):
            of_archive(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.tar", "images.zip"]


def test_known_set_in_folders_and_archives(tmp_path: Path) -> None:
    files = class_folders(CIFAR_CLASSES, train=1, test=1)
    expected = None
    for path in (write(tmp_path / "1", files),
                 write(tmp_path / "2/CIFAR-10", files).parent,
                 tar(tmp_path / "3/cifar10/any.tar.xz", files, "w:xz").parents[1],
                 zipped(tmp_path / "4/cifar-10-small.zip", files).parent,
                 tar(tmp_path / "5.tar", files)):
        dataset = load("cifar10", path, offline=True)
        expected = expected or dataset.fingerprint
        assert dataset.fingerprint == expected and dataset.classes == CIFAR_CLASSES
        assert not dataset.provenance.official
        assert dataset.provenance.note.startswith("not the official files: class folders in ")
        assert dataset.train.labels.tolist() == list(range(10))


def test_a_known_set_under_other_names_of_its_splits(tmp_path: Path) -> None:
    files = {name.replace("train/", "Training/").replace("test/", "valid/"): content
             for name, content in class_folders(CIFAR_CLASSES, train=2, test=1).items()}
    dataset = load("cifar10", write(tmp_path / "any", files), offline=True)
    assert dataset.classes == CIFAR_CLASSES and (len(dataset.train), len(dataset.test)) == (20, 10)
    assert "the images in 'valid' are the test split" in dataset.provenance.note


def test_numbered_classes_are_in_natural_order(tmp_path: Path) -> None:
    dataset = load(f"folder:{write(tmp_path / 'months', class_folders(('1', '2', '10'), train=1, test=1))}")
    assert dataset.classes == ("1", "2", "10")
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 20, 40] and dataset.train.labels.tolist() == [0, 1, 2]


def test_what_is_held_out_does_not_depend_on_the_folders_around(tmp_path: Path) -> None:
    files = class_folders(train=10, test=0)
    inner = load(f"folder:{write(tmp_path / 'plain', files)}")
    assert load(f"folder:{tar(tmp_path / 'a.tar', {f'x/y/{name}': content for name, content in files.items()})}").fingerprint \
        == inner.fingerprint


def test_numbered_and_differently_spelt_classes_keep_their_order(tmp_path: Path) -> None:
    spelt = ("t_shirt_top", "trouser", "Pullover", "DRESS", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
    for place, names in (("numbers", tuple("0123456789")), ("names", spelt)):
        files = {f"{split}/{name}/0.png": image(label, mode="L")
                 for split in ("train", "test") for label, name in enumerate(names)}
        dataset = load("fashion-mnist", write(tmp_path / place / "fashion-mnist", files).parent, offline=True)
        assert dataset.classes[0] == "T-shirt/top" and dataset.classes[9] == "Ankle boot"
        assert dataset.train.images[:, 0, 0, 0].tolist() == dataset.train.labels.tolist()


def test_other_classes_under_a_known_name(tmp_path: Path) -> None:
    write(tmp_path / "cifar10", class_folders())
    with pytest.raises(DataError, match="holds the classes cat, dog; expected airplane"):
        load("cifar10", tmp_path, offline=True)


def test_two_archives_are_not_guessed_between(tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        tar(tmp_path / "cifar10" / name, class_folders(CIFAR_CLASSES, 1, 1))
    with pytest.raises(DataError, match="several archives .*a.tar, b.tar"):
        load("cifar10", tmp_path, offline=True)


def test_a_longer_number_is_another_set(tmp_path: Path) -> None:
    tar(tmp_path / "cifar100.tar", class_folders())
    with pytest.raises(DataError, match="is not available"):
        load("cifar10", tmp_path, offline=True)
