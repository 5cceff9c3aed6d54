"""Class folders of images, on disk or in an archive, as a data set: `train/<class>/…`, `test/<class>/…`."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import torch
from jaxtyping import UInt8

from speedcore import limits
from speedcore.data.dataset import Split
from speedcore.data.dataset_files import RawDataset
from speedcore.data.folder import layout
from speedcore.data.folder.layout import Image, Reading, natural
from speedcore.data.folder.splits import TEST, TRAIN
from speedcore.data.folder.tree import Tree, of_folder, shown
from speedcore.data.formats import archives, pictures
from speedcore.data.formats.pictures import NoPicture, Picture
from speedcore.errors import DataError
from speedcore.limits import size_of, too_much

# Named in the key of the decoded copy: another decoder may round a JPEG differently.
DECODER = f"class-folders-2 pillow-{PIL.__version__}"
HELD_OUT = 0.2
_LISTED = 100  # bad files that are named one by one


def spelling(name: str) -> str:
    """A name without case, spaces and punctuation: 'T-shirt/top' and 'tshirt_top' are one class."""
    return "".join(filter(str.isalnum, name.lower()))


def survey(path: Path) -> tuple[Tree, Reading]:
    """What lies in the folder or the archive `path`, and what it means. Reads no image. Raises DataError."""
    tree = of_folder(path) if path.is_dir() else archives.of_archive(path)
    try:
        return tree, layout.read(tree.entries, tree.empty)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def content_key(path: Path) -> str:
    """sha256 of the bytes of the archive, or of all that a folder's images are and its files are called, and of the decoder."""
    digest = hashlib.sha256(DECODER.encode())
    if path.is_dir():
        tree, reading = survey(path)
        _check_files(tree, reading)
        for entry in tree.entries:
            digest.update(f"\0{entry.size}\0{entry.fault}\0".encode() + os.fsencode(entry.name))
        for name, content in tree.read([image.name for image in reading.images]):
            digest.update(b"\0" + os.fsencode(name) + b"\0" + content)
        return digest.hexdigest()
    try:
        with path.open("rb") as archive:
            digest.update(hashlib.file_digest(archive, "sha256").digest())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}). Make it readable.") from error
    return digest.hexdigest()


def decode(path: Path, canonical: Sequence[str] = (), note: str = "") -> RawDataset:
    """The data set in the class folders, or the archive of class folders, `path`. Raises DataError.

    canonical: the classes that must be there, in their order, under their names or their numbers; any, in natural order,
    where empty.
    """
    tree, reading = survey(path)
    if not reading.images:
        raise DataError(f"{path} holds no image in class folders: {reading.counts}. Lay it out as train/<class>/<image> and "
                        "test/<class>/<image>.")
    _check_files(tree, reading)
    train, test = reading.of(TRAIN), reading.of(TEST)
    notes = [note, *reading.notes]
    if not test:
        train, test = _hold_out(path, train)
        notes.append(f"no test folder: {HELD_OUT:.0%} of each class held out for testing, chosen by the sha256 of the file names")
    classes, order = _classes(path, train, canonical)
    _check_test_classes(path, test, order)
    decoded = _pictures(tree, [*train, *test])
    notes += _on_pictures(decoded.values())
    if untested := sorted(order.keys() - {image.label for image in test}, key=natural):
        notes.append(f"no test images of {', '.join(untested)}")
    notes.append(reading.counts)
    colour = any(_pixels(picture).ndim == 3 for picture in decoded.values())
    return RawDataset(classes, _stack(train, decoded, order, colour), _stack(test, decoded, order, colour), official=False,
                   note="; ".join(filter(None, notes)))


def class_order(found: Iterable[str], canonical: Sequence[str]) -> dict[str, int] | None:
    """Label of every class folder in `found`, or None where they are not the classes `canonical`."""
    names = {spelling(name): label for label, name in enumerate(canonical)}
    numbers = {str(label): label for label in range(len(canonical))}
    found = list(found)
    for known in (names, numbers):
        order = {name: known.get(spelling(name), -1) for name in found}
        if sorted(order.values()) == list(range(len(canonical))):
            return order
    return None


def _bad(path: Path, reasons: dict[str, str]) -> DataError:
    """One error for all files that cannot be used."""
    if len(reasons) == 1:
        ((name, reason),) = reasons.items()
        return DataError(f"{path}: image '{shown(name)}' does not decode ({reason}). Replace or remove it.")
    lines = [f"  '{shown(name)}': {reason}" for name, reason in sorted(reasons.items())[:_LISTED]]
    more = [f"  and {len(reasons) - _LISTED:,} more"] if len(reasons) > _LISTED else []
    return DataError("\n".join([f"{path}: {len(reasons):,} images do not decode. Replace or remove:", *lines, *more]))


def _check_files(tree: Tree, reading: Reading) -> None:
    """Raises DataError for files that are larger than an image of a data set can be, before any is read."""
    sizes = {entry.name: entry.size for entry in tree.entries if not entry.fault}
    if large := {image.name: why for image in reading.images if (why := pictures.too_large(sizes[image.name]))}:
        raise _bad(tree.path, large)


