"""The optimizers that a recipe can name. `speedcore.training.optimizers` builds them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from speedcore.recipe.part import RecipePart, Removed
from speedcore.recipe.schedules import Schedule


class WhitenBias(RecipePart):
    """The bias of a whitening layer on a rate and a schedule of its own; frozen once that schedule has come to rest at 0.

    What comes before a frozen bias needs no gradient any more, so the steps after that are cheaper.
    """

    lr: PositiveFloat
    """peak rate for a mean loss; one step at it takes away the same share of the bias as of any other weight"""
    schedule: Schedule = Schedule(knots=((0.0, 1.0), (1.0, 0.0)))
    """a table like `[schedule]`, over the progress of the whole run"""


class SGDConfig(RecipePart):
    """Nesterov SGD."""

    title: ClassVar = "SGD"
    removed: ClassVar = {"nesterov": Removed(True, "no recipe trained without Nesterov momentum")}

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat
    """peak rate"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Nesterov's"""
    weight_decay: NonNegativeFloat = 0.0
    """added to the gradient: g + wd·w; not multiplied into the batch"""
    lr_in_buffer: bool = True
    """the rate goes into the momentum buffer, v = m·v + lr·(g + wd·w), so that each gradient keeps the rate of its own step, as
    the series' code has it; `false` is torch's SGD"""
    bias_lr: PositiveFloat = 1.0
    """factor on the rate of biases, whose decay is divided by it"""
    whiten_bias: WhitenBias | None = None
    """a table, see below; without it the whitening's bias is a bias like the others"""


class MuonConfig(RecipePart):
    """Muon for convolution filters, which are kept at unit row norm, Nesterov SGD for the rest."""

    title: ClassVar = "Muon"

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.24
    """length of a filter's orthogonalised step relative to its norm"""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """of the filters"""
    newton_schulz_steps: PositiveInt = 3
    """iterations of the orthogonalisation"""
    bias_lr: PositiveFloat
    """peak rate of biases"""
    head_lr: PositiveFloat
    """peak rate of the linear head"""
    sgd_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.85
    """of biases and head"""
    decay: NonNegativeFloat = 0.0
    """share of those weights that one step at the peak rate takes away"""
    whiten_bias: WhitenBias | None = None
    """a table, see below; without it the whitening's bias is a bias like the others"""


class AdamConfig(RecipePart):
    """torch's Adam."""

    title: ClassVar = "Adam"

    kind: Literal["adam"] = "adam"
    lr: PositiveFloat
    """peak rate"""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    """what the running means of gradients and of their squares keep in one step"""
    weight_decay: NonNegativeFloat = 0.0
    """added to the gradient: g + wd·w"""


class AdadeltaConfig(RecipePart):
    """torch's Adadelta: steps are scaled by the running sizes of past steps and gradients, so `lr` 1 is its natural rate."""

    title: ClassVar = "Adadelta"

    kind: Literal["adadelta"] = "adadelta"
    lr: PositiveFloat = 1.0
    """peak rate"""
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """what the running squares keep in one step"""
    eps: PositiveFloat = 1e-6
    """added under the roots"""


Optimizer = Annotated[SGDConfig | MuonConfig | AdamConfig | AdadeltaConfig, Field(discriminator="kind")]
