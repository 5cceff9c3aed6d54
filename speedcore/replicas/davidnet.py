"""DavidNet: the nine-layer residual network of David C. Page that the article trains.

6,573,120 trainable parameters and 4,480 running statistics on RGB images: together the 6,577,600 that the article
prints as trainable. 6,571,968 trainable on one channel.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm_relu(inputs: int, outputs: int) -> nn.Sequential:
    """3×3 convolution without bias, batch-norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs),
                         nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + two convolution blocks of x."""

    def __init__(self, width: int):
        super().__init__()
        self.branch = nn.Sequential(conv_norm_relu(width, width), conv_norm_relu(width, width))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return x + self.branch(x)


class DavidNet(nn.Module):
    """Prep, three stages that halve the resolution, residual branches on the first and third, global max-pool.

    Images smaller than 32×32 are padded with zeros (the mean, once normalised) to 32×32: 28×28 digits would leave
    3×3 cells after three poolings, too few for the article's final 4×4 max-pool.
    """

    explain_layers = {"middle": "layer1", "last": "layer3"}  # 16×16 and 4×4 cells on 32×32 images

    def __init__(self, channels: int, size: tuple[int, int], classes: int, width: float = 1.0,
                 logit_scale: float = 0.125):
        super().__init__()
        w1, w2, w3, w4 = (max(1, round(w * width)) for w in (64, 128, 256, 512))
        self.prep = conv_norm_relu(channels, w1)
        self.layer1 = nn.Sequential(conv_norm_relu(w1, w2), nn.MaxPool2d(2), Residual(w2))
        self.layer2 = nn.Sequential(conv_norm_relu(w2, w3), nn.MaxPool2d(2))
        self.layer3 = nn.Sequential(conv_norm_relu(w3, w4), nn.MaxPool2d(2), Residual(w4))
        self.head = nn.Linear(w4, classes, bias=False)
        self.logit_scale = logit_scale
        missing = [max(0, 32 - side) for side in size]
        self.padding = (missing[1] // 2, missing[1] - missing[1] // 2, missing[0] // 2, missing[0] - missing[0] // 2)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        if any(self.padding):
            x = F.pad(x, self.padding)
        x = self.layer3(self.layer2(self.layer1(self.prep(x))))
        return self.head(x.amax(dim=(2, 3))) * self.logit_scale
