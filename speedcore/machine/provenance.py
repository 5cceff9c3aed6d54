"""What made a result: code, libraries, machine, switches. Collected once a process, written into every run."""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from speedcore.machine import processor

ROOT = Path(__file__).resolve().parents[2]
# What measurements write: the next one is made by the same code nevertheless.
_WRITTEN = ("benchmarks/results", "benchmarks/RESULTS.md", "docs/methods")
LIBRARIES = ("torch", "torchvision", "numpy", "captum", "matplotlib", "weasyprint", "scipy", "pydantic", "safetensors")


def collect(device) -> dict:
    """Plain data: revision, dirty flag, lock digest, versions, processor, device, threads, switches, command, time."""
    import torch

    from speedcore.machine import gpu

    return {
        **_static(),
        "device": describe_device(device),
        **gpu.facts(torch.device(device)),
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "float32_matmul": torch.get_float32_matmul_precision(),
        "command": " ".join([_program(), shlex.join(map(without_folders, sys.argv[1:]))]).strip(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def describe_device(device) -> str:
    """"cpu: MODEL, N cores", "cuda: MODEL" or "mps: MODEL"."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if kind == "mps":
        return f"mps: {_static()['processor']}"
    return f"cpu: {_static()['processor']}, {_static()['cores']} cores"


def without_folders(word: str) -> str:
    """A word of a command line in which each absolute path is its last name: records and reports are shared."""
    return re.sub(r"(?<![^:=,])/[^,]*", lambda path: Path(path[0]).name, word)


def _program() -> str:
    """What was called, as one calls it: "python -m speedcore", or a script's name."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name


@cache
def _static() -> dict:
    import os

    return {
        **revision(),
        "lock_sha256": _digest(ROOT / "requirements.lock"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor.model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def revision() -> dict:
    """Git revision and whether what results are made of differs from it; "unknown" outside a checkout."""
    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    head = git("rev-parse", "HEAD")
    changes = git("status", "--porcelain", "--untracked-files=no", "--", ".", *(f":(exclude){path}" for path in _WRITTEN))
    return {"revision": head or "unknown", "dirty": bool(changes) if changes is not None else None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None

