"""Batch-norm and GELU in one pass each way, on CPUs in bf16 or fp32: what lies between a fast network's convolutions.

One after the other they write and keep two results and read them twice on the way back; here only the input is kept, and
what the way back needs is computed again. The loops are `normgelu.c`, compiled by the machine's own C compiler. Φ is exact
to 2e-7 and the derivative to 2e-6, far below what bf16 holds (in fp32, which has no table of curves, to 3e-7); everything but
the input and the result is fp32.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from speedcore.kernels import build

_CHUNKS, _PARTS, _REACH = 64, 32, 5.5  # as in normgelu.c
_NODES = (1 + torch.cos(torch.pi * (torch.arange(4, dtype=torch.float64) + 0.5) / 4)) / 2  # Chebyshev's, from 0 to 1


def norm_gelu(norm: nn.BatchNorm2d, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """gelu(norm(x)), in bf16 or fp32, at least 16 channels. While the layer trains its running statistics are kept up as ever."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None  # as ours are
    assert norm.num_batches_tracked is not None
    x = x.contiguous(memory_format=torch.channels_last)
    if not norm.training:
        return _NormGelu.apply(x, norm.weight, norm.bias, norm.running_mean, (norm.running_var + norm.eps).rsqrt(), False)
    count = x.numel() // x.shape[1]
    mean, squares = _summed("sums", x) / count
    variance = (squares - mean**2).clamp_min(0)
    if x.dtype == torch.float32 and count:
        mean = mean + x.detach()[0, :, 0, 0]  # sums are of what x is more than its first pixel
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var.dtype), norm.momentum)
    return _NormGelu.apply(x, norm.weight, norm.bias, mean.float(), (variance + norm.eps).rsqrt().float(), True)


def bias_gelu(x: Float[Tensor, "n c h w"], bias: Float[Tensor, " c"]) -> Float[Tensor, "n c h w"]:
    """gelu(x + bias), in bf16 or fp32, at least 16 channels."""
    x = x.contiguous(memory_format=torch.channels_last)
    return _NormGelu.apply(x, torch.ones_like(bias), bias, torch.zeros_like(bias), torch.ones_like(bias), False)


class _NormGelu(torch.autograd.Function):
    """gelu((x − mean)·rstd·weight + bias); `of_batch` says that mean and rstd were made of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, rstd: Tensor, of_batch: bool) -> Tensor:
        mean, rstd = mean.float(), rstd.float()
        scale = weight.float() * rstd
        shift = bias.float() - mean * scale
        y = torch.empty_like(x)
        _loops("norm_gelu", x, y, _curves()[0], scale, shift, x.numel() // x.shape[1], x.shape[1])
        ctx.save_for_backward(x, mean, rstd, scale, shift)
        ctx.of_batch, ctx.dtypes = of_batch, (weight.dtype, bias.dtype)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        x, mean, rstd, scale, shift = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        count, channels = x.numel() // x.shape[1], x.shape[1]
        of_bias = along = of_x = None
        if ctx.of_batch or any(ctx.needs_input_grad[1:3]):
            of_bias, along = _summed("gradient_sums", x, gradient, _curves()[1], scale, shift, mean).float()
        if ctx.needs_input_grad[0]:
            constant = slope = torch.zeros_like(mean)
            if ctx.of_batch:
                slope = -scale * rstd**2 * along / count
                constant = -scale * of_bias / count - slope * mean
            of_x = torch.empty_like(x)
            _loops("norm_gelu_adjoint", x, gradient, of_x, _curves()[1], scale, shift, constant, slope, count,
                   channels)
        weight, bias = (None if of is None else of.to(dtype)
                        for of, dtype in zip((None if along is None else along * rstd, of_bias), ctx.dtypes, strict=True))
        return of_x, weight, bias, None, None, None


def _summed(name: str, x: Tensor, *more: Tensor) -> Tensor:
    """Two sums over the pixels of each channel, (2, channels) in fp64."""
    partial_sums = torch.zeros((_CHUNKS, 2, x.shape[1]), dtype=torch.float64)
    _loops(name, x, partial_sums, *more, x.numel() // x.shape[1], x.shape[1])
    return partial_sums.sum(0)


@cache
def _curves() -> Float[Tensor, "2 4 32"]:
    """Φ(z) and the derivative of z·Φ(z), less ½, in cubics of the distance from the beginning of a part, from power 0 on.

    Through Chebyshev's nodes: within 2e-7 and 9e-7, and 2e-6 where the last part, which is ½ throughout, begins.
    """
    z = (torch.arange(_PARTS)[:, None] + _NODES) * (_REACH / _PARTS)
    below = torch.special.ndtr(z)
    derivative = below + z * torch.exp(-z**2 / 2) / math.sqrt(2 * math.pi)
    powers = _NODES[:, None] ** torch.arange(4)
    cubics = torch.stack([torch.linalg.solve(powers, curve.T - 0.5) for curve in (below, derivative)])
    cubics[:, :, -1] = torch.tensor([0.5, 0, 0, 0])
    return cubics.float().contiguous()


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The loops compiled for bf16 or fp32; None, and a line in the log that says why, where they are not available."""
    flags = ("-DFP32",) if dtype == torch.float32 else ()
    return build.load(Path(__file__).with_suffix(".c"), "batch-norm and GELU are taken one by one instead", flags)


def _loops(name: str, x: Tensor, *more: Tensor | int) -> None:
    build.call(partial(library, x.dtype), name, x, *more)
