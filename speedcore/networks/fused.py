"""RecordNet on CPUs in bf16: convolution with pooling, and batch-norm with GELU, in one pass each.

Quick convolutions leave a step of training bound by memory: pooling the largest map, normalising and GELU read and
write every value several times over. A `FusedStage` pools on the convolution's way out and normalises on the way through
GELU. Weights, names and running statistics stay as they are; in fp32, or on a GPU, so do the results, to
the bit. Inner layers are not called one by one on this way, so that hooks on them see nothing; those on stages do.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.networks import amx, normgelu, winograd, winograd8
from speedcore.networks.recordnet import RecordNet, Stage

_LEAST_CHANNELS = 16


# In the order of their speed; channels from which on each is quicker than a direct convolution with nothing fused around it.
_WAYS = {"amx": (amx, 16), "winograd8": (winograd8, 32), "winograd": (winograd, 32)}


def use(network: nn.Module, convolutions: str = "quickest") -> str:
    """Let `network` convolve in this way and, if it is a RecordNet with GELU, take the fused one.

    convolutions: "amx" on a processor's matrix unit, "winograd", "winograd8" for that in 8 bits, or "quickest": the first of amx,
    winograd8 and winograd that this machine is quick at. Returns which it is now: one of the three ("winograd" where it is not
    quick at 8 bits) or "direct" where nothing in the network goes another way.
    """
    wanted = {"quickest": tuple(_WAYS), "winograd8": ("winograd8", "winograd")}.get(convolutions, (convolutions,))
    found = next((name for name in wanted if _WAYS[name][0].quick()), None)
    if found is None:
        return "direct"
    module, least = _WAYS[found]
    way = module.convolve
    changed = winograd.use(network, way, least)
    if isinstance(network, RecordNet) and isinstance(network.activation, nn.GELU) and normgelu.library():
        for stage in network.stages:
            if min(stage.conv1.in_channels, stage.conv1.out_channels) >= _LEAST_CHANNELS:
                stage.__class__, stage.way = FusedStage, way
                changed = True
        if network.whiten.out_channels >= _LEAST_CHANNELS:
            network.__class__ = FusedRecordNet
    return found if changed else "direct"


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
