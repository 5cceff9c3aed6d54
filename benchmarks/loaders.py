"""Ways to make augmented, normalised batches of the same images: ours, and those that people use.

Each is a function of (Source, Task) that returns an endless iterator over batches of floats; a peer that is not
installed raises ImportError. Where a peer's augmentation differs from ours, its docstring says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from speedcore.data.batches import Batches
from speedcore.data.dataset import Split
from speedcore.recipe import Augment
from speedcore.techniques.augment import Normalise

LAYOUT = torch.channels_last


@dataclass(frozen=True)
class Source:
    """Training images on the device, and their normalisation."""

    split: Split
    normalise: Normalise

    @property
    def device(self) -> torch.device:
        return self.split.labels.device


@dataclass(frozen=True)
class Task:
    """What to make: `augment` of the same meaning for everyone, in batches of `batch` images."""

    name: str
    augment: Augment
    batch: int


Loader = Callable[[Source, Task], Iterator[Tensor]]


def _whole_batches(source: Source, task: Task) -> tuple[Tensor, ...]:
    n = len(source.split)
    return torch.randperm(n, device=source.device).split(task.batch)[:n // task.batch]


def ours(dtype: torch.dtype) -> Loader:
    """What training does: `Batches`, then Normalise."""
    def batches(source: Source, task: Task) -> Iterator[Tensor]:
        for images, _ in Batches(source.split, task.augment, task.batch, 0, source.normalise):
            yield source.normalise(images, dtype).to(memory_format=LAYOUT)
    return batches


# --- torchvision -----------------------------------------------------------------------------------------------------

def torchvision(workers: int, pil: bool) -> Loader:
    """transforms.v2 on one image after the other in a DataLoader, from PIL images (as torchvision's data sets hand them
    out) or from uint8 tensors."""
    def batches(source: Source, task: Task) -> Iterator[Tensor]:
        images = _Images(source, _v2(source, task, pil), pil)
        loader = DataLoader(images, task.batch, shuffle=True, drop_last=True, num_workers=workers,
                            persistent_workers=workers > 0, pin_memory=source.device.type == "cuda")
        while True:
            for batch, _ in loader:
                yield batch.to(source.device, non_blocking=True, memory_format=LAYOUT)
    return batches


def torchvision_a_batch() -> Loader:
    """transforms.v2 on whole batches. Not the same augmentation: all images of a batch get the same crop, flip and square."""
    def batches(source: Source, task: Task) -> Iterator[Tensor]:
        transform = _v2(source, task, pil=False)
        while True:
            for index in _whole_batches(source, task):
                yield transform(source.split.images[index]).to(memory_format=LAYOUT)
    return batches


def _v2(source: Source, task: Task, pil: bool):
    from torchvision.transforms import v2

    augment, size = task.augment, source.split.size
    erase = augment.cutout**2 / (size[0] * size[1])
    return v2.Compose([
        v2.RandomCrop(size, padding=augment.crop, padding_mode="reflect"), v2.RandomHorizontalFlip(),
        *([v2.PILToTensor()] if pil else []), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(source.normalise.mean, source.normalise.std),
        *([v2.RandomErasing(1.0, scale=(erase, erase), ratio=(1.0, 1.0))] if augment.cutout else [])])


class _Images(TorchDataset):
    def __init__(self, source: Source, transform, pil: bool):
        from torchvision.transforms.v2 import functional

        images = source.split.images.cpu()
        self._images = [functional.to_pil_image(image) for image in images] if pil else images
        self._labels, self._transform = source.split.labels.tolist(), transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


# --- kornia ----------------------------------------------------------------------------------------------------------

def kornia(source: Source, task: Task) -> Iterator[Tensor]:
    """kornia.augmentation on batches, a draw an image."""
    from kornia import augmentation as K

    augment, size = task.augment, source.split.size
    erase = augment.cutout**2 / (size[0] * size[1])
    steps = [K.RandomCrop(size, padding=augment.crop, padding_mode="reflect", p=1.0, cropping_mode="slice"),
             K.RandomHorizontalFlip(p=0.5),
             K.Normalize(mean=torch.tensor(source.normalise.mean), std=torch.tensor(source.normalise.std))]
    if augment.cutout:
        steps.append(K.RandomErasing(scale=(erase, erase), ratio=(1.0, 1.0), p=1.0))
    transform = torch.nn.Sequential(*steps).to(source.device)
    while True:
        for index in _whole_batches(source, task):
            yield transform(source.split.images[index].float().div_(255)).to(memory_format=LAYOUT)


# --- airbench --------------------------------------------------------------------------------------------------------

def airbench(source: Source, task: Task) -> Iterator[Tensor]:
    """The loader of the package `airbench`, its own code, fp16; flips alternate where the task's do."""
    from airbench import CifarLoader

    augment = task.augment
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"images": source.split.images.permute(0, 2, 3, 1).cpu(), "labels": source.split.labels.cpu(),
                    "classes": []}, Path(folder) / "train.pt")
        loader = CifarLoader(folder, train=True, batch_size=task.batch, altflip=augment.flip == "alternating",
                             aug={"flip": True, "translate": augment.crop, "cutout": augment.cutout}, gpu=source.device)
    while True:
        for images, _ in loader:
            yield images.to(memory_format=LAYOUT)


