"""How many operations a training takes: those of convolutions and linear layers, a multiplication and an addition counted as two.

Counted by torch's own counter on a network without memory (the meta device), so that the largest network takes milliseconds.
Batch-norm, activations, pooling, augmentation and the optimiser are not counted: they are next to nothing in operations,
if not in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from speedcore.networks import build
from speedcore.recipe import Network, Recipe


@dataclass(frozen=True)
class Work:
    """Operations for one image. forward: of a pass; step: of a forward and a backward pass."""

    forward: int
    step: float


@cache
def count(spec: Network, channels: int, size: tuple[int, int], classes: int, frozen: tuple[str, ...] = ()) -> Work:
    """The work of the network that `spec` describes on one image of (channels, *size).

    A backward pass takes two operations for each of the forward one: for the gradients of the weights and of the inputs. The
    first layer needs none of its inputs, a layer whose weights are frozen none of its weights. frozen: parameters that are
    frozen beside those that always are.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network, image = build(spec, channels, size, classes).eval(), torch.empty(1, channels, *size)
    for name in frozen:
        network.get_parameter(name).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        logits = network(image)
        forward = counter.get_total_flops()
        logits.sum().backward()
    return Work(forward, counter.get_total_flops())


def of_recipe(recipe: Recipe, channels: int, size: tuple[int, int], classes: int) -> Work:
    """The work of `recipe` on one image, on average over its schedule: a bias that is frozen on the way makes steps cheaper."""
    whole = count(recipe.network, channels, size, classes)
    own = getattr(recipe.optimizer, "whiten_bias", None)
    if own is None or own.schedule.end >= 1:
        return whole
    later = count(recipe.network, channels, size, classes, ("whiten.bias",))
    return Work(whole.forward, own.schedule.end * whole.step + (1 - own.schedule.end) * later.step)
