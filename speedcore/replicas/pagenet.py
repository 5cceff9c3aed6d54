"""PageNet: the network that the series builds in its fourth part and trains faster and faster in its eighth.

Prep, three stages of conv-norm-activation-pool that halve the sides, a global max-pool and a linear head. A stage may have a
residual branch or one more block, the pool may move, batch-norm may have groups or frozen scales, and prep may whiten.
On RGB images Residual:L1+L3 has 6,573,120 trainable parameters (it is DavidNet), whitened and with frozen scales 6,570,880;
Extra:L1+L2+L3 has 4,655,424, the backbone 1,557,056.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from speedcore.errors import RecipeError
from speedcore.networks.layers import Norm, whitening_filters


class PageNet(nn.Module):
    """See `speedcore.recipe.PageNet` for what the arguments mean. Needs images of at least 8×8."""

    explain_layers = {"middle": "layer1", "last": "layer3"}  # 16×16 and 4×4 cells on 32×32 images
    whitening_images = 10_000
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential

    def __init__(self, channels: int, size: tuple[int, int], classes: int, widths: tuple[int, int, int, int], prep: str,
                 kernel: int, downsample: str, pool: str, residual: tuple[int, ...], extra: tuple[int, ...], activation: str,
                 celu_alpha: float, norm_scales: str, ghost: int, head: str, head_bias: bool, logit_scale: float):
        super().__init__()
        if min(size) < 8:
            raise RecipeError(f"network 'pagenet' needs images of at least 8×8 pixels, these are {size[0]}×{size[1]}; "
                              f"choose a recipe with network 'davidnet', which pads small images.")

        def block(inputs: int, outputs: int, side: int = 3, stride: int = 1, pooled: bool = False) -> OrderedDict[str, nn.Module]:
            parts: dict[str, nn.Module] = {
                "conv": nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False),
                "norm": Norm(outputs, norm_scales, ghost),
                "act": nn.CELU(celu_alpha) if activation == "celu" else nn.ReLU(inplace=True),
            }
            if pooled:
                parts["pool"] = nn.MaxPool2d(2)
            return OrderedDict((name, parts[name]) for name in _ORDER[pool] if name in parts)

        self.whitening = None
        if prep == "whiten":
            self.whitening = nn.Conv2d(channels, 9 * channels, 3, padding=1, bias=False)
            self.whitening.weight.requires_grad_(False)
            self.prep = nn.Sequential(block(9 * channels, widths[0], side=1))
        else:
            self.prep = nn.Sequential(block(channels, widths[0]))
        pooled = downsample == "pool"
        for stage, (inputs, outputs) in enumerate(zip(widths, widths[1:], strict=False), 1):
            parts = block(inputs, outputs, kernel, 1 if pooled else 2, pooled)
            if stage in residual:
                parts["residual"] = Residual(*(nn.Sequential(block(outputs, outputs)) for _ in range(2)))
            if stage in extra:
                parts["extra"] = nn.Sequential(block(outputs, outputs))
            setattr(self, f"layer{stage}", nn.Sequential(parts))
        self.mean_too = head == "concat"
        self.head = nn.Linear(widths[-1] * (2 if self.mean_too else 1), classes, bias=head_bias)
        self.logit_scale = logit_scale

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if self.whitening is not None:
            x = self.whitening(x)
        x = self.layer3(self.layer2(self.layer1(self.prep(x))))
        features = x.amax(dim=(2, 3))
        if self.mean_too:
            features = torch.cat([features, x.mean(dim=(2, 3))], dim=1)
        return self.head(features) * self.logit_scale

    @torch.no_grad()
    def prepare(self, batches: Iterable[Float[Tensor, "n c h w"]], eps: float = 1e-2) -> None:
        """Set the whitening filters, where there are any, from batches of normalised training images."""
        if self.whitening is not None:
            self.whitening.weight.copy_(whitening_filters(batches, self.whitening.kernel_size, eps, lost=1))


class Residual(nn.Module):
    """x + two blocks of x."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.res1, self.res2 = first, second

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.res2(self.res1(x))


_ORDER = {"last": ("conv", "norm", "act", "pool"), "before-activation": ("conv", "norm", "pool", "act"),
          "before-norm": ("conv", "pool", "norm", "act")}
