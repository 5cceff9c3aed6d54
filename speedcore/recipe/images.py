"""What is done to images before a network sees them in training. `speedcore.techniques.augment` and `speedcore.data` do it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeInt

from speedcore.recipe.custom import CustomAugmentation
from speedcore.recipe.part import Later, RecipePart, Removed, Words


class Augment(RecipePart):
    """Label-preserving changes, applied to uint8 images in batches on the device, before they are normalised."""

    removed: ClassVar = {"pad": Removed("reflect", "no recipe padded crops with anything but the mirrored image")}

    crop: NonNegativeInt = 0
    """pixels of padding on each side, which show the mirrored image, before a random crop of the old size"""
    flip: Annotated[Literal["none", "random", "alternating"], Words({
        "none": "", "random": "mirrored at random",
        "alternating": "mirrored at random in the first epoch, every other epoch after that"})] = "none"
    """`"random"`: each image is mirrored with probability 1/2; `"alternating"`: so in the first epoch, then every image the other
    way round in each further epoch"""
    cutout: NonNegativeInt = 0
    """side of a square that is filled with the mean colour, in pixels"""
    groups: Annotated[NonNegativeInt, Later()] = 0
    """with a number, images share their random parameters: at random in equal groups, at most so many an epoch, each with a crop
    (a mirroring, a cutout) that no other has"""
    custom: Annotated[tuple[CustomAugmentation, ...], Later()] = ()
    """augmentations of your own, which come last, batch by batch ([how](extending.md))"""

    @property
    def any(self) -> bool:
        return bool(self.crop or self.cutout or self.flip != "none" or self.custom)

    def in_words(self) -> str:
        groups = f"parameters shared in at most {self.groups} groups an epoch" if self.groups else ""
        if not self.any:
            return f"none ({groups}: without effect)" if groups else "none"
        return ", ".join(filter(None, (
            f"a crop of the old size after {self.crop} pixels of mirrored padding" if self.crop else "", self.words("flip"),
            f"cutout of {self.cutout}×{self.cutout} pixels" if self.cutout else "", *(own.in_words() for own in self.custom),
            groups)))


class Loader(RecipePart):
    """How `data = "loader"` brings its images."""

    prepared: Annotated[bool, Words({True: "once", False: "each time"})] = False
    """images are normalised and padded once, before training, and not each time"""
    choices: Annotated[Literal["bulk", "single"], Words({"bulk": "in bulk", "single": "one by one"})] = "bulk"
    """random parameters are sampled at the start of an epoch; `"single"`: one by one, as images are fetched"""
    worker: Annotated[bool | None, Words({None: "a process of its own where the network is on a GPU",
                                          True: "a process of its own", False: "the process that trains"})] = None
    """whether a process of its own fetches images; without it, one does where the network is on a GPU"""

    def in_words(self) -> str:
        return (f"normalised and padded {self.words('prepared')}, random parameters sampled {self.words('choices')}, fetched by "
                f"{self.words('worker')}")
