"""Torch's generators from a seed, for a while, on the devices that are meant and on no other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """The processor's generator and that of `device` start from `seed` inside, and go on as they were afterwards.

    `torch.manual_seed` and a plain `fork_rng` ask every GPU of the machine, and so wake those that others work on.
    """
    device = torch.device(device)
    there = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(there, device_type="cuda" if device.type == "cpu" else device.type):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            torch.mps.manual_seed(seed)
        yield
