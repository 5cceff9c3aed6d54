"""Made images with known truth: ten kinds of shape, exact object masks, and a shortcut that can be planted.

A shape of random size, turn, place and colour lies on a textured background among fragments of other things, some of
them in front of it. Every kind is its own mirror image, so a flip changes no class. Low contrast, noise and few images
keep a network from perfection.

A shortcut is something other than the object that betrays the class: with probability `correlation` its value is the
class, otherwise it is drawn uniformly from all ten. What a network really relies on shows when the shortcut is swapped
to a wrong class (`swap_shortcut`) and nothing else in the image changes.

The same name gives the same bytes on every machine: Philox's raw stream (which numpy promises to keep), integers, and
only those float32 operations that IEEE 754 rounds exactly; sines are rounded to 2⁻²⁰ before use. Image i depends on
the seed and i alone, so a shorter split is a prefix of a longer one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from speedcore import limits
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.data.dataset_files import DatasetFiles, RawDataset
from speedcore.data.rng import TURNS, Draws, chroma, cosines
from speedcore.data.shape_masks import CLASSES, inside
from speedcore.errors import DataError

SIZE = 32
TRAIN, TEST = 10_000, 2_000
SHORTCUTS = ("corner", "hue")
SOURCE = "made by this project"
VERSION = "shapes-1"  # a change to a single pixel is a new version

CORNER = 4            # side of the patch, pixels
CHUNK = 250           # images drawn at once; each chunk has its own stream
FRAGMENTS = 6         # of which IN_FRONT may lie over the object
IN_FRONT = 1
_STREAMS = {"train": 0, "test": 1}


@dataclass(frozen=True)
class Spec:
    """All that determines a made data set. `name` and `parse` are inverse to each other."""

    train: int = TRAIN
    test: int = TEST
    seed: int = 0
    shortcut: str | None = None
    train_correlation: float = 0.0
    test_correlation: float = 0.0

    def __post_init__(self) -> None:
        if self.shortcut not in (None, *SHORTCUTS):
            raise DataError(f"shapes: unknown shortcut '{self.shortcut}'; there are {' and '.join(SHORTCUTS)}.")
        for correlation in (self.train_correlation, self.test_correlation):
            if not 0 <= correlation <= 1:
                raise DataError(f"shapes: a correlation of {correlation} is outside 0..1.")
        if self.shortcut is None and (self.train_correlation or self.test_correlation):
            raise DataError(f"shapes: a correlation needs a shortcut: {' or '.join(SHORTCUTS)}.")
        if self.train < 1 or self.test < 1 or not 0 <= self.seed < 2**64:
            raise DataError("shapes: train and test must be at least 1 and the seed within 0..2^64-1.")
        if (self.train + self.test) * 3 * SIZE * SIZE > limits.DECODED_BYTES:
            raise DataError(f"shapes: {self.train} training and {self.test} test images are more than the "
                            f"{limits.size_of(limits.DECODED_BYTES)} that are held in memory; make fewer.")

    @property
    def name(self) -> str:
        """`shapes`, `shapes:corner=0.9`, `shapes:hue=0.9/0` (training/test), then seed, train, test where not usual."""
        parts = []
        if self.shortcut:
            both = [f"{c:.12g}" for c in (self.train_correlation, self.test_correlation)]
            parts.append(f"{self.shortcut}={'/'.join(dict.fromkeys(both))}")
        parts += [f"{key}={getattr(self, key)}" for key in ("seed", "train", "test")
                  if getattr(self, key) != getattr(Spec, key)]
        return ":".join(filter(None, ["shapes", ",".join(parts)]))

    @classmethod
    def parse(cls, name: str) -> Spec:
        """The inverse of `name`. Raises DataError."""
        values: dict[str, Any] = {}
        kind, colon, options = name.partition(":")
        for option in options.split(",") if colon else ():
            key, _, value = option.partition("=")
            try:
                if key in SHORTCUTS:
                    train, _, test = value.partition("/")
                    values |= {"shortcut": key, "train_correlation": float(train), "test_correlation": float(test or train)}
                elif key in ("seed", "train", "test"):
                    values[key] = int(value)
                else:
                    raise ValueError
            except ValueError:
                kind = ""
        if kind != "shapes":
            raise DataError(f"'{name}' is not a name of made shapes. Write shapes, shapes:corner=0.9 or shapes:hue=0.9 "
                            "(training and test apart: corner=0.9/0), and after a comma seed=N, train=N, test=N.")
        return cls(**values)


@dataclass(frozen=True)
class ShortcutSplit:
    """A split, the shortcut's value in each image (a class; -1 where none is planted) and the pixels that carry it."""

    split: Split
    values: Int64[Tensor, " n"]
    shortcut: Bool[Tensor, "n h w"]


