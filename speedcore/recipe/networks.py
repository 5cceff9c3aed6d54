"""The networks that a recipe can name. `speedcore.networks` builds them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from speedcore.recipe.base import Part
from speedcore.recipe.custom import CustomNetworkConfig


class DavidNetConfig(Part):
    """The article's network (`speedcore.replicas.davidnet`). `width` multiplies all channels."""

    kind: Literal["davidnet"] = "davidnet"
    width: PositiveFloat = 1.0
    logit_scale: PositiveFloat = 0.125

    def narrowed(self, factor: float) -> DavidNetConfig:
        """The same network with `factor` times the channels."""
        return self.model_copy(update={"width": self.width * factor})


class RecordNetConfig(Part):
    """A whitened convolutional network (`speedcore.networks.recordnet`): a stage of `depth` convolutions for each of `widths`.

    With three convolutions a stage the second and third lie beside an identity. whiten_border: so many rows and columns more
    for the whitening, mirrored, half of them (rounded down) before the image's first; one keeps a cell for each pixel under 2×2
    patches.
    """

    kind: Literal["recordnet"] = "recordnet"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=4)] = (64, 256, 256)
    depth: Literal[2, 3] = 2
    whiten_kernel: Literal[2, 3, 4] = 2
    whiten_stride: Literal[1, 2] = 1
    whiten_border: Annotated[int, Field(ge=0, le=8)] = 0
    activation: Literal["gelu", "silu", "relu"] = "gelu"
    logit_scale: PositiveFloat = 1 / 9
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.4
    norm_eps: PositiveFloat = 1e-5
    head_std: PositiveFloat = 1.0

    def narrowed(self, factor: float) -> RecordNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class DigitNetConfig(Part):
    """Two unpadded convolutions and two linear layers (`speedcore.replicas.digitnet`), as mnist-fast trains them.

    widths: of the convolutions. first_kernel: side of the first ones' filters, the second ones are 3×3. hidden: width of
    the first linear layer. first_pool: a 2×2 max-pool after the first convolution too. second_relu: an activation after
    the second convolution. pool_first: pool before the activation, the same function for less work. dropout: share of
    channels dropped after the convolutions, and of values after the first linear layer.
    """

    kind: Literal["digitnet"] = "digitnet"
    widths: tuple[PositiveInt, PositiveInt] = (32, 64)
    first_kernel: Literal[3, 5] = 3
    hidden: PositiveInt = 128
    first_pool: bool = True
    second_relu: bool = True
    pool_first: bool = False
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.0)

    def narrowed(self, factor: float) -> DigitNetConfig:
        """The same network with `factor` times the channels and hidden units, rounded."""
        (hidden,) = _scaled((self.hidden,), factor)
        return self.model_copy(update={"widths": _scaled(self.widths, factor), "hidden": hidden})


class PageNetConfig(Part):
    """The series' network (`speedcore.replicas.pagenet`): prep, three stages that halve the sides, a head.

    widths: of prep and the stages. prep: a 3×3 convolution, or a frozen 3×3 whitening of patches and a 1×1 convolution.
    kernel, downsample: of a stage's first convolution, which strides or is followed by a 2×2 max-pool. pool: where that
    stands: after the activation, before it (the same function where the activation never falls), or before batch-norm.
    residual, extra: stages with a residual branch of two blocks, with one more block. norm_scales: at one, drawn from U(0, 1), or
    frozen at one. ghost: groups of a batch that are normalised apart. head: global max-pool, or that and the mean.
    """

    kind: Literal["pagenet"] = "pagenet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 512)
    prep: Literal["conv", "whiten"] = "conv"
    kernel: Literal[1, 3] = 3
    downsample: Literal["pool", "stride"] = "pool"
    pool: Literal["last", "before-activation", "before-norm"] = "last"
    residual: tuple[Literal[1, 2, 3], ...] = (1, 3)
    extra: tuple[Literal[1, 2, 3], ...] = ()
    activation: Literal["relu", "celu"] = "relu"
    celu_alpha: PositiveFloat = 1.0
    norm_scales: Literal["one", "uniform", "frozen"] = "one"
    ghost: PositiveInt = 1
    head: Literal["max", "concat"] = "max"
    head_bias: bool = False
    logit_scale: PositiveFloat = 0.125

    def narrowed(self, factor: float) -> PageNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class PreactNetConfig(Part):
    """The pre-activation ResNet that the series starts from (`speedcore.replicas.preactnet`): four stages of two blocks.

    prep_norm: batch-norm and ReLU after the first convolution too, although the first block begins with them. branches: the
    long branches of the blocks; without them only the shortcuts are left. norm_scales: at one, or drawn from U(0, 1).
    """

    kind: Literal["preactnet"] = "preactnet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 256)
    prep_norm: bool = False
    branches: bool = True
    norm_scales: Literal["one", "uniform"] = "one"

    def narrowed(self, factor: float) -> PreactNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(max(1, round(width * factor)) for width in widths)


Network = Annotated[DavidNetConfig | RecordNetConfig | DigitNetConfig | PageNetConfig | PreactNetConfig | CustomNetworkConfig,
                    Field(discriminator="kind")]
