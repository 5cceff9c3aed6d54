"""Batches image by image through torch's DataLoader: the way that most code feeds a network.

It is here to be measured against. Each image is picked, augmented, made a float tensor and normalised, one after the other in
Python, as torch's and torchvision's examples do it (through Pillow), or, where it was prepared beforehand, cut out of an
array; the batches of `Batches` are the same images in another order, at a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from speedcore.data.batches import augmentation_seed, count
from speedcore.data.dataset import Part, Split
from speedcore.errors import DataError
from speedcore.recipe import Augment, Loader
from speedcore.replicas.switches import fixed_order
from speedcore.techniques.augment import AugmentationParameters, Augmenter, Normalise, sample

_PLAIN = Loader()


class LoadedBatches:
    """Iterates like `Batches`, over normalised images, for the same arguments and a `loader`.

    Unless the loader says otherwise, one worker process where the network is on a GPU, none on a CPU, which has its hands
    full.
    """

    def __init__(self, split: Split | Part, augment: Augment, batch_size: int, seed: int, normalise: Normalise, *,
                 order: str = "shuffled", drop_last: bool = True, loader: Loader = _PLAIN):
        if len(split) < batch_size and drop_last:
            raise DataError(f"a batch of {batch_size} is larger than the training split of {len(split)} images; "
                            f"choose a recipe with a smaller batch_size.")
        self.batch_size = batch_size
        self.steps_per_epoch = count(len(split), batch_size, drop_last)
        self.size = split.size
        self._device = split.labels.device
        kind = _Prepared if loader.prepared else _Images
        self._images = kind(split.to("cpu"), augment, normalise, seed, loader.choices == "bulk")
        self._seed, self._order, self._drop_last = seed, order, drop_last
        self._worker = self._device.type != "cpu" if loader.worker is None else loader.worker

    def __iter__(self) -> Iterator[tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        generator = torch.Generator().manual_seed(self._seed)
        fixed = fixed_order(len(self._images)).tolist() if self._order == "fixed" else None
        loader = DataLoader(self._images, self.batch_size, sampler=fixed, shuffle=True if fixed is None else None,
                            drop_last=self._drop_last, num_workers=int(self._worker), pin_memory=self._device.type == "cuda",
                            generator=generator)
        epoch = 0
        while True:
            self._images.begin(epoch)
            for images, labels in loader:
                yield images.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
            epoch += 1


class _Images(TorchDataset[tuple[Tensor, int]]):
    """One training image at a time: augmented, then through PIL to a normalised tensor.

    bulk: all parameters of an epoch are sampled at its start; else each image samples its own when it is fetched.
    """

    def __init__(self, split: Split | Part, augment: Augment, normalise: Normalise, seed: int, bulk: bool):
        self._labels, self._augment, self._size = split.labels.tolist(), augment, split.size
        self._seed, self._bulk = seed, bulk
        self._generator = torch.Generator().manual_seed(augmentation_seed(seed))
        self._first: Bool[Tensor, " n"] | None = None
        self._parameters: AugmentationParameters | None = None
        self._store(split, normalise)

    def _store(self, split: Split | Part, normalise: Normalise) -> None:
        from torchvision import transforms

        self._split = split
        self._augmented = Augmenter(self._augment, self._size, normalise.fill)
        self._to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(normalise.mean, normalise.std)])

    def begin(self, epoch: int) -> None:
        """Sample the parameters of an epoch, or make ready to sample them one by one."""
        if self._bulk:
            self._parameters = sample(self._augment, len(self), self._size, epoch, self._generator, self._first)
            self._first = self._parameters.mirrored if epoch == 0 else self._first
        else:
            # A worker process has a copy of the generator, and starts again in each epoch: so must the samples. On a CPU torch
            # looks at the lower half of a seed alone.
            self._generator.manual_seed((1_000_003 * (self._seed + 1) + epoch) % 2**32)

    def _parameters_of(self, index: int) -> AugmentationParameters:
        """The parameters of one image."""
        if self._bulk:
            assert self._parameters is not None
            return self._parameters.take(torch.tensor([index]))
        return sample(self._augment, 1, self._size, 0, self._generator)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], int]:
        picked = self._split.take(torch.tensor([index])).images
        (image,) = self._augmented(picked, self._parameters_of(index)) if self._augment.any else picked
        # Pillow wants channels last, and no third axis on grey images.
        return self._to_tensor(Image.fromarray(image.permute(1, 2, 0).squeeze(-1).numpy())), self._labels[index]


class _Prepared(_Images):
    """One training image at a time, cut out of images that were normalised and padded beforehand, in fp32."""

    def _store(self, split: Split | Part, normalise: Normalise) -> None:
        k, images = self._augment.crop, split.take(torch.arange(len(split))).images.numpy()
        padded = np.pad(images, ((0, 0), (0, 0), (k, k), (k, k)), mode="reflect")
        self._padded = normalise(torch.from_numpy(padded)).numpy()

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "c h w"], int]:
        (h, w), chosen, cut = self._size, self._parameters_of(index), self._augment.cutout
        top, left = (0, 0) if chosen.top is None or chosen.left is None else (int(chosen.top), int(chosen.left))
        image = self._padded[index, :, top:top + h, left:left + w]
        if chosen.mirrored is not None and chosen.mirrored:
            image = image[..., ::-1]
        image = image.copy()
        if chosen.cut_top is not None and chosen.cut_left is not None:
            top, left = int(chosen.cut_top), int(chosen.cut_left)
            image[:, top:top + cut, left:left + cut] = 0  # the mean, after normalising
        return torch.from_numpy(image), self._labels[index]
