"""Class folders of PNG or JPEG, on disk or in an archive: `train/<class>/…`, `test/<class>/…`."""

from __future__ import annotations

import hashlib
import io
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
    split: str  # "train", "test", or "" where the folders name none
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
    for file in sorted(path.rglob("*")):
        if file.is_file():
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
    images = [_decode(path, place, content) for place, content in _image_files(path)]
    if not images:
        raise DataError(f"{path} holds no PNG or JPEG image in class folders. Lay it out as train/<class>/<image> and "
                        "test/<class>/<image>.")
    images.sort(key=lambda image: (image.label, image.name))
    parts: dict[str, list[_Image]] = defaultdict(list)
    for image in images:
        parts[image.split].append(image)
    if not parts["train"]:
        parts["train"] = parts.pop("")
    notes = [note]
    if not parts["test"]:
        parts["train"], parts["test"] = _hold_out(path, parts["train"])
        notes.append(f"no test folder: {HELD_OUT:.0%} of each class held out for testing, chosen by the sha256 of the "
                     "file names")
    classes, order = _classes(path, parts["train"], canonical)
    _check_test_classes(path, parts["test"], order)
    colour = any(image.pixels.ndim == 3 for image in images)
    _check_sizes(path, images)
    train, test = (_stack(parts[split], order, colour) for split in ("train", "test"))
    return Decoded(classes, train, test, official=False, note="; ".join(filter(None, notes)))


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


def _image_files(path: Path) -> Iterator[tuple[tuple[str, str, str], bytes]]:
    """((split, class, file), content) of every image. A part named train or test counts wherever it lies."""
    for name, content in files(path):
        parts = PurePosixPath(name).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts) or not name.lower().endswith(IMAGE_SUFFIXES):
            continue
        at = next((i for i, part in enumerate(parts[:-2]) if part.lower() in ("train", "test")), None)
        if at is not None:
            yield (parts[at].lower(), parts[at + 1], name), content
        elif len(parts) > 1 and parts[-2].lower() not in ("train", "test"):
            yield ("", parts[-2], name), content


def _decode(path: Path, place: tuple[str, str, str], content: bytes) -> _Image:
    split, label, name = place
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.mode not in _GREY | _COLOUR:
                raise ValueError(f"pixels of mode {image.mode}; 8 bits a channel are needed")
            pixels = np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
    except Exception as error:  # A damaged image raises nearly anything, Pillow's own errors among it.
        raise DataError(f"{path}: image '{name}' does not decode ({error}). Replace or remove it.") from error
    return _Image(split, label, name, pixels)


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
