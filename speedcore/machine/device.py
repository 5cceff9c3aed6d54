"""Devices by name, resolved in one place for the command line and for Python."""

from __future__ import annotations

import torch

from speedcore.errors import UserError
from speedcore.machine import gpu

TYPES = ("cuda", "mps", "cpu")


def resolve(device: str | torch.device = "auto") -> torch.device:
    """The device of that name: "auto" (CUDA where there is one, else Apple's GPU, else the CPU), or cuda, cuda:N, mps, cpu.

    Raises UserError for a device that is not there.
    """
    name = str(device).strip()
    if name == "auto":
        return next(found for kind in TYPES if _count(kind) and _usable(found := torch.device(kind)))
    kind = name.split(":")[0]
    if kind not in TYPES:
        raise UserError(f"device '{name}' is not supported; choose auto, {', '.join(TYPES)} or, for one of several, cuda:0.")
    try:
        found = torch.device(name)
    except RuntimeError:
        raise UserError(f"device '{name}' is no device; write {', '.join(TYPES)} or, for one of several, cuda:0.") from None
    count = _count(kind)
    if (found.index or 0) >= count:
        seen = f"only {count} {kind.upper()} device{'s' if count > 1 else ''}" if count else f"no {kind.upper()} device"
        raise UserError(f"device '{name}': torch sees {seen} here; choose auto or cpu.")
    gpu.check(found)
    return found


def _usable(device: torch.device) -> bool:
    return device.type != "cuda" or gpu.has_kernels(device)


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return 1 if kind == "cpu" else int(torch.backends.mps.is_available())
