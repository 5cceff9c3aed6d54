"""Augmentation in batches, on the device, before normalisation.

Images stay uint8 until the last moment: crop and flip are one gather, cutout fills with the mean colour rounded to a
grey level, and only then is the batch normalised. So a stored augmented image is exactly what the device would have
made, and precomputed epochs train the same weights to the bit.

Nothing is copied but the batch: mirrored borders are never drawn, since the index of the gather is mirrored instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from speedcore.recipe import Augment

Images = UInt8[Tensor, "n c h w"]


class Channels(Protocol):
    """What the channels of its images hold, in 0..1 units: a Dataset, or a run's record.data."""

    @property
    def mean(self) -> Sequence[float]: ...

    @property
    def std(self) -> Sequence[float]: ...


@dataclass(frozen=True)
class Normalise:
    """(x / 255 − mean) / std a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, source: Channels) -> Normalise:
        """From the mean and deviation of each channel."""
        return cls(tuple(source.mean), tuple(source.std))

    def __call__(self, images: UInt8[Tensor, "n c h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n c h w"]:
        scale, shift = _scale_and_shift(self.mean, self.std, images.device)
        return images.to(torch.float32).mul_(scale).sub_(shift).to(dtype)

    @property
    def fill(self) -> tuple[int, ...]:
        """The grey level nearest to the mean, a channel: what padding and cutout leave where they erase."""
        return tuple(round(255 * m) for m in self.mean)


@lru_cache(maxsize=32)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """1 / (255 std) and mean / std, each (c, 1, 1). Kept: a copy to a GPU in every step would wait for its queue."""
    means, deviations = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (mean, std))
    return 1 / (255 * deviations), means / deviations


@dataclass(frozen=True)
class AugmentationParameters:
    """The random parameters of one epoch, sampled in bulk: one value an image. None where the augmentation is off."""

    top: Int64[Tensor, " n"] | None
    left: Int64[Tensor, " n"] | None
    mirrored: Bool[Tensor, " n"] | None
    cut_top: Int64[Tensor, " n"] | None
    cut_left: Int64[Tensor, " n"] | None

    def take(self, index: Int64[Tensor, " k"]) -> AugmentationParameters:
        return AugmentationParameters(*(None if v is None else v.index_select(0, index) for v in vars(self).values()))


def sample(augment: Augment, n: int, size: tuple[int, int], epoch: int, generator: torch.Generator,
         first_mirrored: Bool[Tensor, " n"] | None = None) -> AugmentationParameters:
    """Sample the parameters of one epoch for n images of `size` (height, width), from the generator alone.

    first_mirrored: for alternating flips, the parameters of epoch 0.
    """
    def integers(*bounds: int) -> tuple[Int64[Tensor, " n"], ...]:
        """A place below `bounds` for each image."""
        if augment.groups:
            return _shared(bounds, n, augment.groups, generator)
        return tuple(torch.randint(bound, (n,), generator=generator, device=generator.device) for bound in bounds)

    top, left = integers(2 * augment.crop + 1, 2 * augment.crop + 1) if augment.crop else (None, None)
    mirrored = None
    if augment.flip == "random" or (augment.flip == "alternating" and first_mirrored is None):
        mirrored = integers(2)[0].bool()
    elif augment.flip == "alternating" and first_mirrored is not None:
        # Every image is seen both ways in any two consecutive epochs, which chance does not promise.
        mirrored = first_mirrored ^ bool(epoch % 2)
    cut: tuple[Tensor | None, ...] = (None, None)
    if augment.cutout:
        # Whole squares only: each of the (h − s + 1)(w − s + 1) positions is equally likely.
        cut = integers(*(max(1, side - augment.cutout + 1) for side in size))
    return AugmentationParameters(top, left, mirrored, *cut)


def _shared(bounds: tuple[int, ...], n: int, groups: int, generator: torch.Generator) -> tuple[Int64[Tensor, " n"], ...]:
    """A place below `bounds` for each of n images: different places for at most `groups` random groups of equal size.

    Where n is no multiple, the first groups have one image more.
    """
    device = generator.device
    places = torch.randperm(math.prod(bounds), generator=generator, device=device)[:groups]
    sizes = torch.full_like(places, n // len(places))
    sizes[:n % len(places)] += 1
    place = places.repeat_interleave(sizes, output_size=n)[torch.randperm(n, generator=generator, device=device)]
    found = []
    for bound in reversed(bounds):
        found.append(place % bound)
        place = place // bound
    return tuple(reversed(found))


class Augmenter:
    """Augments batches of images of `size` (height, width) as `augment` says; made once, for one device.

    fill: the grey level a channel that cutout leaves.
    """

    def __init__(self, augment: Augment, size: tuple[int, int], fill: Sequence[int], device: torch.device | str = "cpu"):
        h, w = size
        self._crop = augment.crop
        self._colour = torch.tensor(fill, dtype=torch.uint8, device=device).view(-1, 1)
        # For each pixel of a padded image, where in the image it comes from; and the same for the mirror image. A crop is
        # a window of these planes.
        down, across = (_sources(side, augment.crop).to(device) for side in size)
        plane = down[:, None] * w + across
        planes = torch.stack([plane, plane.flip(1)])
        self._padded = plane.shape
        windows = planes.numel() - (h - 1) * plane.shape[1] - w + 1
        self._windows = planes.as_strided((windows, h, w), (1, plane.shape[1], 1))
        square = (torch.arange(min(augment.cutout, side), device=device) for side in size)
        self._square = torch.cartesian_prod(*square).mul(torch.tensor([w, 1], device=device)).sum(1)

    def __call__(self, images: Images, parameters: AugmentationParameters) -> Images:
        """Images augmented as `parameters` (one row an image) say; `images` stay as they are."""
        n, c, h, w = images.shape
        if parameters.top is not None or parameters.mirrored is not None:
            pixels = self._windows.index_select(0, self._corners(parameters)).view(n, 1, h * w)
            images = images.flatten(2).gather(2, pixels.expand(n, c, h * w)).view(n, c, h, w)
        if parameters.cut_top is not None and parameters.cut_left is not None:
            pixels = (parameters.cut_top * w + parameters.cut_left)[:, None] + self._square
            erased = (n, c, len(self._square))
            images = images.flatten(2).scatter(2, pixels[:, None].expand(erased), self._colour.expand(erased)).view(n, c, h, w)
        return images

    def _corners(self, parameters: AugmentationParameters) -> Int64[Tensor, " n"]:
        """Where the window of each image begins, counted in pixels from the start of the planes."""
        height, width = self._padded
        top, left = parameters.top, parameters.left
        corner = 0 if top is None or left is None else top * width + left
        if parameters.mirrored is not None:
            # The mirror image of a crop is a crop of the mirror image, as far from the other end.
            other = 0 if left is None else 2 * (self._crop - left)
            corner = corner + parameters.mirrored * (height * width + other)
        assert isinstance(corner, Tensor)  # asked for only where something moves the window
        return corner


def _sources(side: int, width: int) -> Int64[Tensor, " p"]:
    """Where each pixel along a padded side comes from: mirrored at both ends, edges not repeated, to and fro if need be."""
    period = max(1, 2 * (side - 1))
    position = torch.arange(-width, side + width).remainder(period)
    return torch.minimum(position, period - position)
