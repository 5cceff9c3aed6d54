"""Augmentations of a user's own: called batch by batch, on the pixels, after ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from speedcore.errors import PluginError, UserError
from speedcore.recipe import CustomAugmentation

Images = UInt8[Tensor, "n c h w"]


class CustomAugmenter:
    """`images -> images` by each of `specs` in turn, with draws from one generator that no other augmentation draws from.

    A batch is as large as in training, and on its device. Raises PluginError for what is not there, fails, or changes the shape
    or type of its images.
    """

    def __init__(self, specs: Sequence[CustomAugmentation], seed: int, device: torch.device):
        self._called: list[tuple[CustomAugmentation, Callable[..., object]]] = [(spec, spec.load()) for spec in specs]
        self._generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, images: Images) -> Images:
        for spec, change in self._called:
            try:
                changed = change(images.clone(), self._generator, **spec.arguments)  # it may write where it reads
            except UserError:
                raise
            except Exception as error:
                raise PluginError(f"augmentation '{spec.factory}' failed: {type(error).__name__}: {error}.") from error
            if not isinstance(changed, Tensor) or changed.shape != images.shape or changed.dtype != torch.uint8:
                found = f"{changed.dtype} {tuple(changed.shape)}" if isinstance(changed, Tensor) else type(changed).__name__
                raise PluginError(f"augmentation '{spec.factory}' returned {found}; torch.uint8 {tuple(images.shape)}, as it was "
                                  f"given, is expected.")
            images = changed
        return images
