"""3×3 convolutions with less than a third of the multiplications: Winograd's F(4×4, 3×3), forward and backward, on CPUs in bf16.

A result of 4×4 pixels takes 36 products a pair of channels instead of 144: tiles of 6×6 pixels are evaluated at six points a
side, multiplied there with the filters (36 matrix products over channels, torch's), and interpolated. The maps in and out
are `winograd.c`, compiled by the machine's own C compiler when first needed and kept in the user cache. Results differ from
direct convolutions by 1.3 % of their size (root mean square), six times the rounding of a bf16 convolution: noise, to
training. Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015; the points are ours.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import BFloat16, Float, UInt8
from torch import Tensor

from speedcore.kernels import build

# Planes of this size stay in the last cache between a map and the products: 8 to 32 MiB took the same time within noise.
_PLANES_BYTES = 16 * 2**20


def convolve(x: BFloat16[Tensor, "n c h w"], weight: Float[Tensor, "k c 3 3"],
             pooled: bool = False) -> BFloat16[Tensor, "n k h2 w2"]:
    """The convolution of `x`, padded by one, with `weight`; at least 16 channels. Gradients reach both.

    pooled: only the largest of each 2×2 results (what is left over at an odd border is dropped), a quarter of the memory. Raises
    ValueError where that leaves nothing.
    """
    return _Convolution.apply(x, weight, pooled)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pooled: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        count, channels = weight.shape[:2]
        planes = filter_planes(weight)
        height, width = x.shape[2:]
        result, which = results(x, count, pooled)
        for rows, tiles, products in _parts(x, count):
            place = rows.stop - rows.start, height, width
            _maps("image_to_planes", x[rows], tiles, *place, channels)
            torch.bmm(tiles, planes.transpose(1, 2), out=products)
            if which is not None:
                _maps("planes_to_pooled", products, result[rows], *place, count, which[rows])
            else:
                _maps("planes_to_image", products, result[rows], *place, count)
        ctx.save_for_backward(x, planes, which)
        ctx.dtype = weight.dtype
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, planes, which = ctx.saved_tensors
        _, count, channels = planes.shape
        height, width = x.shape[2:]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = images(len(x), channels, height, width) if ctx.needs_input_grad[0] else None
        of_filters = torch.zeros((count, channels, 3, 3)).to(memory_format=torch.channels_last) \
            if ctx.needs_input_grad[1] else None
        threads = torch.get_num_threads()
        rooms = torch.empty(threads * build.number(library, "room_floats", width)), threads
        for rows, tiles, products in _parts(x, count):
            place = rows.stop - rows.start, height, width
            if which is None:
                _maps("planes_to_image_adjoint", gradient[rows], products, *place, count)
            else:
                _maps("planes_to_pooled_adjoint", gradient[rows], products, *place, count, which[rows])
            if of_filters is not None:
                _maps("image_to_planes", x[rows], tiles, *place, channels)  # again: cheaper than to bring them back from memory
                # A matrix product is quicker, by up to a third, with its wider side last.
                of_planes = torch.bmm(products.transpose(1, 2), tiles) if count <= channels else \
                    torch.bmm(tiles.transpose(1, 2), products).transpose(1, 2).contiguous()
                add_filters_gradient(of_planes, of_filters)
            if of_x is not None:
                torch.bmm(products, planes, out=tiles)
                _maps("image_to_planes_adjoint", tiles, of_x[rows], *place, channels, *rooms)
        return of_x, None if of_filters is None else of_filters.to(ctx.dtype), None


def filter_planes(weight: Float[Tensor, "k c 3 3"]) -> BFloat16[Tensor, "36 k c"]:
    """The filters at the points where tiles are multiplied."""
    filters = weight.detach().float().contiguous(memory_format=torch.channels_last)
    planes = torch.empty((36, *weight.shape[:2]), dtype=torch.bfloat16)
    _maps("filters_to_planes", filters, planes, *weight.shape[:2])
    return planes


def add_filters_gradient(of_planes: BFloat16[Tensor, "36 k c"], of_filters: Float[Tensor, "k c 3 3"]) -> None:
    """Add the gradient of the filters, laid out as k·3·3·c, that their planes' is."""
    _maps("filters_to_planes_adjoint", of_planes, of_filters, *of_filters.shape[:2])


def images(n: int, channels: int, height: int, width: int) -> BFloat16[Tensor, "n c h w"]:
    """Room for images, laid out as n·h·w·c."""
    return torch.empty((n, channels, height, width), dtype=torch.bfloat16, memory_format=torch.channels_last)


def results(x: Tensor, count: int, pooled: bool) -> tuple[BFloat16[Tensor, "n k h2 w2"], UInt8[Tensor, "n k h2 w2"] | None]:
    """Room for the results of `count` filters on x and, where they are pooled, for which of each 2×2 was the largest.

    Raises ValueError where pooling leaves nothing.
    """
    height, width = x.shape[2:]
    if pooled and min(height, width) < 2:
        raise ValueError(f"of {height}×{width} cells, pooling 2×2 leaves none; give larger images")
    result = images(len(x), count, height // 2, width // 2) if pooled else images(len(x), count, height, width)
    return result, torch.empty_like(result, dtype=torch.uint8) if pooled else None


def tiles_of(x: Float[Tensor, "n c h w"]) -> int:
    """How many tiles an image has."""
    return -(-x.shape[2] // 4) * -(-x.shape[3] // 4)


def _parts(x: Tensor, count: int) -> Iterator[tuple[slice, BFloat16[Tensor, "36 t c"], BFloat16[Tensor, "36 t k"]]]:
    """Slices of images, all of about the same length, with room for the planes of either side, which fits `_PLANES_BYTES`.

    The room is the same each time: what is still in the cache is written over there.
    """
    tiles = tiles_of(x)
    each = 2 * 36 * tiles * (x.shape[1] + count)
    parts = min(len(x), -(-each * len(x) // _PLANES_BYTES))
    bounds = [len(x) * part // max(1, parts) for part in range(parts + 1)]
    most = max((stop - start for start, stop in zip(bounds, bounds[1:], strict=False)), default=0)
    room = [torch.empty(36 * most * tiles * channels, dtype=torch.bfloat16) for channels in (x.shape[1], count)]
    for start, stop in zip(bounds, bounds[1:], strict=False):
        here, there = (r[:len(r) * (stop - start) // most].view(36, (stop - start) * tiles, -1) for r in room)
        yield slice(start, stop), here, there


@cache
def library() -> ctypes.CDLL | None:
    """The compiled maps; None, and a line in the log that says why, where they are not available."""
    return build.load(Path(__file__).with_suffix(".c"), "convolutions are direct instead, which takes longer")


_maps = partial(build.call, library)
