"""Averages of the weights over a run. `speedcore.techniques.averaging` keeps them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from speedcore.recipe.base import Part


class AverageConfig(Part):
    """Exponential moving average of weights and buffers: `decay` a step, applied every `every` steps.

    power: instead of a decay, an average that looks back over the same share of the run however long that is: in the k-th
    update the new weights count (power + 1) / (k + power). 0 is the mean of all of them; the higher, the more the latest count.
    initial: it begins at the untrained weights and is updated after steps 1, 1 + every, ..., as the series' code has it;
    else it begins at the weights of its first update, after step `every`.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    every: PositiveInt = 5
    # The average runs on to the end over weights that no longer move much; before `start` it would hold old ones.
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initial: bool = False
    power: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _one_beginning(self) -> AverageConfig:
        if self.power is not None and (self.initial or self.decay != AverageConfig.model_fields["decay"].default):
            raise ValueError("power takes the place of decay and of initial; leave these out")
        if self.initial and self.start:
            raise ValueError("initial begins with the run and start later; leave one of them out")
        return self


class LookaheadConfig(Part):
    """Slow weights and buffers that follow the fast ones every `every` steps, which then go on from there.

    The slow ones keep decay^every · progress^power of themselves: next to nothing at first, most of it at the end.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    every: PositiveInt = 5
    power: NonNegativeFloat = 3.0
