"""What a tree of files means as a data set: which image belongs to which split and class, and what is not used, and why.

The reading is that of `torchvision.datasets.ImageFolder`: below the root each folder is a class, and whatever lies in it,
however deep, belongs to that class. Folders that name splits are roots of their own. Classes are in natural order: 9 before
10. Names alone decide, before any file is read. Where two readings are possible neither is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from speedcore.data.folder.splits import TEST, TRAIN, is_filler, split_of, splits_of
from speedcore.data.folder.tree import SPECIAL, Entry, shown
from speedcore.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".ppm", ".pgm")

HIDDEN = "hidden, or the system's own"
NO_IMAGE = f"no image by its name ({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)} are)"
OUTSIDE = "outside the class folders"
BESIDE = "beside the folders of the splits"
UNLABELLED = "no class known: the test folder holds no class folders"
SPARE = "for validation, and recipes hold out validation images of their own from the training split"

_SYSTEM = {"__MACOSX", "Thumbs.db", "desktop.ini", "Icon\r", "@eaDir"}
_NAMED = 3  # files that are named for each reason


@dataclass(frozen=True)
class Image:
    """An image to be used. name: in the tree; own: from the data set's root; split: "train" or "test"; label: its class."""

    name: str
    own: str
    split: str
    label: str

    @property
    def order(self) -> tuple[Any, ...]:
        """By class, then as torchvision orders files: by folder, then by name."""
        folder, _, file = self.own.rpartition("/")
        return natural(self.label), folder, file


