"""How long until a program is there? Fresh processes, taking turns.

python -m benchmarks.startup [--rounds 10]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from benchmarks import record
from speedcore.clock import Stopwatch

# what is started -> (arguments of python, target, compared with)
TORCH = "import torch"
STARTS = {
    "nothing": (["-c", "pass"], "", None),
    TORCH: (["-c", "import torch"], "", None),
    "import speedcore": (["-c", "import speedcore"], "≤ 1.2 × import torch", TORCH),
    "all that speedcore offers": (["-c", "from speedcore import *"], "", TORCH),
    "python -m speedcore --help": (["-m", "speedcore", "--help"], "≤ 0.5 s", None),
    "python -m reports.build --help": (["-m", "reports.build", "--help"], "≤ 0.5 s", None),
    "python -m explain --help": (["-m", "explain", "--help"], "≤ 0.5 s", None),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=10)
    rounds = options.parse_args().rounds
    for arguments, _, _ in STARTS.values():
        seconds(arguments)  # the disk's cache and the compiled modules are there for everyone
    found = {name: [] for name in STARTS}
    for _ in range(rounds):
        for name, (arguments, _, _) in STARTS.items():
            found[name].append(seconds(arguments))
    rows = []
    for name, (_, target, beside) in STARTS.items():
        row = {"what": name, "seconds": statistics.median(found[name]), "min": min(found[name]), "max": max(found[name])}
        if beside:
            row[f"× {beside}"] = statistics.median(a / b for a, b in zip(found[name], found[beside], strict=True))
        rows.append({**row, "target": target or None})
        print(rows[-1], flush=True)
    print(record.write("startup", "Seconds until a fresh process has done it: medians over alternating rounds, the cache of "
                                  "the disk warm.", rows, rounds=rounds))


def seconds(arguments: list[str]) -> float:
    watch = Stopwatch()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return watch.seconds()


if __name__ == "__main__":
    main()
