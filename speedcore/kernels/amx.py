"""3×3 convolutions on a processor's matrix unit (Intel AMX), forward and backward, in bf16.

The unit multiplies 16 rows of 32 values by 32 columns of 16 in one instruction, sixteen times what a vector unit does. Here rows
are images: 32 images are laid out pixel by pixel, so that every tap of a filter is a product of whole tiles, and taps beyond the
border are left out instead of multiplied as zeros (on 7×7 pixels a fifth of them, on 3×3 two fifths). Pooling is part of the way
out. Products are exact and added up in fp32, so that results are a direct convolution's but for the order of its sums. The loops
are `amx.c`, compiled by the machine's own C compiler.
"""

from __future__ import annotations

import ctypes
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import BFloat16, Float, UInt8
from torch import Tensor

from speedcore.kernels import build, winograd

_GROUP, _TAPS, _PIXEL_BYTES = 32, 9, 2048  # as in amx.c
# What a thread has laid out at once fits a core's own cache: of 2 MiB, half was best (a quarter: 4 % more time; all: 8 to 50 %).
_ROOM_BYTES = 2**20
# The gradient of the filters is read and written once for each band, several times the cache: 384 channels of 7×7 pixels took a
# fifth less time in one band than in two.
_LEAST_PIXELS = 48


def convolve(x: BFloat16[Tensor, "n c h w"], weight: Float[Tensor, "k c 3 3"],
             pooled: bool = False) -> BFloat16[Tensor, "n k h2 w2"]:
    """The convolution of `x`, padded by one, with `weight` rounded to bf16. Gradients reach both.

    pooled: only the largest of each 2×2 results (what is left over at an odd border is dropped). Raises ValueError where that
    leaves nothing, RuntimeError on a machine on which it is not available (`is_available`).
    """
    if not is_available():
        raise RuntimeError("this processor has no matrix unit (Intel AMX), or there is no C compiler; "
                           "speedcore.kernels.use chooses a backend that the machine has.")
    return _Convolution.apply(x, weight, pooled)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pooled: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y, which = winograd.results(x, len(weight), pooled)
        _convolve(x, None, weight, y, which, back=False)
        ctx.save_for_backward(x, weight, which)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight, which = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = of_filters = None
        if ctx.needs_input_grad[0]:
            of_x = winograd.images(*x.shape)
            _convolve(gradient, which, weight, of_x, None, back=True)
        if ctx.needs_input_grad[1]:
            of_filters = _gradient_of_filters(x, gradient, which, weight)
        return of_x, of_filters, None


def _convolve(x: BFloat16[Tensor, "n c h1 w1"], x_which: UInt8[Tensor, "n c h1 w1"] | None, weight: Float[Tensor, "..."],
              y: BFloat16[Tensor, "n k h2 w2"], y_which: UInt8[Tensor, "n k h2 w2"] | None, back: bool) -> None:
    """Into `y` the convolution of `x`, each pooled if it has a `which`. On the way back filters and channels change places."""
    n, channels = x.shape[:2]
    count = y.shape[1]
    height, width = (y if y_which is None else x).shape[2:]
    filters = weight.detach().float().contiguous(memory_format=torch.channels_last)
    tiles = _room(_groups(count) * _groups(channels) * _TAPS * _PIXEL_BYTES)
    _loops("round_filters", filters, tiles, *weight.shape[:2], back)
    rows, threads = _rows(height, width, channels, even=y_which is not None), torch.get_num_threads()
    room = _number("room_values", height, width, channels, x_which is not None, count, y_which is not None, rows)
    _loops("convolve", x, x_which, tiles, y, y_which, n, height, width, channels, count, rows, _room(2 * threads * room), threads)


def _gradient_of_filters(x: BFloat16[Tensor, "n c h w"], gradient: BFloat16[Tensor, "n k h2 w2"],
                         which: UInt8[Tensor, "n k h2 w2"] | None, weight: Float[Tensor, "k c 3 3"]) -> Float[Tensor, "k c 3 3"]:
    n, channels, height, width = x.shape
    count, threads = len(weight), torch.get_num_threads()
    rows = _rows(height, width, channels, even=which is not None, least=-(-_LEAST_PIXELS // width))
    room = _number("room_values", height, width, channels, False, count, which is not None, rows)
    sums = _room(threads * _groups(count) * _groups(channels) * _TAPS * 2 * _PIXEL_BYTES).zero_()
    _loops("gradient_of_filters", gradient, which, x, sums, n, height, width, channels, count, rows, _room(2 * threads * room),
           threads)
    of_filters = torch.empty(weight.shape, memory_format=torch.channels_last)
    _loops("gather_filters", sums, of_filters, threads, count, channels)
    return of_filters.to(weight.dtype)


def _groups(channels: int) -> int:
    return -(-channels // _GROUP)


def _rows(height: int, width: int, channels: int, even: bool, least: int = 2) -> int:
    """How many rows of results to take at a time: bands of about the same height, with a row more on either side."""
    most = max(least, _ROOM_BYTES // (width * _groups(channels) * _PIXEL_BYTES) - 2)
    rows = -(-height // -(-height // most))
    return rows + rows % 2 if even else rows


def _room(bytes_: int) -> UInt8[Tensor, " b"]:
    """That many bytes and a few more, from the beginning of a cache line on."""
    room = torch.empty(bytes_ + 64, dtype=torch.uint8)
    return room[-room.data_ptr() % 64:]


@cache
def is_available() -> bool:
    """Whether this machine has a matrix unit and lets us use it."""
    return library() is not None and bool(_number("has_matrix_unit"))


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops; None, and a line in the log that says why, where they are not available."""
    return build.load(Path(__file__).with_suffix(".c"), "convolutions take another backend, which takes longer")


_loops, _number = partial(build.call, library), partial(build.number, library)
