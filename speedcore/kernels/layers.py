"""Layers and networks that take another backend where they may: convolutions, and RecordNet with pooling, norm and GELU fused.

Quick convolutions leave a step of training bound by memory: pooling the largest map, normalising and GELU read and
write every value several times over. A `FusedStage` pools on the convolution's way out and normalises on the way through
GELU. Weights, names and running statistics stay as they are; so do results, to the bit, on a GPU or in another precision than the
backend's. Inner layers of a stage are not called one by one then, so that hooks on them see nothing; those on stages do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.kernels import normgelu
from speedcore.networks.recordnet import RecordNet, Stage

# A tile has four results a side: of fewer than three, most of it is thrown away.
_LEAST_CELLS = 3


@dataclass(frozen=True)
class Backend:
    """How to convolve: `convolve(x, weight, pooled=False)` on a CPU where a network runs in `dtype`, bf16 or fp32."""

    name: str
    convolve: Callable[..., Tensor]
    dtype: torch.dtype

    def can_use(self, x: Tensor, weight: Tensor) -> bool:
        """Whether a layer with that weight, given x, may take this backend: on a CPU, in this precision or autocast to it."""
        if x.device.type != "cpu":
            return False
        cast = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        if self.dtype == torch.bfloat16:
            return cast == torch.bfloat16 or x.dtype == weight.dtype == torch.bfloat16
        return cast is None and x.dtype == weight.dtype == self.dtype and min(x.shape[2:]) >= _LEAST_CELLS


class Conv3x3(nn.Conv2d):
    """A 3×3 convolution, padded by one, that takes another backend where it may."""

    backend: Backend

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h w"]:
        if not self.backend.can_use(x, self.weight):
            return super().forward(x)
        return self.backend.convolve(x.to(self.backend.dtype), self.weight)


class FusedStage(Stage):
    """A stage that pools and normalises on the way."""

    backend: Backend

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        if not self.backend.can_use(x, self.conv1.weight):
            return super().forward(x)
        x = normgelu.norm_gelu(self.norm1, self.backend.convolve(x.to(self.backend.dtype), self.conv1.weight, pooled=True))
        y = normgelu.norm_gelu(self.norm2, self.conv2(x))
        return y if self.conv3 is None or self.norm3 is None else self.activation(x + self.norm3(self.conv3(y)))


class FusedRecordNet(RecordNet):
    """A network whose whitening's bias is added on the way through GELU."""

    backend: Backend

    def whitened(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p h1 w1"]:
        if not self.backend.can_use(x, self.whiten.weight):
            return super().whitened(x)
        layer = self.whiten
        assert layer.bias is not None
        patches = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
        return normgelu.bias_gelu(patches.to(self.backend.dtype), layer.bias)


def change(network: nn.Module, backend: Backend, least: int, least_fused: int) -> bool:
    """Let `network` take that backend: its 3×3 convolutions and, if it is a RecordNet with GELU, its stages. Returns whether any
    will.

    least, least_fused: channels on either side from which on it pays, in a layer of its own and in a stage.
    """
    layers = [module for module in network.modules() if type(module) is nn.Conv2d and _fits(module, least)]
    for layer in layers:
        _become(layer, Conv3x3, backend)
    changed = bool(layers)
    if isinstance(network, RecordNet) and isinstance(network.activation, nn.GELU) and normgelu.library(backend.dtype):
        for stage in network.stages:
            if isinstance(stage, Stage) and min(stage.conv1.in_channels, stage.conv1.out_channels) >= least_fused:
                _become(stage, FusedStage, backend)
                changed = True
        if network.whiten.out_channels >= least_fused:
            _become(network, FusedRecordNet, backend)
            changed = True
    return changed


def _become(module: nn.Module, kind: type[Conv3x3 | FusedStage | FusedRecordNet], backend: Backend) -> None:
    module.__class__ = kind
    assert isinstance(module, kind)
    module.backend = backend


def _fits(layer: nn.Conv2d, least: int) -> bool:
    return (layer.kernel_size == (3, 3) and layer.padding == (1, 1) and layer.padding_mode == "zeros" and layer.bias is None
            and layer.stride == layer.dilation == (1, 1) and layer.groups == 1
            and min(layer.in_channels, layer.out_channels) >= least)
