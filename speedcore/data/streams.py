"""Which stream of batches a recipe trains on: from the device (`batches`), or image by image through a loader (`loader`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from speedcore.data.batches import Batches
from speedcore.data.dataset import Part, Split
from speedcore.data.loader import LoadedBatches
from speedcore.recipe import Loader, Recipe
from speedcore.techniques.augment import Normalise


class Stream(Protocol):
    """Batches of (images, labels) on the device: of this module's kinds, or precomputed."""

    steps_per_epoch: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


def of_recipe(recipe: Recipe, split: Split | Part, seed: int, normalise: Normalise) -> Batches | LoadedBatches:
    """The stream of batches of `split` that `recipe` trains on."""
    arguments = split, recipe.augment, recipe.batch_size, seed, normalise
    if recipe.data == "loader":
        return LoadedBatches(*arguments, order=recipe.order, drop_last=recipe.drop_last, loader=recipe.loader or Loader())
    return Batches(*arguments, order=recipe.order, drop_last=recipe.drop_last)
