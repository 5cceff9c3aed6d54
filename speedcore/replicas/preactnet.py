"""PreactNet: the pre-activation ResNet of the fastest single-GPU DAWNBench entry of 2018, where the series begins.

Four stages of two blocks, the last three of which halve the sides; 3×3 and 1×1 convolutions without bias, maximum and mean of
the last cells side by side, a linear head. Of an image of 32×32 pixels a forward and a backward pass take 2.76e9 FLOP: the
"around 2.8E09" of the series. 5,205,834 parameters on RGB images, 5,205,962 with the batch-norm after the first convolution.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.networks.layers import Norm


class PreactNet(nn.Module):
    """See `speedcore.recipe.PreactNet` for what the arguments mean."""

    explain_layers = {"middle": "stages.1", "last": "stages.3"}  # 16×16 and 4×4 cells on 32×32 images

    def __init__(self, channels: int, size: tuple[int, int], classes: int, widths: tuple[int, int, int, int],
                 prep_norm: bool, branches: bool, norm_scales: str):
        super().__init__()
        norm = [Norm(widths[0], norm_scales), nn.ReLU(inplace=True)] if prep_norm else []
        self.prep = nn.Sequential(nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), *norm)
        rest = (branches, norm_scales)
        self.stages = nn.Sequential(*(
            nn.Sequential(Block(inputs, outputs, stride, *rest), Block(outputs, outputs, 1, *rest))
            for inputs, outputs, stride in zip((widths[0], *widths), widths, (1, 2, 2, 2), strict=False)))
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        x = self.stages(self.prep(x))
        return self.head(torch.cat([x.amax(dim=(2, 3)), x.mean(dim=(2, 3))], dim=1))


class Block(nn.Module):
    """norm-relu, and then the sum of a shortcut and, if there is one, a branch of conv-norm-relu-conv.

    The shortcut begins after norm and relu. It is a 1×1 convolution where the block changes sides or channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, branch: bool, norm_scales: str):
        super().__init__()
        self.norm = Norm(inputs, norm_scales)
        self.shortcut = nn.Identity() if (stride, inputs) == (1, outputs) else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), Norm(outputs, norm_scales), nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)) if branch else None

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        x = F.relu(self.norm(x))
        return self.shortcut(x) if self.branch is None else self.shortcut(x) + self.branch(x)
