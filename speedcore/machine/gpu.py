"""NVIDIA GPUs: whether this torch has kernels for one, what it is, and how convolutions are chosen on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from speedcore.errors import UserError

_DRIVER = Path("/proc/driver/nvidia/version")


def check(device: torch.device) -> None:
    """Raises UserError, in one sentence, where CUDA would say "no kernel image is available" at the first kernel."""
    if device.type == "cuda" and not has_kernels(device):
        major, minor = torch.cuda.get_device_capability(device)
        built = ", ".join(torch.cuda.get_arch_list())
        raise UserError(f"device '{device}': {torch.cuda.get_device_name(device)} is sm_{major}{minor}, for which this torch "
                        f"{torch.__version__} has no kernels (it was built for {built}); choose cpu, or install a torch that was "
                        f"built for it.")


def has_kernels(device: torch.device) -> bool:
    """Whether any architecture that torch was built for runs on this GPU."""
    return any(_runs(name, torch.cuda.get_device_capability(device)) for name in torch.cuda.get_arch_list())


def _runs(built: str, capability: tuple[int, int]) -> bool:
    """Machine code (sm_) runs on its own generation from its own step on, intermediate code (compute_) on all later ones."""
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", built)
    if not found:
        return False
    kind, made = found[1], (int(found[2]), int(found[3]))
    if found[4] == "a":  # for that one alone
        return made == capability
    return made <= capability and (kind == "compute" or made[0] == capability[0])


def facts(device: torch.device) -> dict[str, str | None]:
    """What to know of a GPU beside its name: capability, CUDA, cuDNN, driver; nothing of other devices."""
    if device.type != "cuda":
        return {}
    major, minor = torch.cuda.get_device_capability(device)
    cudnn = torch.backends.cudnn.version()
    return {"capability": f"sm_{major}{minor}", "cuda": torch.version.cuda, "cudnn": cudnn and str(cudnn), "driver": _driver()}


def _driver() -> str | None:
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", _DRIVER.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found and found[1]


@contextmanager
def tuned(device: torch.device) -> Iterator[None]:
    """On CUDA the quickest of cuDNN's ways for each shape, found by trying: shapes here are few. As it was, afterwards.

    Not where deterministic algorithms are asked for: what is quickest may differ from run to run.
    """
    before = torch.backends.cudnn.benchmark
    if device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
