"""Every compiled loop that runs here, on random shapes beside torch's results in fp64: a program for test_sanitized.

python -m tests.speedcore.kernels.sanitized [FLAG ...]: compiled with these flags.
It prints a line a shape; status 0 if all agree.
"""

from __future__ import annotations

import random
import sys

import torch
from torch import nn
from torch.nn import functional as F

from speedcore.kernels import build, normgelu, winograd, winograd8, winograd_fp32

# Of the results' size: what planes in 8 bits, in bf16 and in fp32 round.
WAYS = {"winograd_fp32": (winograd_fp32.convolve, torch.float32, 1e-5), "winograd": (winograd.convolve, torch.bfloat16, 0.03),
        "winograd8": (winograd8.convolve, torch.bfloat16, 0.08)}
SIDES = (1, 2, 3, 4, 5, 7, 8, 13, 31, 64, 384, 1024)
# Always among them: the smallest, the longest either way, one tile and a bit.
SHAPES = [(1, 16, 16, 1, 1), (1, 16, 17, 1024, 1), (1, 16, 16, 2, 1024), (3, 17, 31, 5, 9), (1, 16, 16, 384, 384)]


def main(flags: list[str]) -> None:
    build._FLAGS = (*build._FLAGS, *flags)
    torch.set_num_threads(3)
    draw = random.Random(0)
    shapes = list(SHAPES)
    while len(shapes) < 12:
        n, ins, outs = draw.choice((1, 2, 7, 33)), draw.randint(16, 90), draw.randint(16, 90)
        height, width = draw.choice(SIDES), draw.choice(SIDES)
        if n * height * width * ins * outs < 1.5e7:
            shapes.append((n, ins, outs, height, width))
    for shape in shapes:
        for name, (way, dtype, limit) in WAYS.items():
            for pooled in (False, True) if min(shape[3:]) > 1 else (False,):
                found = convolution(way, dtype, shape, pooled)
                print(name, shape, "pooled" if pooled else "", *(f"{error:.1e}" for error in found), flush=True)
                assert max(found) < limit
        for dtype, limit in ((torch.float32, 1e-4), (torch.bfloat16, 0.01)):
            found = norm_and_gelu(dtype, shape)
            print("normgelu", dtype, shape, *(f"{error:.1e}" for error in found), flush=True)
            assert max(found) < limit


def convolution(way, dtype: torch.dtype, shape: tuple[int, ...], pooled: bool) -> list[float]:
    """Relative errors of result and both gradients."""
    n, ins, outs, height, width = shape
    torch.manual_seed(0)
    x = torch.randn(n, ins, height, width).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    w = (torch.randn(outs, ins, 3, 3) / (9 * ins) ** 0.5).requires_grad_()
    y = way(x, w, pooled)
    towards = torch.randn(y.shape).to(dtype)
    largest = y.grad_fn.saved_tensors[2]
    found = [y.detach(), *torch.autograd.grad(y, (x, w), towards)]
    exact_x, exact_w = x.detach().double().requires_grad_(), w.detach().double().requires_grad_()
    exact = F.conv2d(exact_x, exact_w, padding=1)
    if pooled:  # the largest as it was chosen, before rounding to the images' precision: of these the loop alone knows
        largest = largest.long()
        rows, columns = (torch.arange(side // 2) * 2 for side in (height, width))
        at = (rows[:, None] + largest // 2) * width + columns + largest % 2
        exact = exact.flatten(2).gather(2, at.flatten(2)).view(at.shape)
    expected = [exact.detach(), *torch.autograd.grad(exact, (exact_x, exact_w), towards.double())]
    return [relative(*pair) for pair in zip(found, expected, strict=True)]


def norm_and_gelu(dtype: torch.dtype, shape: tuple[int, ...]) -> list[float]:
    n, channels, _, height, width = shape
    torch.manual_seed(0)
    norm, x = nn.BatchNorm2d(channels), (2 * torch.randn(n, channels, height, width) + 1).to(dtype)
    norm.train(n * height * width > 1)
    with torch.no_grad():
        norm.bias.normal_()
    exact, there = nn.BatchNorm2d(channels).double().train(norm.training), x.double().requires_grad_()
    exact.load_state_dict(norm.state_dict())
    here = x.to(memory_format=torch.channels_last).requires_grad_()
    y, z = normgelu.norm_gelu(norm, here), F.gelu(exact(there))
    towards = torch.randn(y.shape).to(dtype)
    found = torch.autograd.grad(y, (here, norm.weight, norm.bias), towards)
    expected = torch.autograd.grad(z, (there, exact.weight, exact.bias), towards.double())
    # One or two pixels a channel normalise to ±1, and gradients through that cancel.
    few = n * height * width < 8
    return [relative(y, z), *(relative(*pair) for pair in zip(found[1 if few else 0:], expected[1 if few else 0:], strict=True))]


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found.double() - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt().clamp_min(1e-30)).item()


if __name__ == "__main__":
    main(sys.argv[1:])
