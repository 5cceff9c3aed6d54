"""The networks that a recipe can name. `speedcore.networks` builds them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from speedcore.recipe.custom import CustomNetworkConfig
from speedcore.recipe.part import Later, RecipePart, Removed


class DavidNetConfig(RecipePart):
    """The article's network (`speedcore.replicas.davidnet`)."""

    title: ClassVar = "DavidNet"

    kind: Literal["davidnet"] = "davidnet"
    width: PositiveFloat = 1.0
    """factor on all numbers of channels"""
    logit_scale: PositiveFloat = 0.125
    """what the logits are multiplied by"""

    def narrowed(self, factor: float) -> DavidNetConfig:
        """The same network with `factor` times the channels."""
        return self.model_copy(update={"width": self.width * factor})


class RecordNetConfig(RecipePart):
    """A whitened convolutional network (`speedcore.networks.recordnet`): a few stages of convolutions."""

    title: ClassVar = "RecordNet"
    removed: ClassVar = {"whiten_border": Removed(0, "no measurement showed a gain by it", hashed=False)}

    kind: Literal["recordnet"] = "recordnet"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=4)] = (64, 256, 256)
    """channels of the stages, two to four of them"""
    depth: Annotated[Literal[2, 3], Later()] = 2
    """convolutions of a stage; with 3 the second and third lie beside an identity"""
    whiten_kernel: Literal[2, 3, 4] = 2
    """side of the whitened patches: 2 (without padding), 3 or 4 (with)"""
    whiten_stride: Literal[1, 2] = 1
    """2 whitens every second patch only: half the sides, a quarter of the work"""
    activation: Literal["gelu", "silu", "relu"] = "gelu"
    """or `"silu"`, `"relu"`"""
    logit_scale: PositiveFloat = 1 / 9
    """what the logits are multiplied by"""
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.4
    """weight of the newest batch in the running statistics"""
    norm_eps: PositiveFloat = 1e-5
    """added to the variances before their root is taken"""
    head_std: PositiveFloat = 1.0
    """standard deviation from which the head's weights are drawn"""

    def narrowed(self, factor: float) -> RecordNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class DigitNetConfig(RecipePart):
    """Two unpadded convolutions and two linear layers (`speedcore.replicas.digitnet`), as mnist-fast trains them."""

    title: ClassVar = "DigitNet"

    kind: Literal["digitnet"] = "digitnet"
    widths: tuple[PositiveInt, PositiveInt] = (32, 64)
    """channels of the two convolutions"""
    first_kernel: Literal[3, 5] = 3
    """side of the first ones' filters, 3 or 5; the second ones are 3×3"""
    hidden: PositiveInt = 128
    """width of the first linear layer"""
    first_pool: bool = True
    """a 2×2 max-pool after the first convolution too"""
    second_relu: bool = True
    """an activation after the second convolution"""
    pool_first: bool = False
    """pool before the activation: the same function for less work"""
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.0)
    """share dropped of the channels after the convolutions, and of the values after the first linear layer"""

    def narrowed(self, factor: float) -> DigitNetConfig:
        """The same network with `factor` times the channels and hidden units, rounded."""
        (hidden,) = _scaled((self.hidden,), factor)
        return self.model_copy(update={"widths": _scaled(self.widths, factor), "hidden": hidden})


class PageNetConfig(RecipePart):
    """The series' network (`speedcore.replicas.pagenet`): prep, three stages that halve the sides, a head."""

    title: ClassVar = "PageNet"

    kind: Literal["pagenet"] = "pagenet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 512)
    """channels of prep and of the three stages"""
    prep: Literal["conv", "whiten"] = "conv"
    """a 3×3 convolution; `"whiten"`: a frozen 3×3 whitening of patches and a 1×1 convolution"""
    kernel: Literal[1, 3] = 3
    """side of a stage's first filters, 1 or 3"""
    downsample: Literal["pool", "stride"] = "pool"
    """a 2×2 max-pool; `"stride"`: the stage's first convolution takes every second pixel"""
    pool: Literal["last", "before-activation", "before-norm"] = "last"
    """after the activation; `"before-activation"`: the same function for less work, where the activation never falls;
    `"before-norm"`: before batch-norm"""
    residual: tuple[Literal[1, 2, 3], ...] = (1, 3)
    """stages with a residual branch of two convolutions"""
    extra: tuple[Literal[1, 2, 3], ...] = ()
    """stages with one more convolution"""
    activation: Literal["relu", "celu"] = "relu"
    """or `"celu"`"""
    celu_alpha: PositiveFloat = 1.0
    """how far below zero CELU reaches"""
    norm_scales: Literal["one", "uniform", "frozen"] = "one"
    """batch-norm's scales start at 1; `"uniform"`: drawn from U(0, 1); `"frozen"`: stay at 1, only the biases are trained"""
    ghost: PositiveInt = 1
    """groups of a batch that are normalised apart (image i belongs to group i mod `ghost`); must divide `batch_size`"""
    head: Literal["max", "concat"] = "max"
    """global max-pool before the linear layer; `"concat"`: maximum and mean side by side"""
    head_bias: bool = False
    """a bias in the linear layer"""
    logit_scale: PositiveFloat = 0.125
    """what the logits are multiplied by"""

    def narrowed(self, factor: float) -> PageNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class PreactNetConfig(RecipePart):
    """The pre-activation ResNet that the series starts from (`speedcore.replicas.preactnet`): four stages of two blocks."""

    title: ClassVar = "PreactNet"

    kind: Literal["preactnet"] = "preactnet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 256)
    """channels of the stages; the last three halve the sides"""
    prep_norm: bool = False
    """batch-norm and ReLU after the first convolution, although the first block begins with them"""
    branches: bool = True
    """`false` leaves only the shortcuts of the blocks"""
    norm_scales: Literal["one", "uniform"] = "one"
    """batch-norm's scales start at 1; `"uniform"`: drawn from U(0, 1)"""

    def narrowed(self, factor: float) -> PreactNetConfig:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(max(1, round(width * factor)) for width in widths)


Network = Annotated[DavidNetConfig | RecordNetConfig | DigitNetConfig | PageNetConfig | PreactNetConfig | CustomNetworkConfig,
                    Field(discriminator="kind")]