def make_shapes(train: int = TRAIN, test: int = TEST, seed: int = 0, shortcut: str | None = None,
                correlation: float = 0.0, test_correlation: float | None = None) -> Dataset:
    """The made data set, uint8 (N, 3, 32, 32) with object masks. Raises DataError.

    shortcut: None, "corner" (a coloured patch, top left) or "hue" (the background's).
    correlation: of the training split, and of the test split unless `test_correlation` is given.
    """
    spec = Spec(train, test, seed, shortcut, correlation, correlation if test_correlation is None else test_correlation)
    made = render(spec)
    return Dataset.make(spec.name, made.classes, made.train, made.test,
                        Provenance(SOURCE, made.official, note=made.note))


def spelling(name: str) -> str:
    """The usual spelling of a made set's name. Raises DataError."""
    return Spec.parse(name).name


def files(name: str) -> DatasetFiles:
    """What makes the set of that name. Raises DataError."""
    spec = Spec.parse(name)
    return DatasetFiles(SOURCE, None, partial(render, spec), partial(content_key, spec))


def render(spec: Spec) -> RawDataset:
    """Both splits of `spec`."""
    train, test = (shortcut_split(spec, which).split for which in ("train", "test"))
    return RawDataset(CLASSES, train, test, official=True, note=_note(spec))


def content_key(spec: Spec) -> str:
    """Names the content for the decoded copy."""
    return hashlib.sha256(f"{VERSION} {spec.name} {_note(spec)}".encode()).hexdigest()


