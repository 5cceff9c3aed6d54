"""Optimisers, built from their description in a recipe. Rates are for a mean loss.

`make(spec, network)` returns an object with `step(factor, progress)`: one update at `factor` times the peak rates, after
which gradients are cleared. `progress` (0..1) is for parts that have a schedule of their own; without it they keep to
`factor` like the rest.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from speedcore import recipe
from speedcore.errors import RecipeError
from speedcore.recipe.schedules import interpolate
from speedcore.techniques.muon import Muon

# What torch's functions over several tensors at once take.
Tensors = list[Tensor] | tuple[Tensor, ...]


class Optimizer(Protocol):
    """What the loop needs of an optimiser. tensors: all that a step changes, weights and momenta."""

    lr: float

    @property
    def tensors(self) -> list[Tensor]: ...

    def step(self, factor: float, progress: float | None = None) -> None: ...


def make(spec: recipe.Optimizer, network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> Optimizer:
    """The optimiser that `spec` describes, over the trainable parameters of `network`.

    dtype: what Muon's Newton–Schulz iterations multiply.
    Raises RecipeError where `spec` gives a rate to a whitening that `network` does not have.
    """
    trainable: dict[str, Tensor] = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if isinstance(spec, recipe.AdamConfig):
        return TorchOptimizer(torch.optim.Adam(list(trainable.values()), lr=spec.lr, betas=spec.betas,
                                         weight_decay=spec.weight_decay))
    if isinstance(spec, recipe.AdadeltaConfig):
        return TorchOptimizer(torch.optim.Adadelta(list(trainable.values()), lr=spec.lr, rho=spec.rho, eps=spec.eps))
    if spec.whiten_bias and not hasattr(network, "whiten"):
        raise RecipeError(f"optimizer.whiten_bias: network '{type(network).__name__.lower()}' has no whitening layer; leave "
                          f"whiten_bias out, or choose network 'recordnet'.")
    own = spec.whiten_bias
    apart = [trainable.pop("whiten.bias")] if own and "whiten.bias" in trainable else []
    biases = [p for p in trainable.values() if p.ndim <= 1]
    parts: list[Optimizer]
    if isinstance(spec, recipe.SGDConfig):
        weights = [p for p in trainable.values() if p.ndim > 1]
        sgd = partial(MomentumSGD, momentum=spec.momentum, lr_in_buffer=spec.lr_in_buffer)
        decay = spec.lr * spec.weight_decay
        parts = [sgd(weights, spec.lr, weight_decay=spec.weight_decay),
                 sgd(biases, spec.lr * spec.bias_lr, weight_decay=spec.weight_decay / spec.bias_lr)]
    else:
        filters = [p for p in trainable.values() if p.ndim == 4]
        matrices = [p for p in trainable.values() if p.ndim > 1 and p.ndim != 4]
        sgd = partial(MomentumSGD, momentum=spec.sgd_momentum, lr_in_buffer=False)
        decay = spec.decay
        parts = [Muon(filters, spec.lr, spec.momentum, spec.newton_schulz_steps, dtype),
                 sgd(matrices, spec.head_lr, weight_decay=decay / spec.head_lr),
                 sgd(biases, spec.bias_lr, weight_decay=decay / spec.bias_lr)]
    if own and apart:
        parts.append(ScheduledThenFrozen(sgd(apart, own.lr, weight_decay=decay / own.lr), apart, own.schedule))
    return ChainedOptimizer(spec.lr, parts)


class ChainedOptimizer:
    """Several optimisers over disjoint parameters, stepped as one. `lr` is the rate that curves show."""

    def __init__(self, lr: float, parts: list[Optimizer]):
        self.lr = lr
        self._parts = parts

    @property
    def tensors(self) -> list[Tensor]:
        return [tensor for part in self._parts for tensor in part.tensors]

    def step(self, factor: float, progress: float | None = None) -> None:
        for part in self._parts:
            part.step(factor, progress)


class ScheduledThenFrozen:
    """An optimiser on a schedule of its own, whose parameters are frozen when that schedule has come to rest at zero."""

    def __init__(self, part: Optimizer, parameters: list[Tensor], schedule: recipe.Schedule):
        self.lr = part.lr
        self._part, self._parameters, self._schedule = part, parameters, schedule

    @property
    def tensors(self) -> list[Tensor]:
        return self._part.tensors

    def step(self, factor: float, progress: float | None = None) -> None:
        if progress is None:
            self._part.step(factor)
        elif progress < self._schedule.end:
            self._part.step(interpolate(self._schedule.knots, progress, self._schedule.shape))
        else:
            for p in self._parameters:
                p.requires_grad_(False)
                p.grad = None


class MomentumSGD:
    """SGD with Nesterov momentum and weight decay, all parameters in one fused pass.

    lr_in_buffer: v = m·v + lr·(g + wd·w), w −= m·v + lr·(g + wd·w). A gradient then keeps the rate of its
    own step. Otherwise v = m·v + g and the rate of the current step multiplies the whole buffer, as in torch.
    The two agree while the rate is constant.
    """

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float, weight_decay: float, lr_in_buffer: bool):
        self.lr = lr
        self._parameters = parameters
        self._momentum, self._decay = momentum, weight_decay
        self._lr_in_buffer = lr_in_buffer
        self._velocity = [torch.zeros_like(p) for p in parameters]

    @property
    def tensors(self) -> list[Tensor]:
        return [*self._parameters, *self._velocity]

    @torch.no_grad()
    def step(self, factor: float, progress: float | None = None) -> None:
        if not self._parameters:
            return
        lr = self.lr * factor
        gradients: Tensors = cast("list[Tensor]", [p.grad for p in self._parameters])  # a backward pass has been: each has one
        if self._parameters[0].device.type != "cpu" and not self._lr_in_buffer:
            self._launch_once(gradients, lr)
            return
        if self._decay:
            gradients = torch._foreach_add(gradients, self._parameters, alpha=self._decay)
        if self._lr_in_buffer:
            gradients = torch._foreach_mul(gradients, lr)
        torch._foreach_mul_(self._velocity, self._momentum)
        torch._foreach_add_(self._velocity, gradients)
        update = torch._foreach_add(gradients, self._velocity, alpha=self._momentum)
        torch._foreach_add_(self._parameters, update, alpha=-1.0 if self._lr_in_buffer else -lr)
        for p in self._parameters:
            p.grad = None

    def _launch_once(self, gradients: Tensors, lr: float) -> None:
        """The same update in one kernel. (Not on a CPU, where published runs can be trained again to the bit.)"""
        torch._fused_sgd_(self._parameters, gradients, self._velocity, weight_decay=self._decay, momentum=self._momentum, lr=lr,
                          dampening=0.0, nesterov=True, maximize=False, is_first_step=False)
        for p in self._parameters:
            p.grad = None


class TorchOptimizer:
    """An optimiser of torch behind the loop's interface; its peak rate is the one that it was made with."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.lr = optimizer.defaults["lr"]
        self._optimizer = optimizer

    @property
    def tensors(self) -> list[Tensor]:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        # Counts of steps are on the host, and no part of what an update that was taken back must undo.
        kept = [t for p in parameters for t in self._optimizer.state[p].values() if isinstance(t, Tensor) and t.shape == p.shape]
        return [*parameters, *kept]

    def step(self, factor: float, progress: float | None = None) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr * factor
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
