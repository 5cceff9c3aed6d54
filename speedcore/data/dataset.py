"""What a data set is: uint8 images, int64 labels, and where the bytes came from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from speedcore.data.folder.tree import shown
from speedcore.errors import DataError

_LISTED_CLASSES = 40


@dataclass(frozen=True)
class Provenance:
    """Where the bytes came from.

    source: one line for people ("class folders in cifar10-jpeg75.tar.xz").
    official: True only if the decoded content matched the published checksums.
    sha256: digest of the decoded content (`Dataset.fingerprint`), filled in by `Dataset.make`.
    note: what a reader must know, e.g. why the files are not the official ones; empty if nothing.
    seconds: wall-clock seconds spent getting the bytes (`provision`) and decoding them (`load`).
    """

    source: str
    official: bool
    sha256: str = ""
    note: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """One split. Images stay uint8 until the device normalises them.

    masks, where they exist, are True on the pixels of the object.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"]
    masks: Bool[Tensor, "n h w"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> Split:
        masks = None if self.masks is None else self.masks.to(device)
        return Split(self.images.to(device), self.labels.to(device), masks)

    def take(self, index: Int64[Tensor, " k"]) -> Split:
        """The rows `index`, in that order."""
        # Whole images at once: several times as fast as indexing.
        masks = None if self.masks is None else self.masks.index_select(0, index)
        return Split(self.images.index_select(0, index), self.labels.index_select(0, index), masks)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        height, width = self.images.shape[2:]
        return height, width


class Part:
    """The rows `rows` of a split, without a copy of their images until some are taken.

    Training on all but a thousand images of a data set must not need room for two data sets.
    """

    def __init__(self, split: Split, rows: Int64[Tensor, " k"]):
        self._split, self._rows = split, rows
        self.labels, self.size = split.labels.index_select(0, rows), split.size

    def __len__(self) -> int:
        return len(self._rows)

    def to(self, device: torch.device | str) -> Part:
        return Part(self._split.to(device), self._rows.to(device))

    def take(self, index: Int64[Tensor, " k"]) -> Split:
        """The rows `index` of this part, in that order."""
        return self._split.take(self._rows.index_select(0, index))


@dataclass(frozen=True)
class Dataset:
    """A training split and a held-out test split over the same classes. Build one with `Dataset.make`."""

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    provenance: Provenance

    @classmethod
    def make(cls, name: str, classes: tuple[str, ...], train: Split, test: Split, provenance: Provenance) -> Dataset:
        """Check shapes, types and labels, and name the content by its digest. Raises DataError."""
        for which, split in (("train", train), ("test", test)):
            _check(name, which, split, len(classes))
        if train.images.shape[1:] != test.images.shape[1:]:
            raise DataError(f"data set '{name}': training images are {tuple(train.images.shape[1:])} but test images "
                            f"are {tuple(test.images.shape[1:])} (C, H, W); bring both to one size.")
        digest = hashlib.sha256()
        for split in (train, test):
            digest.update(repr(tuple(split.images.shape)).encode())
            digest.update(split.images.contiguous().numpy().data)
            digest.update(split.labels.contiguous().numpy().data)
        named = Provenance(provenance.source, provenance.official, digest.hexdigest(), provenance.note, provenance.seconds)
        return cls(name, tuple(classes), train, test, named)

    @property
    def fingerprint(self) -> str:
        """sha256 of all decoded images and labels."""
        return self.provenance.sha256

    @property
    def summary(self) -> str:
        """Two or three sentences for people: from where, how many images, which classes, what must be known of them."""
        origin, classes = self.provenance, list(self.classes)
        listed = ", ".join(classes if len(classes) <= _LISTED_CLASSES else [*classes[:_LISTED_CLASSES - 1], "…", classes[-1]])
        note = f" {origin.note[:1].upper()}{origin.note[1:]}." if origin.note else ""
        return (f"{self.name}: {origin.source}. {len(self.train):,} training and {len(self.test):,} test images of "
                f"{len(classes):,} classes: {shown(listed)}.{note}")

    @property
    def channels(self) -> int:
        return self.train.images.shape[1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.train.size

    @cached_property
    def moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation a channel of the training split, in 0..1 units, computed in float64."""
        counts = torch.stack([torch.bincount(channel.flatten(), minlength=256)
                              for channel in self.train.images.unbind(1)]).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = (counts * levels).sum(1) / counts.sum(1)
        variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / counts.sum(1)
        # A constant channel carries no information; dividing by 1 leaves it at zero. Its variance may be a rounding
        # error above zero, so levels are counted.
        std = torch.where((counts > 0).sum(1) > 1, variance.sqrt(), torch.ones_like(variance))
        return tuple(mean.tolist()), tuple(std.tolist())

    @property
    def mean(self) -> tuple[float, ...]:
        return self.moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        return self.moments[1]

    def subset(self, train: int | None = None, test: int | None = None) -> Dataset:
        """The first `train` and `test` rows (all where None): for quick looks, and named so in the provenance."""
        trained, tested = (Split(s.images[:n], s.labels[:n], None if s.masks is None else s.masks[:n])
                           for s, n in ((self.train, train), (self.test, test)))
        note = f"subset of {len(trained)} training and {len(tested)} test images. {self.provenance.note}".strip()
        provenance = Provenance(self.provenance.source, False, "", note, self.provenance.seconds)
        return Dataset.make(self.name, self.classes, trained, tested, provenance)


def _check(name: str, which: str, split: Split, classes: int) -> None:
    where = f"data set '{name}', {which} split"
    if split.images.dtype != torch.uint8 or split.images.ndim != 4:
        raise DataError(f"{where}: images must be uint8 (N, C, H, W), found {split.images.dtype} "
                        f"{tuple(split.images.shape)}.")
    if split.labels.dtype != torch.int64 or split.labels.shape != split.images.shape[:1]:
        raise DataError(f"{where}: labels must be int64 (N,) with N = {len(split.images)}, found {split.labels.dtype} "
                        f"{tuple(split.labels.shape)}.")
    if len(split) == 0:
        raise DataError(f"{where}: no images.")
    if classes < 2:
        raise DataError(f"{where}: {classes} class found; a classifier needs at least two.")
    if int(split.labels.min()) < 0 or int(split.labels.max()) >= classes:
        raise DataError(f"{where}: labels run from {int(split.labels.min())} to {int(split.labels.max())}, outside "
                        f"0..{classes - 1}.")
    if split.masks is not None and split.masks.shape != (len(split), *split.images.shape[2:]):
        raise DataError(f"{where}: masks must be bool (N, H, W), found {tuple(split.masks.shape)}.")
