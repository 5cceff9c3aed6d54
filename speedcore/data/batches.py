"""Device-resident shuffling and batching: no DataLoader, no worker, no copy but the batch itself."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from speedcore.data.dataset import Part, Split
from speedcore.errors import DataError
from speedcore.recipe import Augment
from speedcore.replicas.switches import fixed_order
from speedcore.techniques.augment import Augmenter, Normalise, sample
from speedcore.techniques.custom import CustomAugmenter

# Pixels that are augmented at once, as several batches where they are small: below that, calls cost as much as the work.
_AT_ONCE = 512 * 32 * 32


class Batches:
    """An endless stream of augmented batches, the same for the same seed.

    split: training images on the device, or a part of them. An epoch leaves out the last n mod batch_size images of its
    shuffle; without drop_last they are a smaller batch. order "fixed" takes one shuffle, the same for every epoch and
    every seed. Order and augmentation are sampled from two generators, so that the arms with and without augmentation see
    their images in the same order.
    """

    def __init__(self, split: Split | Part, augment: Augment, batch_size: int, seed: int, normalise: Normalise, *,
                 order: str = "shuffled", drop_last: bool = True):
        if len(split) < batch_size and drop_last:
            raise DataError(f"a batch of {batch_size} is larger than the training split of {len(split)} images; "
                            f"choose a recipe with a smaller batch_size.")
        self.batch_size = batch_size
        self.steps_per_epoch = count(len(split), batch_size, drop_last)
        self.size = split.size
        self._augment = augment
        self._split = split
        self._augmented = Augmenter(augment, self.size, normalise.fill, split.labels.device)
        self._seed = seed
        self._fixed = fixed_order(len(split)).to(split.labels.device) if order == "fixed" else None

    def __iter__(self) -> Iterator[tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        device = self._split.labels.device
        order_generator = torch.Generator(device).manual_seed(self._seed)
        augmentation_generator = torch.Generator(device).manual_seed(augmentation_seed(self._seed))
        n, epoch, first = len(self._split), 0, None
        own = self._augment.custom
        custom = CustomAugmenter(own, augmentation_seed(augmentation_seed(self._seed)), device) if own else None
        at_once = max(1, _AT_ONCE // (self.batch_size * prod(self.size)))
        while True:
            fixed = self._fixed
            order = torch.randperm(n, generator=order_generator, device=device) if fixed is None else fixed
            parameters = sample(self._augment, n, self.size, epoch, augmentation_generator, first)
            first = parameters.mirrored if epoch == 0 else first
            for index in order[:self.steps_per_epoch * self.batch_size].split(at_once * self.batch_size):
                picked = self._split.take(index)
                images = self._augmented(picked.images, parameters.take(index))
                for batch, labels in zip(images.split(self.batch_size), picked.labels.split(self.batch_size), strict=True):
                    yield custom(batch) if custom else batch, labels
            epoch += 1


def augmentation_seed(seed: int) -> int:
    """The seed of a run's augmentation: far from that of its order, in the 32 bits that a CPU's generator looks at."""
    return (seed + 0x9E3779B9) % 2**32


def count(images: int, batch_size: int, drop_last: bool) -> int:
    """Batches in an epoch: whole ones, and the partial one where it is kept."""
    return images // batch_size if drop_last else -(-images // batch_size)


