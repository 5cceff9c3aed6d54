"""RecordNet: a whitened convolutional network of a few stages, made to train fast.

The outline is that of the airbench networks: a frozen first convolution whose filters whiten the image's patches,
then stages of conv-pool-norm-activation-conv-norm-activation, a global max-pool and a linear head.
With widths (64, 256, 256) on RGB images it has 1.97 M parameters. Whitening every second patch only (`whiten_stride` 2)
does without the first stage's largest convolution: half the sides from the first layer on.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from speedcore.errors import RecipeError
from speedcore.networks.layers import whitening_filters

_ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}


class FrozenScaleNorm(nn.BatchNorm2d):
    """Batch-norm with a trained bias and no scale: the next convolution can scale, the bias sets sparsity."""

    def __init__(self, width: int, momentum: float, eps: float):
        super().__init__(width, eps=eps, momentum=momentum)
        self.weight.requires_grad_(False)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3×3 convolution whose first filters pass their input through: signals reach the head from the first step on."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(conv.weight[:min(inputs, outputs)])
    return conv


class Stage(nn.Module):
    """conv-pool-norm-activation-conv-norm-activation. Pooling comes first: a quarter of the work for what follows.

    With a depth of three a third convolution follows, with what the other two were given added to its response.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, activation: type[nn.Module], momentum: float, eps: float):
        super().__init__()
        self.conv1 = _conv(inputs, outputs)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = FrozenScaleNorm(outputs, momentum, eps)
        self.conv2 = _conv(outputs, outputs)
        self.norm2 = FrozenScaleNorm(outputs, momentum, eps)
        self.conv3 = _conv(outputs, outputs) if depth == 3 else None
        self.norm3 = FrozenScaleNorm(outputs, momentum, eps) if depth == 3 else None
        self.activation = activation()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        y = self.activation(self.norm2(self.conv2(x)))
        return y if self.conv3 is None or self.norm3 is None else self.activation(x + self.norm3(self.conv3(y)))


class RecordNet(nn.Module):
    """Whitening, a stage for each of `widths`, global max-pool, linear head without bias. Needs images of at least 16×16."""

    def __init__(self, channels: int, size: tuple[int, int], classes: int, widths: tuple[int, ...], depth: int,
                 whiten_kernel: int, whiten_stride: int, activation: str, logit_scale: float, norm_momentum: float,
                 norm_eps: float, head_std: float):
        super().__init__()
        if min(size) < 16:
            raise RecipeError(f"network 'recordnet' needs images of at least 16×16 pixels, these are {size[0]}×{size[1]}; "
                              f"choose a recipe with network 'davidnet', which pads small images.")
        patch = channels * whiten_kernel**2
        # Kernel 2 unpadded leaves 31 of 32 pixels, kernel 3 padded keeps 28 of 28: stages of 15-7-3 and 14-7-3.
        # Kernel 4 padded with stride 2 leaves 14 of 28, so that two stages end at 3 cells a side.
        padding = whiten_kernel // 3
        cells = [((side + 2 * padding - whiten_kernel) // whiten_stride + 1) >> len(widths) for side in size]
        if min(cells) < 1:
            raise RecipeError(f"network 'recordnet' with {len(widths)} stages leaves nothing of images of {size[0]}×{size[1]} "
                              f"pixels; give it fewer widths or whiten_stride = 1.")
        self.whiten = nn.Conv2d(channels, 2 * patch, whiten_kernel, whiten_stride, padding)
        self.whiten.weight.requires_grad_(False)
        act = _ACTIVATIONS[activation]
        self.activation = act()
        ins = (2 * patch, *widths[:-1])
        self.stages = nn.Sequential(*(Stage(i, o, depth, act, norm_momentum, norm_eps) for i, o in zip(ins, widths, strict=True)))
        self.explain_layers = {"middle": "stages.0", "last": f"stages.{len(widths) - 1}"}
        self.head = nn.Linear(widths[-1], classes, bias=False)
        nn.init.normal_(self.head.weight, std=head_std)
        self.logit_scale = logit_scale

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.stages(self.whitened(x)).amax(dim=(2, 3))) * self.logit_scale

    def whitened(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p h1 w1"]:
        return self.activation(self.whiten(x))

    @torch.no_grad()
    def prepare(self, batches: Iterable[Float[Tensor, "n c h w"]], eps: float = 5e-4) -> None:
        """Set the whitening filters from batches of normalised training images: eigenpatches, each with both signs."""
        filters = whitening_filters(batches, self.whiten.kernel_size, eps)
        self.whiten.weight.copy_(torch.cat([filters, -filters]).to(self.whiten.weight))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()