def shortcut_split(spec: Spec, which: str = "test", swapped: bool = False) -> ShortcutSplit:
    """One split of `spec` ("train" or "test") with its shortcut's values and pixels.

    swapped: every shortcut value is a wrong class, drawn uniformly; labels, objects and all else stay as they are.
    """
    count = getattr(spec, which)
    chunks = [_chunk(spec, which, start // CHUNK, swapped) for start in range(0, count, CHUNK)]
    images, labels, masks, values, shortcut = (torch.from_numpy(np.concatenate(part)[:count])
                                               for part in zip(*chunks, strict=True))
    return ShortcutSplit(Split(images, labels, masks), values, shortcut)


def swap_shortcut(dataset: Dataset, which: str = "test") -> ShortcutSplit:
    """The split `which` of a made data set, every shortcut swapped to a wrong class. Raises DataError without one."""
    spec = Spec.parse(dataset.name)
    if spec.shortcut is None:
        raise DataError(f"data set '{dataset.name}' has no shortcut to swap; plant one: shapes:corner=0.9, shapes:hue=0.9.")
    count: dict[str, Any] = {which: len(getattr(dataset, which))}
    return shortcut_split(replace(spec, **count), which, swapped=True)


def _note(spec: Spec) -> str:
    if spec.shortcut is None:
        return ""
    what = {"corner": "a coloured corner patch", "hue": "the background's hue"}[spec.shortcut]
    return (f"a shortcut is planted: {what} is the class with probability {spec.train_correlation:g} in training and "
            f"{spec.test_correlation:g} in the test split, else drawn uniformly")


# --- drawing ------------------------------------------------------------------------------------------------------

# The ten values of a shortcut, told apart by hue.
PALETTE = chroma(cosines(len(CLASSES)))


def _chunk(spec: Spec, which: str, chunk: int, swapped: bool) -> tuple[np.ndarray, ...]:
    draws = Draws(spec.seed, 2 * _STREAMS[which], chunk)
    n = CHUNK
    labels = draws.below(len(CLASSES), n)
    # The shortcut has a stream of its own: planting or swapping it changes nothing else.
    values = _values(spec, which, chunk, swapped, labels)

    base = draws.between(70, 185, n, 1)
    darker = draws.below(2, n, 1).astype(np.float32) * 2 - 1
    away = np.where(base < 100, 1, np.where(base > 155, -1, darker)).astype(np.float32)
    brightness = base + away * draws.between(26, 85, n, 1)
    hue = chroma(TURNS[draws.below(len(TURNS), n)]) * draws.between(4, 40, n, 1)
    if spec.shortcut == "hue":
        hue = PALETTE[values] * np.float32(34)
    own = chroma(TURNS[draws.below(len(TURNS), n)]) * draws.between(4, 60, n, 1)

    image = (base + hue)[:, :, None, None] + _clouds(draws, n, 22)
    background = np.ones((n, SIZE, SIZE), bool)
    mask = np.zeros((n, SIZE, SIZE), bool)
    for fragment in range(FRAGMENTS + 1):
        if fragment == FRAGMENTS - IN_FRONT:
            mask = _object(draws, labels)
            _paint(image, mask, brightness + own, _clouds(draws, n, 18))
            background &= ~mask
            continue
        drawn = _fragment(draws, n, 4 if fragment < FRAGMENTS - IN_FRONT else 3)
        colour = base + draws.between(-60, 60, n, 1) + chroma(TURNS[draws.below(len(TURNS), n)]) * draws.between(4, 50, n, 1)
        _paint(image, drawn, colour)
        mask &= ~drawn
        background &= ~drawn
    # The sum of two bytes: triangular noise, its strength the image's own.
    noise = draws.bytes(2, n, 3, SIZE, SIZE).astype(np.float32).sum(0) - np.float32(255)
    image += noise * draws.between(0.03, 0.14, n, 1)[:, :, None, None]

    shortcut = np.zeros_like(mask)
    if spec.shortcut == "hue":
        shortcut = background
    elif spec.shortcut == "corner":
        shortcut[:, :CORNER, :CORNER] = True
        image[:, :, :CORNER, :CORNER] = (np.float32(128) + PALETTE[values] * np.float32(120))[:, :, None, None]
        mask &= ~shortcut
    return np.clip(image + np.float32(0.5), 0, 255).astype(np.uint8), labels, mask, values, shortcut


def _values(spec: Spec, which: str, chunk: int, swapped: bool, labels: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    if spec.shortcut is None:
        return np.full_like(labels, -1)
    draws = Draws(spec.seed, 2 * _STREAMS[which] + 1, chunk)
    n, classes = len(labels), len(CLASSES)
    kept = draws.between(0, 1, n) < getattr(spec, f"{which}_correlation")
    values = np.where(kept, labels, draws.below(classes, n))
    wrong = (labels + 1 + draws.below(classes - 1, n)) % classes
    return wrong if swapped else values


def _paint(image: np.ndarray, where: np.ndarray, colour: np.ndarray, texture: np.ndarray | float = 0) -> None:
    np.copyto(image, colour[:, :, None, None] + texture, where=where[:, None])


def _object(draws: Draws, labels: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, "n h w"]:
    """Which pixel centres lie in each image's shape: sized, turned, stretched and moved at random."""
    n = len(labels)
    radius = draws.between(7, 12, n)
    stretch = draws.between(0.8, 1.25, n)
    room = np.float32(SIZE / 2 - 1) - radius * np.float32(0.75)
    centre = np.float32(SIZE / 2) + draws.between(-1, 1, n, 2) * room[:, None]
    u, v = _frame(centre, TURNS[draws.below(len(TURNS), n)])
    u, v = u / (radius * stretch)[:, None, None], v / radius[:, None, None]
    mask = np.zeros((n, SIZE, SIZE), bool)
    for label in range(len(CLASSES)):
        rows = labels == label
        mask[rows] = inside(label, u[rows], v[rows])
    return mask


def _fragment(draws: Draws, n: int, size: float) -> Bool[np.ndarray, "n h w"]:
    """A bar, a blob or a bit of an arc."""
    u, v = _frame(draws.between(0, SIZE, n, 2), TURNS[draws.below(len(TURNS), n)])
    long = draws.between(0.4, 1, n, 1, 1) * np.float32(size)
    thick = draws.between(0.5, 1.5, n, 1, 1)
    square = u * u + v * v
    bar = (np.abs(u) <= long) & (np.abs(v) <= thick)
    blob = square <= long * long * np.float32(0.5)
    arc = (square <= (long + thick) * (long + thick)) & (square >= (long - thick) * np.abs(long - thick)) & (u > v)
    return np.choose(draws.below(3, n, 1, 1), [bar, blob, arc])


def _frame(centre: Float32[np.ndarray, "n 2"], turn: Float32[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (u, v), each (n, h, w), of the pixel centres in frames at `centre`, turned."""
    at = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x = at[None, None, :] - centre[:, 0, None, None]
    y = at[None, :, None] - centre[:, 1, None, None]
    cos, sin = turn[:, 0, None, None], turn[:, 1, None, None]
    return x * cos + y * sin, y * cos - x * sin


def _clouds(draws: Draws, n: int, strength: float) -> Float32[np.ndarray, "n 1 h w"]:
    """Smooth light and shade: random values on a 5×5 grid, interpolated."""
    grid = draws.between(-strength, strength, n, 5, 5)
    at = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / np.float32(8)
    low = at.astype(np.int64)
    share = at - low.astype(np.float32)
    rows = grid[:, low] * (1 - share)[:, None] + grid[:, low + 1] * share[:, None]
    return (rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share)[:, None]
