"""What benchmarks share that let contestants alternate on one machine: peers from a folder, the device, ratios over rounds."""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import torch

from speedcore.machine.allocator import keep_memory


def add_options(options: argparse.ArgumentParser, rounds: int) -> None:
    options.add_argument("--device", default="auto")
    options.add_argument("--peers", type=Path)
    options.add_argument("--rounds", type=int, default=rounds)


def prepare(chosen: argparse.Namespace) -> torch.device:
    """Peers can be imported from now on; the device that was chosen."""
    if chosen.peers:
        sys.path.append(str(chosen.peers))
    device = torch.device(chosen.device)
    if device.type == "cpu":
        keep_memory()  # as training does; it helps everyone here
    return device


def spread(name: str, values: list[float]) -> dict[str, float]:
    """The median over the rounds under `name`, and the extremes."""
    return {name: statistics.median(values), "min": min(values), "max": max(values)}
