"""What is done to images before a network sees them in training. `speedcore.techniques.augment` and `speedcore.data` do it."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from speedcore.recipe.base import Part
from speedcore.recipe.custom import CustomAugmentation


class Augment(Part):
    """Label-preserving changes, applied to uint8 images in batches on the device, before they are normalised.

    crop: pixels of padding on each side before a random crop of the old size. pad: how the padding is filled:
    mirrored, or with the training split's mean colour (zero once normalised), or black.
    flip: "random" mirrors each image with probability 1/2 in each epoch; "alternating" does so in the first epoch
    and mirrors every image every other epoch after that. cutout: side of the masked square in pixels, 0 for none.
    groups: 0 where each image draws for itself; else images are put at random into equal groups, each of which shares a crop
    (a mirroring, a cutout) that no other has, at most so many groups an epoch. custom: augmentations of one's own, which come
    last, batch by batch.
    """

    crop: NonNegativeInt = 0
    pad: Literal["reflect", "mean", "black"] = "reflect"
    flip: Literal["none", "random", "alternating"] = "none"
    cutout: NonNegativeInt = 0
    groups: NonNegativeInt = 0
    custom: tuple[CustomAugmentation, ...] = ()

    @property
    def any(self) -> bool:
        return bool(self.crop or self.cutout or self.flip != "none" or self.custom)


class Loader(Part):
    """How `data = "loader"` brings its images.

    prepared: normalised and padded once, before training, instead of each image each time. choices: drawn in bulk at the
    start of an epoch, or one by one as images are fetched. worker: whether a process of its own fetches them; where it is not
    said, one does if the network is on a GPU.
    """

    prepared: bool = False
    choices: Literal["bulk", "single"] = "bulk"
    worker: bool | None = None