def airbench_method(dtype: torch.dtype) -> Loader:
    """How airbench's loader works, in any dtype: everything normalised and padded once as floats, each epoch augmented as
    one tensor (a masked copy for each shift, a flip by where), then cut into batches by index."""
    def batches(source: Source, task: Task) -> Iterator[Tensor]:
        augment, device = task.augment, source.device
        n, k, (h, w) = len(source.split), task.augment.crop, source.split.size
        images = source.normalise(source.split.images, dtype).to(memory_format=LAYOUT)
        flipped = torch.rand(n, 1, 1, 1, device=device) < 0.5
        alternating, epoch = augment.flip == "alternating", 0
        if alternating:
            images = torch.where(flipped, images.flip(-1), images)
        padded = F.pad(images, (k, k, k, k), mode="reflect")
        del images
        while True:
            shifts = torch.randint(2 * k + 1, (n, 2), device=device)
            shown = _shifted(padded, shifts, k, (h, w))
            if alternating:
                shown = shown.flip(-1) if epoch % 2 else shown
            else:
                shown = torch.where(torch.rand(n, 1, 1, 1, device=device) < 0.5, shown.flip(-1), shown)
            if augment.cutout:
                top, left = (torch.randint(side - augment.cutout + 1, (n, 1), device=device) for side in (h, w))
                down, across = (torch.arange(side, device=device) for side in (h, w))
                inside = (((down >= top) & (down < top + augment.cutout))[:, None, :, None]
                          & ((across >= left) & (across < left + augment.cutout))[:, None, None, :])
                shown = shown.masked_fill(inside, 0)
            for index in _whole_batches(source, task):
                yield shown[index]
            epoch += 1
    return batches


def _shifted(padded: Tensor, shifts: Tensor, k: int, size: tuple[int, int]) -> Tensor:
    """Crops of `size` at `shifts`: one masked copy for each of the (2k + 1)² places, or, for k > 2, rows then columns."""
    h, w = size
    places = range(2 * k + 1)
    out = torch.empty(len(padded), padded.shape[1], h, w, dtype=padded.dtype, device=padded.device, memory_format=LAYOUT)
    if k <= 2:
        for y in places:
            for x in places:
                here = (shifts[:, 0] == y) & (shifts[:, 1] == x)
                out[here] = padded[..., y:y + h, x:x + w][here]
        return out
    rows = torch.empty(len(padded), padded.shape[1], h, w + 2 * k, dtype=padded.dtype, device=padded.device, memory_format=LAYOUT)
    for y in places:
        here = shifts[:, 0] == y
        rows[here] = padded[..., y:y + h, :][here]
    for x in places:
        here = shifts[:, 1] == x
        out[here] = rows[..., x:x + w][here]
    return out
