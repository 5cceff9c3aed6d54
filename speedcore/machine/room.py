"""How much a device takes at once: sized by its free memory, halved where that was not enough."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeVar

import torch

T = TypeVar("T")

# Passes without gradients hold a few layers of an image at a time: room for so many maps of its size, in fp32.
_MAPS = 512


def images_at_once(device: torch.device, size: tuple[int, int], most: int) -> int:
    """Images of `size` (height, width) that half of a GPU's free memory holds in one pass; `most` at most, elsewhere `most`."""
    if device.type != "cuda":
        return most
    free = torch.cuda.mem_get_info(device)[0]
    return max(1, min(most, free // (2 * 4 * _MAPS * prod(size))))


def in_parts(work: Callable[[int, int], T], count: int, at_once: int) -> list[T]:
    """`work(start, end)` over all of 0..count, `at_once` rows at a time; where memory runs out, on half as many from there on.

    Raises what `work` raised if one row alone is too much.
    """
    made, start = [], 0
    while start < count:
        end = min(start + at_once, count)
        try:
            made.append(work(start, end))
        except Exception as error:
            if not ran_out(error) or end - start == 1:
                raise
            at_once = max(1, (end - start) // 2)
            end = start
        if end == start and torch.cuda.is_available():
            torch.cuda.empty_cache()  # outside of the handler: the error holds on to what the work had made
        start = end
    return made


def ran_out(error: BaseException | None) -> bool:
    """Whether an error, or the one that it was raised from, says that there was too little memory."""
    if error is None:
        return False
    text = str(error).lower()
    return (isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in text
            or "can't allocate memory" in text or ran_out(error.__cause__))
