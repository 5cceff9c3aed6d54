"""Augmentation in batches, on the device, before normalisation.

Images stay uint8 until the last moment: crop and flip are one gather from padded images, cutout fills with the mean
colour rounded to a grey level, and only then is the batch normalised. So a stored augmented image is exactly what
the device would have made, and precomputed epochs train the same weights to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from speedcore.recipe import Augment

Images = UInt8[Tensor, "n c h w"]
# Images are kept with channels innermost: a gathered pixel is then one contiguous read, and a batch comes out in
# the channels_last layout that convolutions prefer.
Pixels = UInt8[Tensor, "n h w c"]


@dataclass(frozen=True)
class Normalise:
    """(x / 255 − mean) / std a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, source) -> Normalise:
        """From anything with `mean` and `std` a channel in 0..1 units: a Dataset, or a run's record.data."""
        return cls(tuple(source.mean), tuple(source.std))

    def __call__(self, images: UInt8[Tensor, "n c h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n c h w"]:
        mean, std = (torch.tensor(v, device=images.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return images.to(torch.float32).mul_(1 / (255 * std)).sub_(mean / std).to(dtype)

    @property
    def fill(self) -> tuple[int, ...]:
        """The grey level nearest to the mean, a channel: what padding and cutout leave where they erase."""
        return tuple(round(255 * m) for m in self.mean)


@dataclass(frozen=True)
class Choices:
    """The random choices of one epoch, drawn in bulk: one value an image. None where the augmentation is off."""

    top: Int64[Tensor, " n"] | None
    left: Int64[Tensor, " n"] | None
    mirrored: Bool[Tensor, " n"] | None
    cut_top: Int64[Tensor, " n"] | None
    cut_left: Int64[Tensor, " n"] | None

    def take(self, index: Int64[Tensor, " k"]) -> Choices:
        return Choices(*(None if v is None else v[index] for v in vars(self).values()))


def draw(augment: Augment, n: int, size: tuple[int, int], epoch: int, generator: torch.Generator,
         first_mirrored: Bool[Tensor, " n"] | None = None) -> Choices:
    """Draw the choices of one epoch for n images of `size` (height, width), from the generator alone.

    first_mirrored: for alternating flips, the choices of epoch 0.
    """
    def integers(bound: int) -> Int64[Tensor, " n"]:
        return torch.randint(bound, (n,), generator=generator, device=generator.device)

    top, left = (integers(2 * augment.crop + 1), integers(2 * augment.crop + 1)) if augment.crop else (None, None)
    mirrored = None
    if augment.flip == "random" or (augment.flip == "alternating" and first_mirrored is None):
        mirrored = integers(2).bool()
    elif augment.flip == "alternating":
        # Every image is seen both ways in any two consecutive epochs, which chance does not promise.
        mirrored = first_mirrored ^ bool(epoch % 2)
    cut = (None, None)
    if augment.cutout:
        # Whole squares only: each of the (h − s + 1)(w − s + 1) positions is equally likely.
        cut = tuple(integers(max(1, side - augment.cutout + 1)) for side in size)
    return Choices(top, left, mirrored, *cut)


def pad(images: Images, augment: Augment, fill: Sequence[int]) -> Pixels:
    """Images with channels innermost and `augment.crop` pixels of padding on each side."""
    width = augment.crop
    if width == 0:
        return images.permute(0, 2, 3, 1).contiguous()
    if augment.pad == "reflect":
        rows, columns = (_reflected(side, width, images.device) for side in images.shape[2:])
        return images.permute(0, 2, 3, 1)[:, rows][:, :, columns].contiguous()
    n, c, h, w = images.shape
    colour = torch.tensor(fill if augment.pad == "mean" else [0] * c, dtype=torch.uint8, device=images.device)
    padded = colour.expand(n, h + 2 * width, w + 2 * width, c).contiguous()
    padded[:, width:width + h, width:width + w] = images.permute(0, 2, 3, 1)
    return padded


def _reflected(side: int, width: int, device: torch.device) -> Int64[Tensor, " p"]:
    """Indices that mirror `width` pixels at both ends without repeating the edge, to and fro if need be."""
    period = max(1, 2 * (side - 1))
    position = torch.arange(-width, side + width, device=device).remainder(period)
    return torch.minimum(position, period - position)


def apply(padded: Pixels, index: Int64[Tensor, " b"], choices: Choices, size: tuple[int, int], cutout: int,
          fill: Sequence[int]) -> UInt8[Tensor, "b c h w"]:
    """Augmented images `index` of `padded`, cropped to `size`, as `choices` (one row a picked image) say.

    Returns uint8 images in channels_last layout.
    """
    h, w = size
    device = padded.device
    if choices.top is None and choices.mirrored is None:
        picked = padded[index]
    else:
        rows = torch.arange(h, device=device).expand(len(index), h)
        columns = torch.arange(w, device=device).expand(len(index), w)
        if choices.mirrored is not None:
            columns = torch.where(choices.mirrored[:, None], w - 1 - columns, columns)
        if choices.top is not None:
            rows, columns = rows + choices.top[:, None], columns + choices.left[:, None]
        # One flat gather: pixel (image, row, column) is one row of the (pixels, channels) table.
        flat = (index[:, None, None] * padded.shape[1] + rows[:, :, None]) * padded.shape[2] + columns[:, None, :]
        picked = padded.reshape(-1, padded.shape[3]).index_select(0, flat.flatten()).view(len(index), h, w, -1)
    if choices.cut_top is not None:
        y, x = (torch.arange(side, device=device) for side in size)
        in_rows = (y >= choices.cut_top[:, None]) & (y < choices.cut_top[:, None] + cutout)
        in_columns = (x >= choices.cut_left[:, None]) & (x < choices.cut_left[:, None] + cutout)
        colour = torch.tensor(fill, dtype=torch.uint8, device=device)
        picked = torch.where((in_rows[:, :, None] & in_columns[:, None, :])[..., None], colour, picked)
    return picked.permute(0, 3, 1, 2)
