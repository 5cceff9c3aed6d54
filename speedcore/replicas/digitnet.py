"""DigitNet: two convolutions and two linear layers, the family of networks that mnist-fast narrows step by step.

On 28×28 digits: 1,199,882 parameters with one pool (c32-c64-fc9216→128), 225,034 with two (fc1600→128), 111,002 at
widths 24 and 32, 215,194 with 5×5 first filters and 256 hidden units.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from speedcore.errors import RecipeError


class SeededDropout(nn.Module):
    """Dropout that draws from a generator of its own, seeded by the draw of the weights.

    torch's dropout draws from the global generator: a run would then depend on whatever drew before it, and leave its
    trace for what comes after. A share of channels (n, c, h, w), or of values (n, d), is dropped; the rest is scaled up.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share
        self._seed = int(torch.randint(2**31, (), device="cpu"))
        self._generator: torch.Generator | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_generator": None}  # a copy draws from the start, and generators cannot be copied

    def forward(self, x: Float[Tensor, "n c *rest"]) -> Float[Tensor, "n c *rest"]:
        if not self.training or not self.share:
            return x
        if self._generator is None or self._generator.device != x.device:
            self._generator = torch.Generator(x.device).manual_seed(self._seed)
        drawn = torch.rand(x.shape[:2], generator=self._generator, device=x.device)
        kept = (drawn >= self.share).to(x.dtype) / (1 - self.share)
        return x * kept.view(*kept.shape, *(1,) * (x.ndim - 2))


class DigitNet(nn.Module):
    """conv-(pool)-relu, conv-pool-relu, linear-relu, linear. Convolutions are not padded."""

    explain_layers = {"middle": "first", "last": "second"}  # 12×12 and 5×5 cells on 28×28 images with two pools

    def __init__(self, channels: int, size: tuple[int, int], classes: int, widths: tuple[int, int], first_kernel: int,
                 hidden: int, first_pool: bool, second_relu: bool, pool_first: bool, dropout: tuple[float, float]):
        super().__init__()
        sides = [_side(side, first_kernel, first_pool) for side in size]
        if min(sides) < 1:
            raise RecipeError(f"network 'digitnet' leaves nothing of images of {size[0]}×{size[1]} pixels; choose a recipe "
                              f"with network 'davidnet', which pads small images.")
        self.first = nn.Sequential(nn.Conv2d(channels, widths[0], first_kernel), *_end(True, first_pool, pool_first))
        self.second = nn.Sequential(nn.Conv2d(*widths, 3), *_end(second_relu, True, pool_first))
        self.hidden = nn.Linear(widths[1] * sides[0] * sides[1], hidden)
        self.head = nn.Linear(hidden, classes)
        self.drop_channels, self.drop_values = map(SeededDropout, dropout)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        x = self.drop_channels(self.second(self.first(x)))
        return self.head(self.drop_values(self.hidden(x.flatten(1)).relu()))


def _end(relu: bool, pool: bool, pool_first: bool) -> list[nn.Module]:
    """What follows a convolution: activation and pool, in either order."""
    modules: list[nn.Module] = [nn.ReLU()] * relu + [nn.MaxPool2d(2)] * pool
    return modules[::-1] if pool_first else modules


def _side(side: int, first_kernel: int, first_pool: bool) -> int:
    """Cells a side that are left of `side` pixels."""
    first = (side - first_kernel + 1) // (2 if first_pool else 1)
    return (first - 2) // 2
