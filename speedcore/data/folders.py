"""Class folders of PNG or JPEG, on disk or in an archive: `train/<class>/…`, `test/<class>/…`."""

from __future__ import annotations

import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import PIL
import torch
from jaxtyping import UInt8
from PIL import Image

from speedcore.data.archives import members
from speedcore.data.dataset import Split
from speedcore.data.found import Decoded
from speedcore.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# Named in the key of the decoded copy: another decoder may round a JPEG differently.
DECODER = f"class-folders-1 pillow-{PIL.__version__}"
HELD_OUT = 0.2

_GREY = {"1", "L", "LA"}
_COLOUR = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"}


@dataclass(frozen=True)
class _Image:
    label: str
    name: str
    pixels: UInt8[np.ndarray, "h w *c"]


def spelling(name: str) -> str:
    """A name without case, spaces and punctuation: 'T-shirt/top' and 'tshirt_top' are one class."""
    return "".join(filter(str.isalnum, name.lower()))


def files(path: Path) -> Iterator[tuple[str, bytes]]:
    """(relative name, content) of every file under the folder, or in the archive, `path`. Raises DataError."""
    if not path.is_dir():
        yield from members(path)
        return
    seen = set()
    for folder, inner, names in os.walk(path, followlinks=True):  # class folders are often links
        if (place := os.path.realpath(folder)) in seen:
            inner.clear()
            continue
        seen.add(place)
        inner.sort()
        for file in map(Path(folder).joinpath, sorted(names)):
            try:
                yield file.relative_to(path).as_posix(), file.read_bytes()
            except OSError as error:
                raise DataError(f"{file} cannot be read ({error.strerror or error}). Make it readable.") from error


def content_key(path: Path) -> str:
    """sha256 of the bytes of the archive, or of all files under the folder, together with the decoder."""
    digest = hashlib.sha256(DECODER.encode())
    if path.is_dir():
        for name, content in files(path):
            digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    else:
        try:
            with path.open("rb") as archive:
                digest.update(hashlib.file_digest(archive, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror or error}). Make it readable.") from error
    return digest.hexdigest()


def decode(path: Path, canonical: Sequence[str] = (), note: str = "") -> Decoded:
    """The data set in the class folders, or the archive of class folders, `path`. Raises DataError.

    canonical: the classes that must be there, in their order, under their names or their numbers; any, sorted by
    name, where empty.
    """
    parts: dict[str, list[_Image]] = {"train": [], "test": [], "": []}
    left_out = []
    for name, content in files(path):
        if (place := _place(name)) is None:
            continue
        if name.lower().endswith(IMAGE_SUFFIXES):
            parts[place[0]].append(_decode(path, place[1], name, content))
        else:
            left_out.append(name)
    for images in parts.values():
        images.sort(key=lambda image: (image.label, image.name))
    train, test = parts["train"], parts["test"]
    if not train and not test:
        train = parts[""]
    if not train:
        raise DataError(f"{path} holds no PNG or JPEG image in {'train/<class>/' if test else 'class folders'}. Lay it "
                        "out as train/<class>/<image> and test/<class>/<image>.")
    notes = [note]
    if left_out:
        notes.append(f"{len(left_out)} files that are neither PNG nor JPEG left out, e.g. {left_out[0]}")
    if not test:
        train, test = _hold_out(path, train)
        notes.append(f"no test folder: {HELD_OUT:.0%} of each class held out for testing, chosen by the sha256 of the "
                     "file names")
    classes, order = _classes(path, train, canonical)
    _check_test_classes(path, test, order)
    _check_sizes(path, train + test)
    colour = any(image.pixels.ndim == 3 for image in train + test)
    return Decoded(classes, _stack(train, order, colour), _stack(test, order, colour), official=False,
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


def _place(name: str) -> tuple[str, str] | None:
    """(split, class) of a file, the split empty where no folder names one; None for a file outside class folders.

    A folder named train or test counts wherever it lies, so an archive may have folders around it.
    """
    *parents, file = PurePosixPath(name).parts
    if not parents or any(part.startswith((".", "__MACOSX")) for part in (*parents, file)):
        return None
    at = next((i for i, part in enumerate(parents[:-1]) if part.lower() in ("train", "test")), None)
    if at is not None:
        return parents[at].lower(), parents[at + 1]
    return None if parents[-1].lower() in ("train", "test") else ("", parents[-1])


def _decode(path: Path, label: str, name: str, content: bytes) -> _Image:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.mode not in _GREY | _COLOUR:
                raise ValueError(f"pixels of mode {image.mode}; 8 bits a channel are needed")
            pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    except Exception as error:  # A damaged image raises nearly anything, Pillow's own errors among it.
        raise DataError(f"{path}: image '{name}' does not decode ({error}). Replace or remove it.") from error
    return _Image(label, name, pixels)


def _hold_out(path: Path, images: list[_Image]) -> tuple[list[_Image], list[_Image]]:
    """Split stratified by class. By name, so that a file keeps its side when others come or go nearby."""
    by_class: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        by_class[image.label].append(image)
    train, test = [], []
    for label, group in by_class.items():
        if len(group) < 2:
            raise DataError(f"{path}: class '{label}' has one image and there is no test folder, so none is left to "
                            "test on. Add images or a test folder.")
        group = sorted(group, key=lambda image: hashlib.sha256(image.name.encode()).digest())
        count = max(1, round(HELD_OUT * len(group)))
        test += group[:count]
        train += group[count:]
    return train, test


def _classes(path: Path, images: list[_Image], canonical: Sequence[str]) -> tuple[tuple[str, ...], dict[str, int]]:
    found = sorted({image.label for image in images})
    if not canonical:
        if len(found) < 2:
            raise DataError(f"{path} holds one class, '{found[0]}'; a classifier needs at least two class folders.")
        return tuple(found), {name: label for label, name in enumerate(found)}
    if (order := class_order(found, canonical)) is None:
        raise DataError(f"{path} holds the classes {', '.join(found)}; expected {', '.join(canonical)} (or their "
                        f"numbers). For a data set of your own use folder:{path}.")
    return tuple(canonical), order


def _check_test_classes(path: Path, images: list[_Image], order: dict[str, int]) -> None:
    if extra := sorted({image.label for image in images} - order.keys()):
        raise DataError(f"{path}: the test folder holds classes that training does not: {', '.join(extra)}. Remove "
                        "them or add their training images.")


def _check_sizes(path: Path, images: list[_Image]) -> None:
    sizes = {image.pixels.shape[:2]: image.name for image in reversed(images)}
    if len(sizes) > 1:
        (first, second), count = list(sizes.items())[-2:], len(sizes)
        told = ", ".join(f"{width}×{height} ('{name}')" for (height, width), name in (second, first))
        raise DataError(f"{path}: images differ in size ({count} sizes, e.g. {told}; width×height). Bring all to one "
                        "size first.")


def _stack(images: list[_Image], order: dict[str, int], colour: bool) -> Split:
    pixels = torch.from_numpy(np.stack([
        np.broadcast_to(image.pixels[..., None], (*image.pixels.shape, 3)) if colour and image.pixels.ndim == 2
        else image.pixels for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).contiguous() if colour else pixels[:, None]
    return Split(pixels, torch.tensor([order[image.label] for image in images], dtype=torch.int64))
