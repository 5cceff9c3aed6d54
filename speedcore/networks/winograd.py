"""3×3 convolutions with less than a third of the multiplications: Winograd's F(4×4, 3×3), forward and backward, on CPUs in bf16.

A result of 4×4 pixels takes 36 products a pair of channels instead of 144: tiles of 6×6 pixels are evaluated at six points a
side, multiplied there with the filters (36 matrix products over channels, torch's), and interpolated. The maps in and out
are `winograd.c`, compiled by the machine's own C compiler when first needed and kept in the user cache. Results differ from
direct convolutions by 1.3 % of their size (root mean square), six times the rounding of a bf16 convolution: noise, to
training. Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015; the points are ours.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor, nn

from speedcore import compiling

_LANES = 16
# Planes of this size stay in the last cache between a map and the products: 8 to 32 MiB took the same time within noise.
_PLANES_BYTES = 16 * 2**20
# Narrower layers are bound by memory: with 32 channels on 31×31 cells, 0.8 to 1.0 of the direct time, with 24 no gain.
_LEAST_CHANNELS = 32


def use(network: nn.Module) -> bool:
    """Let the 3×3 convolutions of `network` go this way wherever they run in bf16 on a CPU. Returns whether any will here.

    Weights, names and hooks stay as they are; in fp32, or on a GPU, so does the result, to the bit.
    """
    layers = [module for module in network.modules() if type(module) is nn.Conv2d and _fits(module)]
    if not layers or library() is None:
        return False
    for layer in layers:
        layer.__class__ = Conv3x3
    return True


def _fits(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size == (3, 3) and layer.padding == (1, 1) and layer.padding_mode == "zeros" and layer.bias is None
            and layer.stride == layer.dilation == (1, 1) and layer.groups == 1
            and min(layer.in_channels, layer.out_channels) >= _LEAST_CHANNELS
            and layer.in_channels % _LANES == 0 and layer.out_channels % _LANES == 0)


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution, padded by one, that takes the short way where it may."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        if x.device.type != "cpu" or not (bf16 or x.dtype == self.weight.dtype == torch.bfloat16):
            return super().forward(x)
        return convolve(x.to(torch.bfloat16), self.weight)


def convolve(x: BFloat16[Tensor, "n c h w"], weight: Float[Tensor, "k c 3 3"]) -> BFloat16[Tensor, "n k h w"]:
    """The convolution of `x`, padded by one, with `weight`; channels multiples of 16. Gradients reach both."""
    return _Convolution.apply(x, weight)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx, x, weight):
        x = x.contiguous(memory_format=torch.channels_last)
        filters = weight.detach().float().contiguous(memory_format=torch.channels_last)
        count, channels = weight.shape[:2]
        planes = torch.empty((36, count, channels), dtype=torch.bfloat16)
        _call("filters_to_planes", filters, planes, count, channels)
        result = _image_like(x, count)
        for rows in _parts(x, count):
            products = torch.bmm(_to_planes("image_to_planes", x[rows]), planes.transpose(1, 2))
            _to_image("planes_to_image", products, result[rows])
        ctx.save_for_backward(x, planes)
        ctx.dtype = weight.dtype
        return result

    @staticmethod
    def backward(ctx, gradient):
        x, planes = ctx.saved_tensors
        _, count, channels = planes.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = _image_like(x, channels) if ctx.needs_input_grad[0] else None
        of_filters = torch.zeros((count, channels, 3, 3)).to(memory_format=torch.channels_last) \
            if ctx.needs_input_grad[1] else None
        for rows in _parts(x, count):
            of_products = _to_planes("planes_to_image_adjoint", gradient[rows])
            if of_filters is not None:
                tiles = _to_planes("image_to_planes", x[rows])  # made anew: cheaper than to bring them back from memory
                _call("filters_to_planes_adjoint", torch.bmm(of_products.transpose(1, 2), tiles), of_filters, count, channels)
            if of_x is not None:
                _to_image("image_to_planes_adjoint", torch.bmm(of_products, planes), of_x[rows])
        return of_x, None if of_filters is None else of_filters.to(ctx.dtype)


def _image_like(x: Tensor, channels: int) -> Tensor:
    return torch.empty((len(x), channels, *x.shape[2:]), dtype=torch.bfloat16, memory_format=torch.channels_last)


def _parts(x: Tensor, count: int) -> list[slice]:
    """Slices of images whose planes, in and out, fit `_PLANES_BYTES`; all of about the same length."""
    each = 2 * 36 * _tiles(x) * (x.shape[1] + count)
    parts = min(len(x), -(-each * len(x) // _PLANES_BYTES))
    bounds = [len(x) * part // parts for part in range(parts + 1)] if parts else []
    return [slice(*ends) for ends in zip(bounds, bounds[1:], strict=False)]


def _tiles(x: Tensor) -> int:
    """Tiles an image."""
    height, width = x.shape[2:]
    return -(-height // 4) * -(-width // 4)


def _to_planes(name: str, images: BFloat16[Tensor, "n c h w"]) -> BFloat16[Tensor, "36 t c"]:
    n, channels, height, width = images.shape
    planes = torch.empty((36, n * _tiles(images), channels), dtype=torch.bfloat16)
    _call(name, images, planes, n, height, width, channels)
    return planes


def _to_image(name: str, planes: BFloat16[Tensor, "36 t c"], images: BFloat16[Tensor, "n c h w"]) -> None:
    n, channels, height, width = images.shape
    _call(name, planes, images, n, height, width, channels)


def _call(name: str, source: Tensor, target: Tensor, count: int, *sizes: int) -> None:
    getattr(library(), name)(ctypes.c_void_p(source.data_ptr()), ctypes.c_void_p(target.data_ptr()),
                             ctypes.c_long(count), *map(ctypes.c_int, sizes))


@cache
def library() -> ctypes.CDLL | None:
    """The compiled maps; None, and a line in the log that says why, where they cannot be had."""
    return compiling.load(Path(__file__).with_suffix(".c"), "convolutions are direct instead, which takes longer")
