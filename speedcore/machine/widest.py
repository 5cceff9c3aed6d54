"""The widest floating type of a device: what sums that decide something are taken in."""

from __future__ import annotations

import torch


def widest(device: torch.device) -> torch.dtype:
    """float64, but for Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
