"""3×3 convolutions with less than a third of the multiplications in fp32: Winograd's F(4×4, 3×3), forward and backward, on CPUs.

The maps are those of `winograd`, the products our own: some tiles at a time go from images through planes and products to
images, so that planes never leave a core's own cache (`winograd_fp32.c`, from one source for vectors of any processor). Results
differ from exact ones by 1e-6 of their size (root mean square), direct convolutions in fp32 by 3e-7.
"""

from __future__ import annotations

import ctypes
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.autograd.function import once_differentiable

from speedcore.kernels import build

# What a thread has in its hands at once fits a core's own cache, the planes of a part of the filters' gradient the shared one.
_ROOM_BYTES = 400 * 2**10
_PLANES_BYTES = 8 * 2**20
_MOST_TILES = 48


def convolve(x: Float[Tensor, "n c h w"], weight: Float[Tensor, "k c 3 3"], pooled: bool = False) -> Float[Tensor, "n k h2 w2"]:
    """The convolution of `x`, padded by one, with `weight`, both in fp32; at least `least_channels` on either side. Gradients
    reach both.

    pooled: only the largest of each 2×2 results (what is left over at an odd border is dropped), a quarter of the memory. Raises
    ValueError where that leaves nothing, or for fewer channels.
    """
    if min(weight.shape[:2]) < least_channels():
        raise ValueError(f"{weight.shape[1]} → {weight.shape[0]} channels: Winograd's convolutions need at least "
                         f"{least_channels()} on either side here; convolve directly.")
    return _Convolution.apply(x, weight, pooled)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pooled: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        n, _, height, width = x.shape
        if pooled and min(height, width) < 2:
            raise ValueError(f"of {height}×{width} cells, pooling 2×2 leaves none; give larger images")
        y = _images(n, len(weight), height // 2, width // 2) if pooled else _images(n, len(weight), height, width)
        which = torch.empty_like(y, dtype=torch.uint8) if pooled else None
        _convolve(x, None, weight.detach().permute(2, 3, 1, 0), y, which)
        ctx.save_for_backward(x, weight, which)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, which = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = of_filters = None
        if ctx.needs_input_grad[0]:
            of_x = _images(*x.shape)
            _convolve(gradient, which, weight.detach().flip(2, 3).permute(2, 3, 0, 1), of_x, None)
        if ctx.needs_input_grad[1]:
            of_filters = _gradient_of_filters(x, gradient, which, len(weight))
        return of_x, of_filters, None


def _images(n: int, channels: int, height: int, width: int) -> Float[Tensor, "n c h w"]:
    return torch.empty((n, channels, height, width), memory_format=torch.channels_last)


def _convolve(x: Float[Tensor, "n c h1 w1"], x_which: UInt8[Tensor, "n c h1 w1"] | None, filters: Float[Tensor, "3 3 c k"],
              y: Float[Tensor, "n k h2 w2"], y_which: UInt8[Tensor, "n k h2 w2"] | None) -> None:
    """Into `y` the convolution of `x`, each pooled if it has a `which`."""
    n, channels = x.shape[:2]
    count = y.shape[1]
    height, width = (y if y_which is None else x).shape[2:]
    planes = torch.empty(_number("filters_floats", channels, count))
    _loops("filters_to_planes", filters.contiguous(), planes, channels, count)
    rows = _number("tiles_at_a_time")
    together = max(1, min(_MOST_TILES, _ROOM_BYTES // (4 * 36 * channels)) // rows) * rows
    threads = torch.get_num_threads()
    room = torch.empty(threads * _number("room_floats", together, channels))
    _loops("convolve", x, x_which, planes, y, y_which, n, height, width, channels, count, room, threads, together)


def _gradient_of_filters(x: Float[Tensor, "n c h w"], gradient: Float[Tensor, "n k h2 w2"],
                         which: UInt8[Tensor, "n k h2 w2"] | None, count: int) -> Float[Tensor, "k c 3 3"]:
    n, channels, height, width = x.shape
    together = max(1, min(256, _PLANES_BYTES // (4 * 36 * (channels + count)))) // 8 * 8
    planes = torch.zeros(_number("gradient_floats", channels, count))
    left, right = (torch.empty(_number("side_floats", together, of)) for of in (count, channels))
    of_filters = torch.empty((count, channels, 3, 3), memory_format=torch.channels_last)
    _loops("gradient_of_filters", gradient, which, x, planes, of_filters, n, height, width, channels, count, left, right,
           torch.get_num_threads(), together)
    return of_filters


def least_channels() -> int:
    """How many channels there must be on either side: as many as a register holds."""
    return _number("lanes")


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops; None, and a line in the log that says why, where they are not available."""
    return build.load(Path(__file__).with_suffix(".c"), "convolutions are direct instead, which takes longer")


_loops, _number = partial(build.call, library), partial(build.number, library)
