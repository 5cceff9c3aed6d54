"""Waiting for what a device still has to do."""

from __future__ import annotations

from collections.abc import Callable

import torch


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits for the device's queue; nothing to wait for on a CPU."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device.type == "mps" else lambda: None
