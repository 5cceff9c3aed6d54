"""Which pixels are the object: the truth that foreground metrics are measured against, where there is one."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Int64
from torch import Tensor

from speedcore.data.dataset import Dataset
from speedcore.data.sets import KNOWN

THRESHOLD = 0.2  # of the full range
GREY_ON_BLACK = tuple(name for name, known in KNOWN.items() if known.on_black)


@dataclass(frozen=True)
class Foreground:
    """True on the pixels of the object, and in words how that was decided."""

    masks: Bool[Tensor, "n h w"]
    rule: str


def foreground(dataset: Dataset, indices: Int64[Tensor, " n"]) -> Foreground | None:
    """Masks of the test images `indices`: the set's own, else by threshold on black ground, else None.

    None means that no pixel is known to be the object (photographs, as in CIFAR-10); nothing about foreground may be
    said there.
    """
    if dataset.test.masks is not None:
        return Foreground(dataset.test.masks[indices], "exact object masks, part of the data set")
    if dataset.name in GREY_ON_BLACK:
        masks = (dataset.test.images[indices] > THRESHOLD * 255).any(dim=1)
        return Foreground(masks, f"pixels brighter than {THRESHOLD:.0%} of the full range, on black ground")
    return None
