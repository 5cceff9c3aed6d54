"""Winograd's convolutions multiplied in whole numbers of 8 bits: twice the products a second, a third of the memory between.

Planes of images, gradients and filters are rounded to 255 steps, each tile (or channel, where tiles are added up) of each plane
on a scale of its own, and their products added up in 32 bits without rounding. On the way there and back groups of images go
through map, products and map at once, so that planes never leave a core's own cache. Rounding is 3 to 5 % of a result's size
and 5 % of a gradient's, where planes in bf16 have 1.3 %. Weights, the maps, and all that lies between layers stay as they are.
Source: tile-wise scales as in Andri et al., Going Further With Winograd Convolutions, 2022 (there for inference); a scale a
tile, and training, are ours.
"""

from __future__ import annotations

import ctypes
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import BFloat16, Float, Int, Int8
from torch import Tensor

from speedcore.kernels import build, winograd
from speedcore.machine import processor

# What a thread has in its hands at once fits a core's own cache (200 to 600 KiB took the same time), the planes of a part of
# the filters' gradient the shared one (4 and 8 MiB were best by a tenth to a fifth).
_ROOM_BYTES = 400 * 2**10
_PLANES_BYTES = 4 * 2**20


def is_available() -> bool:
    """Whether this machine multiplies 8 bits in one instruction. Elsewhere results are the same to the bit, but slow."""
    return library() is not None and bool(_number("has_dot_product"))


def convolve(x: BFloat16[Tensor, "n c h w"], weight: Float[Tensor, "k c 3 3"],
             pooled: bool = False) -> BFloat16[Tensor, "n k h2 w2"]:
    """The convolution of `x`, padded by one, with `weight`; at least 16 channels. Gradients reach both.

    pooled: only the largest of each 2×2 results (what is left over at an odd border is dropped). Raises ValueError where that
    leaves nothing.
    """
    return _Convolution.apply(x, weight, pooled)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pooled: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        count, channels = weight.shape[:2]
        n, _, height, width = x.shape
        planes = winograd.filter_planes(weight)
        y, which = winograd.results(x, count, pooled)
        largest = torch.zeros(36, channels)
        _loops("forward", x, *_right_side(planes, back=False), y, which, largest, n, height, width, channels, count,
               *_rooms(x, channels))
        ctx.save_for_backward(x, planes, which, largest)
        ctx.dtype = weight.dtype
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, planes, which, largest = ctx.saved_tensors
        _, count, channels = planes.shape
        n, _, height, width = x.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        largest_of_gradient, of_x = torch.zeros(36, count), None
        if ctx.needs_input_grad[0]:
            of_x = winograd.images(n, channels, height, width)
            _loops("backward", gradient, which, *_right_side(planes, back=True), of_x, largest_of_gradient, n, height, width,
                   channels, count, *_rooms(x, count))
        elif ctx.needs_input_grad[1]:
            _loops("largest_of_gradient", gradient, which, largest_of_gradient, n, height, width, count)
        if not ctx.needs_input_grad[1]:
            return of_x, None, None
        of_filters = torch.zeros((count, channels, 3, 3)).to(memory_format=torch.channels_last)
        tiles = winograd.tiles_of(x)
        most = max(1, _PLANES_BYTES // (36 * tiles * (channels + count)))  # images
        fours = -(-most * tiles // 4)
        left, right = (torch.empty(36 * _number("plane_bytes", 4 * fours * c), dtype=torch.uint8) for c in (count, channels))
        of_planes = torch.empty((36, count, channels), dtype=torch.bfloat16)
        scales = _steps(largest_of_gradient), _steps(largest), largest_of_gradient / 127, largest / 127
        for first in range(0, n, most):
            _loops("gradient_of_filters", gradient, which, x, *scales, of_planes, left, right, first, min(most, n - first),
                   height, width, channels, count)
            winograd.add_filters_gradient(of_planes, of_filters)
        return of_x, of_filters.to(ctx.dtype), None


def _right_side(planes: BFloat16[Tensor, "36 k c"], back: bool) -> tuple[Int8[Tensor, "36 q columns 4"],
                                                                         Float[Tensor, "36 columns"], Int[Tensor, "36 columns"]]:
    """Rounded filters with a sum's terms four by four, what a step of each column is worth, and where its sums start.

    Columns are filters and terms channels; on the way back it is the other way round.
    """
    count, channels = planes.shape[1:]
    terms, columns = (count, channels) if back else (channels, count)
    fours = torch.zeros((36, -(-terms // 4), columns, 4), dtype=torch.int8)
    scale, start = torch.empty((36, columns)), torch.empty((36, columns), dtype=torch.int32)
    _loops("round_filters", planes, fours, scale, start, count, channels, back)
    return fours, scale, start


def _steps(largest: Float[Tensor, "36 c"]) -> Float[Tensor, "36 c"]:
    """How many steps one is."""
    return torch.where(largest == 0, 0, 127 / largest)


def _rooms(x: Tensor, channels: int) -> tuple[Tensor, int, int]:
    """Room for all threads, how many they are, and how many images of x's sides each takes at once.

    Rows of a product are taken six at a time: three images have a multiple of that wherever one has an even number.
    """
    tiles = winograd.tiles_of(x)
    together = max(1, _ROOM_BYTES // (36 * tiles * (channels + 128)))
    together -= together % 3 if together > 3 else 0
    threads = torch.get_num_threads()
    each = _number("room_bytes", together * tiles, channels, x.shape[3])
    return torch.empty(threads * each, dtype=torch.uint8), threads, together


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops; None, and a line in the log that says why, where they are not available."""
    # Where vectors are shorter the loops are only good for tests: -O2 is compiled in 2 s, -O3 in 15.
    flags = () if "avx512f" in processor.features() else ("-O2",)
    without = "convolutions are multiplied in bf16 instead, which takes longer"
    return build.load(Path(__file__).with_suffix(".c"), without, flags)


_loops, _number = partial(build.call, library), partial(build.number, library)
