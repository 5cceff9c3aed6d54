"""The processor's instruction sets, asked before anything is compiled or raced.

`SPEEDCORE_ISA=avx2|avx512|amx` caps what our own kernels use, so that each level can be tested on a larger machine. For torch
to keep to AVX2 too, set `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` beside it, before Python starts.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from speedcore.errors import UserError

Level = Literal["baseline", "avx2", "avx512", "amx", "neon"]

# What each level needs, by Linux's names, the largest first.
_NEEDS: dict[Level, frozenset[str]] = {
    "amx": frozenset({"amx_tile", "amx_bf16", "avx512f"}),
    "avx512": frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq"}),
    "avx2": frozenset({"avx2", "fma"}),
    "neon": frozenset({"asimd"}),
}
# What a cap takes away: names that begin like this.
_ABOVE = {"amx": (), "avx512": ("amx",), "avx2": ("amx", "avx512", "avx_vnni", "avx10")}
# macOS and Windows name the same things otherwise.
_SYSCTL = {"avx1.0": "avx", "avx2": "avx2", "fma": "fma", "avx512f": "avx512f", "avx512bw": "avx512bw", "avx512vl": "avx512vl",
           "avx512dq": "avx512dq"}


def features() -> frozenset[str]:
    """Names of the instruction sets that our kernels may use, as Linux lists them; none where they cannot be asked for.

    Raises UserError where SPEEDCORE_ISA is no level.
    """
    return _capped(_features(), cap())


def level() -> Level:
    """The highest level that the processor and SPEEDCORE_ISA allow."""
    has = features()
    return next((name for name, needs in _NEEDS.items() if needs <= has), "baseline")


def cap() -> str | None:
    """SPEEDCORE_ISA, checked. Raises UserError."""
    asked = os.environ.get("SPEEDCORE_ISA", "").strip().lower()
    if asked and asked not in _ABOVE:
        raise UserError(f"SPEEDCORE_ISA='{asked}' is not one of {', '.join(_ABOVE)}; unset it to use all that the processor has.")
    return asked or None


def _capped(found: frozenset[str], limit: str | None) -> frozenset[str]:
    return found if limit is None else frozenset(name for name in found if not name.startswith(_ABOVE[limit]))


@cache
def _features() -> frozenset[str]:
    if sys.platform.startswith("linux"):
        return _of_cpuinfo(Path("/proc/cpuinfo"))
    if sys.platform == "darwin":
        return _of_sysctl()
    return frozenset()


def _of_cpuinfo(path: Path) -> frozenset[str]:
    """The first processor's flags. On a machine whose cores differ, Linux lists what all of them have in common."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].lower().split())


def _of_sysctl() -> frozenset[str]:
    if platform.machine() == "arm64":
        return frozenset({"asimd"})
    try:
        found = subprocess.run(["sysctl", "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"], capture_output=True,
                               text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return frozenset()
    return frozenset(_SYSCTL[name] for name in found.lower().split() if name in _SYSCTL)
