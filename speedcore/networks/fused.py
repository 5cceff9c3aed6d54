"""RecordNet on CPUs in bf16: convolution with pooling, and batch-norm with GELU, in one pass each.

Winograd's convolutions leave a step of training bound by memory: pooling the largest map, normalising and GELU read and
write every value several times over. A `FusedStage` pools while the convolution's tiles are interpolated and normalises on
the way through GELU. Weights, names and running statistics stay as they are; in fp32, or on a GPU, so do the results, to
the bit. Inner layers are not called one by one on this way, so that hooks on them see nothing; those on stages do.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.networks import normgelu, winograd, winograd8
from speedcore.networks.recordnet import RecordNet, Stage

_LEAST_CHANNELS = 16


def use(network: nn.Module, convolutions: str = "winograd") -> str:
    """Let `network` convolve by Winograd and, if it is a RecordNet with GELU, take the fused way.

    convolutions: "winograd", or "winograd8" for products in 8 bits where the machine is quick at them. Returns which it is now:
    one of these, or "direct" where nothing in the network will.
    """
    if convolutions == "winograd8" and not winograd8.quick():
        convolutions = "winograd"
    way = winograd8.convolve if convolutions == "winograd8" else winograd.convolve
    changed = winograd.use(network, way)
    if isinstance(network, RecordNet) and isinstance(network.activation, nn.GELU) and winograd.library() and normgelu.library():
        for stage in network.stages:
            if min(stage.conv1.in_channels, stage.conv1.out_channels) >= _LEAST_CHANNELS:
                stage.__class__, stage.way = FusedStage, way
                changed = True
        if network.whiten.out_channels >= _LEAST_CHANNELS:
            network.__class__ = FusedRecordNet
    return convolutions if changed else "direct"


class FusedStage(Stage):
    """A stage that pools and normalises on the way."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        if not winograd.short(x, self.conv1.weight):
            return super().forward(x)
        x = normgelu.norm_gelu(self.norm1, self.way(x.bfloat16(), self.conv1.weight, pooled=True))
        y = normgelu.norm_gelu(self.norm2, self.conv2(x))
        return y if self.conv3 is None else self.activation(x + self.norm3(self.conv3(y)))


class FusedRecordNet(RecordNet):
    """A network whose whitening's bias is added on the way through GELU."""

    def whitened(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p h1 w1"]:
        if not winograd.short(x, self.whiten.weight):
            return super().whitened(x)
        layer = self.whiten
        patches = F.conv2d(self.border(x), layer.weight, None, layer.stride, layer.padding)
        return normgelu.bias_gelu(patches.bfloat16(), layer.bias)