def _pictures(tree: Tree, images: Sequence[Image]) -> dict[str, Picture]:
    """Every image decoded, by name. Raises one DataError for all that cannot be, or for images of several sizes."""
    decoded: dict[str, Picture] = {}
    bad: dict[str, str] = {}
    sizes: dict[tuple[int, int], str] = {}
    with warnings.catch_warnings():
        # Of EXIF that is damaged, and of many pixels, for which `pictures` has a limit of its own.
        warnings.filterwarnings("ignore", module="PIL")
        for name, content in tree.read([image.name for image in images]):
            try:
                picture = pictures.decode(content, next(iter(sizes), None))
            except NoPicture as reason:
                bad[name] = str(reason)
                continue
            if not sizes:
                _check_memory(tree, len(images), picture)
            # Of each size the first by name, however the archive is ordered.
            sizes[picture.size] = min(sizes.get(picture.size, name), name)
            decoded[name] = picture
    if bad:
        raise _bad(tree.path, bad)
    if len(sizes) > 1:
        (first, second), count = sorted(sizes.items(), key=lambda item: item[1])[:2], len(sizes)
        told = ", ".join(f"{width}×{height} ('{shown(name)}')" for (height, width), name in (first, second))
        raise DataError(f"{tree.path}: images differ in size ({count} sizes, e.g. {told}; width×height). Bring all to one "
                        "size first.")
    return decoded


def _pixels(picture: Picture) -> UInt8[np.ndarray, "h w *c"]:
    """Those of one of `_pictures`, all of which are of one size and so decoded."""
    assert picture.pixels is not None
    return picture.pixels


def _check_memory(tree: Tree, count: int, picture: Picture) -> None:
    """Raises DataError if `count` images like the first would be more than is held in memory, or than such files hold."""
    height, width = picture.size
    coming = count * height * width * 3
    if coming > limits.DECODED_BYTES or too_much(coming, tree.stored, limits.DECODED_RATIO):
        raise DataError(f"{tree.path}: {count:,} images of {width}×{height} pixels are {size_of(coming)} once decoded, from "
                        f"{size_of(tree.stored)} of files. At most {size_of(limits.DECODED_BYTES)} are held, and above "
                        f"{size_of(limits.RATIO_FLOOR)} {limits.DECODED_RATIO:,} times the files. Make the images smaller.")


def _on_pictures(found: Iterable[Picture]) -> list[str]:
    counts = Counter(word for picture in found for word in ("turned", "clear", "moving") if getattr(picture, word))
    said = {"turned": "turned upright as their EXIF says", "clear": "with transparent pixels laid on white",
            "moving": "of which the first of several frames is taken"}
    return [f"{counts[word]:,} image{'s' if counts[word] != 1 else ''} {said[word]}" for word in said if counts[word]]


def _hold_out(path: Path, images: Sequence[Image]) -> tuple[tuple[Image, ...], tuple[Image, ...]]:
    """Split stratified by class. By name, so that a file keeps its side when others come or go nearby."""
    by_class: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        by_class[image.label].append(image)
    train, test = [], []
    for label, group in by_class.items():
        if len(group) < 2:
            raise DataError(f"{path}: class '{shown(label)}' has one image and there is no test folder, so none is left to "
                            "test on. Add images or a test folder.")
        group = sorted(group, key=lambda image: hashlib.sha256(os.fsencode(image.own)).digest())
        count = max(1, round(HELD_OUT * len(group)))
        test += [replace(image, split=TEST) for image in group[:count]]
        train += group[count:]
    return tuple(train), tuple(test)


def _classes(path: Path, images: Sequence[Image], canonical: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    found = sorted({image.label for image in images}, key=natural)
    if not canonical:
        if len(found) < 2:
            raise DataError(f"{path} holds one class, '{shown(found[0])}'; a classifier needs at least two class folders.")
        return tuple(found), {name: label for label, name in enumerate(found)}
    if (order := class_order(found, canonical)) is None:
        raise DataError(f"{path} holds the classes {', '.join(map(shown, found))}; expected {', '.join(canonical)} (or their "
                        f"numbers). For a data set of your own use folder:{path}.")
    return tuple(canonical), order


def _check_test_classes(path: Path, images: Sequence[Image], order: dict[str, int]) -> None:
    if extra := sorted({image.label for image in images} - order.keys(), key=natural):
        raise DataError(f"{path}: the test folder holds classes that training does not: {', '.join(map(shown, extra))}. Remove "
                        "them or add their training images.")


def _stack(images: Sequence[Image], decoded: dict[str, Picture], order: dict[str, int], colour: bool) -> Split:
    arrays = [_pixels(decoded[image.name]) for image in images]
    pixels = torch.from_numpy(np.stack([
        np.broadcast_to(array[..., None], (*array.shape, 3)) if colour and array.ndim == 2 else array for array in arrays]))
    pixels = pixels.permute(0, 3, 1, 2).contiguous() if colour else pixels[:, None]
    return Split(pixels, torch.tensor([order[image.label] for image in images], dtype=torch.int64))
