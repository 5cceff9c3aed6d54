"""Averages of weights and buffers: a moving or polynomial-decay average to be tested, and Lookahead to train from."""

from __future__ import annotations

import torch
from torch import nn

from speedcore.recipe import AverageConfig, LookaheadConfig


class WeightAverage:
    """Average of a network's floating parameters and buffers, updated every few steps with the matching decay."""

    def __init__(self, network: nn.Module, spec: AverageConfig):
        self._spec = spec
        self._tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
        self._averages = [t.detach().clone() for t in self._tensors] if spec.initial else None
        self._phase = 1 % spec.every if spec.initial else 0
        self._updates = 0

    @torch.no_grad()
    def after_step(self, step: int, progress: float) -> None:
        """Call after each optimiser step (counted from 1)."""
        if step % self._spec.every != self._phase or progress < self._spec.start:
            return
        self._updates += 1
        if self._averages is None:
            self._averages = [t.detach().clone() for t in self._tensors]
        else:
            torch._foreach_lerp_(self._averages, self._tensors, self._newest)

    @property
    def _newest(self) -> float:
        """What the newest weights count."""
        power = self._spec.power
        if power is None:
            # `every` steps at once: the old average keeps decay^every of its weight.
            return 1 - self._spec.decay**self._spec.every
        return (power + 1) / (self._updates + power)

    @torch.no_grad()
    def before_test(self) -> None:
        """Put the average into the network (nothing if no update ever came)."""
        if self._averages is not None:
            for tensor, average in zip(self._tensors, self._averages, strict=True):
                tensor.copy_(average)


class Lookahead:
    """Lookahead (Zhang et al., 2019) on weights and buffers, holding on ever more firmly towards the end of the run.

    Every few steps the slow weights move towards the fast ones, and the fast ones start again from the slow ones.
    The tested weights are the slow ones. Momentum goes on as it was.
    """

    def __init__(self, network: nn.Module, spec: LookaheadConfig):
        self._spec = spec
        self._fast = [t for t in network.state_dict().values() if t.is_floating_point()]
        self._slow = [t.detach().clone() for t in self._fast]
        self._updated = False

    @torch.no_grad()
    def after_step(self, step: int, progress: float) -> None:
        """Call after each optimiser step (counted from 1)."""
        if step % self._spec.every == 0:
            kept = self._spec.decay**self._spec.every * progress**self._spec.power
            torch._foreach_lerp_(self._slow, self._fast, 1 - kept)
            torch._foreach_copy_(self._fast, self._slow)
            self._updated = True

    @torch.no_grad()
    def before_test(self) -> None:
        """Put the slow weights into the network (nothing if no update ever came)."""
        if self._updated:
            torch._foreach_copy_(self._fast, self._slow)
