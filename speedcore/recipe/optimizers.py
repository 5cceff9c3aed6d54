"""The optimizers that a recipe can name. `speedcore.training.optimizers` builds them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from speedcore.recipe.base import Part
from speedcore.recipe.schedules import Schedule


class WhitenBias(Part):
    """The bias of a whitening layer on a rate and a schedule of its own; frozen once that schedule has come to rest at 0.

    What comes before a frozen bias needs no gradient any more, so the steps after that are cheaper.
    lr: peak rate for a mean loss; one step at it takes away the same share of the bias as of any other weight.
    """

    lr: PositiveFloat
    schedule: Schedule = Schedule(knots=((0.0, 1.0), (1.0, 0.0)))


class SGDConfig(Part):
    """Nesterov SGD. `lr` is the peak rate for a mean loss; the decay is not multiplied into the batch.

    lr_in_buffer puts the rate inside the momentum buffer, as the series' code does: v = m·v + lr·(g + wd·w).
    bias_lr multiplies the rate of biases, whose decay is divided by it.
    """

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 0.0
    nesterov: bool = True
    lr_in_buffer: bool = True
    bias_lr: PositiveFloat = 1.0
    whiten_bias: WhitenBias | None = None


class MuonConfig(Part):
    """Muon for convolution filters, Nesterov SGD for the rest.

    lr: length of the orthogonalised step, for filters that are kept at unit row norm. bias_lr, head_lr and momentum
    of their SGD (mean loss); decay: the share of those weights that one step at the peak rate takes away.
    """

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.24
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    newton_schulz_steps: PositiveInt = 3
    bias_lr: PositiveFloat
    head_lr: PositiveFloat
    sgd_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.85
    decay: NonNegativeFloat = 0.0
    whiten_bias: WhitenBias | None = None


class AdamConfig(Part):
    """torch's Adam."""

    kind: Literal["adam"] = "adam"
    lr: PositiveFloat
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0


class AdadeltaConfig(Part):
    """torch's Adadelta: steps are scaled by the running sizes of past steps and gradients, so `lr` 1 is its natural rate."""

    kind: Literal["adadelta"] = "adadelta"
    lr: PositiveFloat = 1.0
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.9
    eps: PositiveFloat = 1e-6


Optimizer = Annotated[SGDConfig | MuonConfig | AdamConfig | AdadeltaConfig, Field(discriminator="kind")]
