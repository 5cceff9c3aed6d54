"""Exponential moving averages of weights and buffers."""

from __future__ import annotations

import torch
from torch import nn

from speedcore.recipe import Average


class WeightAverage:
    """Average of a network's floating parameters and buffers, updated every few steps with the matching decay."""

    def __init__(self, network: nn.Module, spec: Average):
        self._spec = spec
        self._tensors = [t for t in network.state_dict().values() if t.is_floating_point()]
        self._averages: list[torch.Tensor] | None = None

    @torch.no_grad()
    def update(self, step: int, progress: float) -> None:
        """Call after each optimiser step (counted from 1)."""
        if step % self._spec.every or progress < self._spec.start:
            return
        if self._averages is None:
            self._averages = [t.detach().clone() for t in self._tensors]
        else:
            # `every` steps at once: the old average keeps decay^every of its weight.
            torch._foreach_lerp_(self._averages, self._tensors, 1 - self._spec.decay**self._spec.every)

    @torch.no_grad()
    def install(self) -> None:
        """Put the average into the network (nothing if no update ever came)."""
        if self._averages is not None:
            for tensor, average in zip(self._tensors, self._averages, strict=True):
                tensor.copy_(average)
