"""The compiled loops under the compiler's sanitizers: no access outside, nothing undefined, results beside torch's in fp64."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from speedcore.kernels import build

CHECKOUT = Path(__file__).parents[3]


def libraries(*names: str) -> list[str]:
    """Where the compiler has them; those only that it has."""
    asked = [subprocess.run([*build.compiler(), f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
             for name in names]
    return [path for path in asked if Path(path).is_absolute()]


@pytest.mark.skipif(build.hindrance() is not None, reason="no C compiler on this machine")
def test_all_loops_on_random_shapes(tmp_path: Path) -> None:
    """Where the compiler has no sanitizers the same shapes run without, and a warning says so."""
    preload = libraries("libasan.so", "libstdc++.so.6")
    flags = ["-O1"]
    if len(preload) == 2:
        flags += ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    else:
        warnings.warn("the compiler has no sanitizers: results alone were compared", stacklevel=1)
    # Threads have small stacks: an array on one that grows with the image would not fit.
    told = {"SPEEDCORE_CACHE": str(tmp_path), "OMP_STACKSIZE": "1m", "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONPATH": str(CHECKOUT)}
    if len(preload) == 2:
        told["LD_PRELOAD"] = " ".join(preload)
    outcome = subprocess.run([sys.executable, "-m", "tests.speedcore.kernels.sanitized", *flags], cwd=CHECKOUT,
                             env=os.environ | told, capture_output=True, text=True, timeout=600)
    assert outcome.returncode == 0, outcome.stdout[-2000:] + outcome.stderr[-6000:]
    lines = outcome.stdout.splitlines()
    for name in ("winograd_fp32 ", "winograd ", "winograd8 ", "normgelu torch.float32", "normgelu torch.bfloat16"):
        assert sum(line.startswith(name) for line in lines) >= 12
    assert not [line for line in lines if "cannot be compiled" in line] and "cannot be compiled" not in outcome.stderr
