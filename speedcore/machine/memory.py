"""Peak memory of a block: of the CUDA device where the work runs there, else of the process."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from speedcore.machine.allocator import return_memory

_STATUS = Path("/proc/self/status")


class PeakMemory:
    """Bytes at the peak since the object was made.

    On CUDA: torch's allocator. On Linux: the kernel's high-water mark of resident memory, reset at the start where
    the kernel allows that; elsewhere the peak since the process began, which can only be too high.
    """

    def __init__(self, device: torch.device):
        self._device, self._cuda = device, device.type == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats(device)
        else:
            return_memory()
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:
                pass

    def bytes(self) -> int:
        if self._cuda:
            return torch.cuda.max_memory_allocated(self._device)
        try:
            line = next(x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            return _since_the_process_began()


def _since_the_process_began() -> int:
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
