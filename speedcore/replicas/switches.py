"""Two of the switches that only a replica of a published system wants; the third is in `speedcore.replicas.peeking`."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from speedcore.recipe import Recipe

# One shuffle for all seeds: what a system does that shuffles its data set once, when it stores it.
_FIXED_ORDER = 0xF12ED


def loss_share(recipe: Recipe, images: int) -> float:
    """What the mean loss of a batch of `images` counts for: 1, or with `loss = "sum"` the share that it has of a full batch.

    Rates are for a mean loss: a sum over a batch that is not full is worth the share of it that there is.
    """
    return images / recipe.batch_size if recipe.loss == "sum" else 1


def fixed_order(n: int) -> Int64[Tensor, " n"]:
    """The one order of n samples that all epochs and seeds share."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(_FIXED_ORDER))
