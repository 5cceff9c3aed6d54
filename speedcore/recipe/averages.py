"""Averages of the weights over a run. `speedcore.techniques.averaging` keeps them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from speedcore.recipe.part import Later, RecipePart, number, percent


class AverageConfig(RecipePart):
    """The tested weights are a moving average of weights and buffers."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """what the old average keeps in one step"""
    every: PositiveInt = 5
    """steps from one update to the next, which then counts for all of them"""
    # The average runs on to the end over weights that no longer move much; before `start` it would hold old ones.
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """progress at which averaging begins"""
    power: Annotated[NonNegativeFloat | None, Later()] = None
    """polynomial-decay averaging, in place of `decay`: in the k-th update the new weights count (power + 1) / (k + power), the
    same share of the run however long it is; 0 is the mean of all"""
    initial: Annotated[bool, Later()] = False
    """it begins at the untrained weights, and updates come after steps 1, 1 + every, ..., as the series' code has it; else at the
    weights after step `every`"""

    @model_validator(mode="after")
    def _one_beginning(self) -> AverageConfig:
        if self.power is not None and (self.initial or self.decay != AverageConfig.model_fields["decay"].default):
            raise ValueError("power takes the place of decay and of initial; leave these out")
        if self.initial and self.start:
            raise ValueError("initial begins with the run and start later; leave one of them out")
        return self

    def in_words(self) -> str:
        if self.power is None:
            what = f"moving average, decay {number(self.decay)} a step"
        elif self.power == 0:
            what = "plain mean"
        else:
            what = f"polynomial-decay average, power {number(self.power)}"
        begin = "beginning with the untrained weights" if self.initial else f"from {percent(self.start)} of the run on"
        return f"{what}, updated every {self.every} steps, {begin}"


class LookaheadConfig(RecipePart):
    """Slow weights and buffers that follow the fast ones every few steps, which then go on from there; the slow ones are tested.

    In such a step they keep decay^every · progress^power of themselves: next to nothing at first, most of it at the end.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """what the slow weights keep in one step at the end of the run"""
    every: PositiveInt = 5
    """steps from one such step to the next"""
    power: NonNegativeFloat = 3.0
    """how late the slow weights begin to hold on"""

    def in_words(self) -> str:
        return (f"slow weights every {self.every} steps, which keep {number(self.decay)}^{self.every} · "
                f"progress^{number(self.power)} of themselves")