@dataclass(frozen=True)
class Reading:
    """images: those to be used, in order. left_out, ignored: (name, reason) of every other file.

    notes: what a person should know of how the tree was read.
    """

    images: tuple[Image, ...]
    left_out: tuple[tuple[str, str], ...]
    ignored: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def found(self) -> int:
        return len(self.images) + len(self.left_out) + len(self.ignored)

    @property
    def counts(self) -> str:
        """used + left out + ignored = found, with reasons and names, as one clause."""
        return (f"{self.found:,} files found: {len(self.images):,} used, {len(self.left_out):,} left out"
                f"{_reasons(self.left_out)}, {len(self.ignored):,} ignored{_reasons(self.ignored)}")

    def of(self, split: str) -> tuple[Image, ...]:
        return tuple(image for image in self.images if image.split == split)


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts as text does, but numbers by their value: "9" before "10"."""
    # A number stands where its digits stand among the letters. Values are compared as text, so that any length will do.
    parts = [(ord("0"), len(part.lstrip("0")), part.lstrip("0")) if part[0] in "0123456789" else (ord(part), 0, "")
             for part in re.findall(r"[0-9]+|[^0-9]", name)]
    return tuple(parts), name


def read(entries: Iterable[Entry], empty: Iterable[str] = ()) -> Reading:
    """The meaning of the files `entries` and the `empty` folders. Raises DataError where there is none, or more than one."""
    left_out, ignored, top = [], [], _Folder("")
    images = []
    for entry in entries:
        if entry.fault == SPECIAL or _hidden(entry.name):
            ignored.append((entry.name, SPECIAL if entry.fault == SPECIAL else HIDDEN))
        elif entry.fault:
            left_out.append((entry.name, entry.fault))
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            images.append(entry.name)
            top.add(entry.name)
        else:
            left_out.append((entry.name, NO_IMAGE))
            top.add(entry.name, image=False)
    for name in empty:
        if not _hidden(name):
            top.add(f"{name}/", image=False)
    root, notes = _peeled(top)
    reasons: dict[str, str] = {}
    used = {image.name: image for image in _used(root, notes, reasons)}
    left_out += [(name, reasons.get(name, OUTSIDE)) for name in images if name not in used]
    return Reading(tuple(sorted(used.values(), key=lambda image: image.order)), tuple(left_out), tuple(ignored), tuple(notes))


class _Folder:
    """A folder with the images directly in it, the folders in it, and how many images there are in all of it."""

    def __init__(self, path: str):
        self.path, self.name = path, path.rpartition("/")[2]
        self.images: list[str] = []
        self.inner: dict[str, _Folder] = {}
        self.total, self.others = 0, 0

    def add(self, name: str, image: bool = True) -> None:
        at = self
        *parents, file = name.split("/")
        for parent in [None, *parents]:
            if parent is not None:
                at = at.inner.setdefault(parent, _Folder(f"{at.path}/{parent}" if at.path else parent))
            at.total += image
            at.others += not image and file != ""
        if image:
            at.images.append(name)

    @property
    def full(self) -> list[_Folder]:
        """The folders in it that hold images."""
        return [folder for folder in self.inner.values() if folder.total]

    def walk(self) -> Iterator[_Folder]:
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += folder.inner.values()

    def all_images(self) -> Iterator[str]:
        return (name for folder in self.walk() for name in folder.images)

    @property
    def may_be_root(self) -> bool:
        """Could the folders in it be classes or splits?"""
        return len(self.full) > 1 or bool(self.full) and not self.images


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part in _SYSTEM for part in name.split("/"))


def _peeled(top: _Folder) -> tuple[_Folder, list[str]]:
    """The folder whose folders are splits or classes: archives often have others around it. And a note, if it is not `top`."""
    root = top
    while len(root.full) == 1:
        (inner,) = root.full
        # Beside other folders it is a class, and they are classes that lost their images; but images/ lies beside labels/.
        if len(root.inner) > 1 and not is_filler(inner.name) or split_of(inner.name) or not inner.may_be_root:
            break
        root = inner
    return root, [f"read from the folder '{shown(root.path)}' in it"] if root is not top else []


def _used(root: _Folder, notes: list[str], reasons: dict[str, str]) -> Iterator[Image]:
    meant = splits_of({folder.name: frozenset(inner.name for inner in folder.full) for folder in root.full})
    if meant is None:
        yield from _classes(root, root, TRAIN)
        return
    parts = {TRAIN: meant.train, TEST: meant.test}
    if meant.test is None and meant.validation and root.inner[meant.validation].full:
        parts[TEST] = meant.validation
        notes.append(f"no test folder: the images in '{shown(meant.validation)}' are the test split")
    for folder in root.full:
        if folder.name not in parts.values():
            why = {meant.validation: SPARE, meant.unlabelled: UNLABELLED}.get(folder.name, BESIDE)
            reasons.update(dict.fromkeys(folder.all_images(), why))
    for split, name in parts.items():
        if name is not None:
            yield from _classes(root, _inside(root.inner[name]), split)


def _inside(folder: _Folder) -> _Folder:
    """The folder of a split, or the one in it where the classes are: train/images/<class>, seg_train/seg_train/<class>."""
    split = split_of(folder.name)
    while len(folder.inner) == 1 and folder.full and folder.full[0].may_be_root and (
            is_filler(folder.full[0].name) or folder.full[0].name == folder.name
            or split and split_of(folder.full[0].name) == split):
        (folder,) = folder.full
    return folder


def _classes(root: _Folder, place: _Folder, split: str) -> Iterator[Image]:
    """The images in the class folders in `place`."""
    if lost := [folder for folder in place.inner.values() if not folder.total]:
        listed = ", ".join(f"'{shown(folder.path)}' ({_counted(folder.others)})" for folder in lost)
        raise DataError(f"folders in the place of classes hold no image that is read: {listed}. Put images into them "
                        f"({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}), or take them away.")
    start = len(root.path) + 1 if root.path else 0
    for label in place.full:
        if not _is_text(label.name):
            raise DataError(f"the class folder '{shown(label.path)}' has a name that is not UTF-8. Rename it.")
        for folder in label.walk():
            if folder is not label and folder.total and split_of(folder.name):
                raise DataError(
                    f"the folders can be read in two ways: '{shown(folder.path)}' holds a split of the class "
                    f"'{shown(label.name)}'; or it belongs to that class whole, whatever its name. Neither is taken. Lay them "
                    f"out as train/<class>/<image> and test/<class>/<image>, or rename '{shown(folder.name)}'.")
            for name in folder.images:
                yield Image(name, name[start:], split, label.name)


def _counted(others: int) -> str:
    return "empty" if not others else f"{others} other file{'s' if others != 1 else ''}"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _reasons(files: tuple[tuple[str, str], ...]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, reason in files:
        by_reason.setdefault(reason, []).append(name)
    said = []
    for reason, names in by_reason.items():
        first = ", ".join(f"'{shown(name)}'" for name in names[:_NAMED])
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        said.append(f"{len(names):,} {reason}: {first}{more}")
    return f" ({'; '.join(said)})" if said else ""
