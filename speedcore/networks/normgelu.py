"""Batch-norm and GELU in one pass each way, on CPUs in bf16: what lies between a fast network's convolutions.

One after the other they write and keep two results and read them twice on the way back; here only the input is kept, and
what the way back needs is reckoned anew. The loops are `normgelu.c`, compiled by the machine's own C compiler. Φ is exact
to 2e-7, far below what bf16 holds, and everything but the input and the result is fp32.
"""

from __future__ import annotations

import ctypes
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import BFloat16, Float
from torch import Tensor, nn

from speedcore import compiling

_CHUNKS = 64  # as in normgelu.c


def norm_gelu(norm: nn.BatchNorm2d, x: BFloat16[Tensor, "n c h w"]) -> BFloat16[Tensor, "n c h w"]:
    """gelu(norm(x)), at least 16 channels. While the layer trains its running statistics are kept up as ever."""
    x = x.contiguous(memory_format=torch.channels_last)
    if not norm.training:
        return _NormGelu.apply(x, norm.weight, norm.bias, norm.running_mean, (norm.running_var + norm.eps).rsqrt(), False)
    count = x.numel() // x.shape[1]
    mean, squares = _summed("sums", x) / count
    variance = (squares - mean**2).clamp_min(0)
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
        norm.running_var.lerp_((variance * count / max(count - 1, 1)).to(norm.running_var.dtype), norm.momentum)
    return _NormGelu.apply(x, norm.weight, norm.bias, mean.float(), (variance + norm.eps).rsqrt().float(), True)


def bias_gelu(x: BFloat16[Tensor, "n c h w"], bias: Float[Tensor, " c"]) -> BFloat16[Tensor, "n c h w"]:
    """gelu(x + bias), at least 16 channels."""
    x = x.contiguous(memory_format=torch.channels_last)
    return _NormGelu.apply(x, torch.ones_like(bias), bias, torch.zeros_like(bias), torch.ones_like(bias), False)


class _NormGelu(torch.autograd.Function):
    """gelu((x − mean)·rstd·weight + bias); `of_batch` says that mean and rstd were made of x."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, rstd, of_batch):
        mean, rstd = mean.float(), rstd.float()
        scale = weight.float() * rstd
        shift = bias.float() - mean * scale
        y = torch.empty_like(x)
        _loops("norm_gelu", x, y, scale, shift, x.numel() // x.shape[1], x.shape[1])
        ctx.save_for_backward(x, mean, rstd, scale, shift)
        ctx.of_batch, ctx.dtypes = of_batch, (weight.dtype, bias.dtype)
        return y

    @staticmethod
    def backward(ctx, gradient):
        x, mean, rstd, scale, shift = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        count, channels = x.numel() // x.shape[1], x.shape[1]
        of_bias = along = of_x = None
        if ctx.of_batch or any(ctx.needs_input_grad[1:3]):
            of_bias, along = _summed("gradient_sums", x, gradient, scale, shift, mean).float()
        if ctx.needs_input_grad[0]:
            constant = slope = torch.zeros_like(mean)
            if ctx.of_batch:
                slope = -scale * rstd**2 * along / count
                constant = -scale * of_bias / count - slope * mean
            of_x = torch.empty_like(x)
            _loops("norm_gelu_adjoint", x, gradient, of_x, scale, shift, constant, slope, count, channels)
        weight, bias = (None if of is None else of.to(dtype)
                        for of, dtype in zip((None if along is None else along * rstd, of_bias), ctx.dtypes, strict=True))
        return of_x, weight, bias, None, None, None


def _summed(name: str, x: Tensor, *more: Tensor) -> Tensor:
    """Two sums over the pixels of each channel, (2, channels) in fp64."""
    partial_sums = torch.zeros((_CHUNKS, 2, x.shape[1]), dtype=torch.float64)
    _loops(name, x, partial_sums, *more, x.numel() // x.shape[1], x.shape[1])
    return partial_sums.sum(0)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops; None, and a line in the log that says why, where they cannot be had."""
    return compiling.load(Path(__file__).with_suffix(".c"), "batch-norm and GELU are taken one by one instead")


_loops = partial(compiling.call, library)
