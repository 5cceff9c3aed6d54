"""Device-resident shuffling and batching: no DataLoader, no worker, no copy but the batch itself."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from speedcore.augment import Augmenter, Normalise, draw
from speedcore.data.dataset import Part, Split
from speedcore.errors import DataError
from speedcore.recipe import Augment


class Batches:
    """An endless stream of augmented batches, the same for the same seed.

    split: training images on the device, or a part of them. Batches are whole: an epoch leaves out the last n mod
    batch_size images of its shuffle. Order and augmentation are drawn from two generators, so that the arms with and
    without augmentation see their images in the same order.
    """

    def __init__(self, split: Split | Part, augment: Augment, batch_size: int, seed: int, normalise: Normalise):
        if len(split) < batch_size:
            raise DataError(f"a batch of {batch_size} is larger than the training split of {len(split)} images; "
                            f"choose a recipe with a smaller batch_size.")
        self.batch_size = batch_size
        self.steps_per_epoch = len(split) // batch_size
        self.size = split.size
        self._augment = augment
        self._split = split
        self._augmented = Augmenter(augment, self.size, normalise.fill, split.labels.device)
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        device = self._split.labels.device
        order_generator = torch.Generator(device).manual_seed(self._seed)
        choice_generator = torch.Generator(device).manual_seed(self._seed + 2**32)
        n, epoch, first = len(self._split), 0, None
        while True:
            order = torch.randperm(n, generator=order_generator, device=device)
            choices = draw(self._augment, n, self.size, epoch, choice_generator, first)
            first = choices.mirrored if epoch == 0 else first
            for step in range(self.steps_per_epoch):
                index = order[step * self.batch_size:(step + 1) * self.batch_size]
                picked = self._split.take(index)
                yield self._augmented(picked.images, choices.take(index)), picked.labels
            epoch += 1
