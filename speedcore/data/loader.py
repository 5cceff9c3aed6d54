"""Batches image by image through torch's DataLoader: the way that most code feeds a network.

It is here to be measured against. Each image becomes a PIL image, then a float tensor, then normalised, one after the
other in Python, as torch's and torchvision's examples do it; the batches of `Batches` are the same images in another
order, at a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from speedcore.augment import Augmenter, Normalise, draw
from speedcore.data.batches import count, fixed_permutation
from speedcore.data.dataset import Part, Split
from speedcore.errors import DataError
from speedcore.recipe import Augment


class LoadedBatches:
    """Iterates like `Batches`, over normalised images, for the same arguments.

    One worker process where the network is on a GPU, none on a CPU, which has its hands full.
    """

    def __init__(self, split: Split | Part, augment: Augment, batch_size: int, seed: int, normalise: Normalise, *,
                 order: str = "shuffled", last_batch: str = "drop"):
        if len(split) < batch_size and last_batch == "drop":
            raise DataError(f"a batch of {batch_size} is larger than the training split of {len(split)} images; "
                            f"choose a recipe with a smaller batch_size.")
        self.batch_size = batch_size
        self.steps_per_epoch = count(len(split), batch_size, last_batch)
        self.size = split.size
        self._device = split.labels.device
        self._images = _Images(split.to("cpu"), augment, normalise, seed)
        self._seed, self._order, self._drop = seed, order, last_batch == "drop"

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        generator = torch.Generator().manual_seed(self._seed)
        fixed = fixed_permutation(len(self._images)).tolist() if self._order == "fixed" else None
        on_gpu = self._device.type == "cuda"
        loader = DataLoader(self._images, self.batch_size, sampler=fixed, shuffle=True if fixed is None else None,
                            drop_last=self._drop, num_workers=int(on_gpu), pin_memory=on_gpu, generator=generator)
        epoch = 0
        while True:
            self._images.begin(epoch)
            for images, labels in loader:
                yield images.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
            epoch += 1


class _Images(TorchDataset):
    """One training image at a time: augmented, then through PIL to a normalised tensor."""

    def __init__(self, split: Split | Part, augment: Augment, normalise: Normalise, seed: int):
        from torchvision import transforms

        self._split, self._labels, self._augment = split, split.labels.tolist(), augment
        self._augmented = Augmenter(augment, split.size, normalise.fill)
        self._generator = torch.Generator().manual_seed(seed + 2**32)
        self._first, self._choices = None, None
        self._to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(normalise.mean, normalise.std)])

    def begin(self, epoch: int) -> None:
        """Draw the choices of an epoch."""
        self._choices = draw(self._augment, len(self), self._split.size, epoch, self._generator, self._first)
        self._first = self._choices.mirrored if epoch == 0 else self._first

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], int]:
        row = torch.tensor([index])
        picked = self._split.take(row).images
        (image,) = self._augmented(picked, self._choices.take(row)) if self._augment.any else picked
        # Pillow wants channels last, and no third axis on grey images.
        return self._to_tensor(Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())), self._labels[index]
