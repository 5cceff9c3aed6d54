"""Reproducible speed training inside a wall-clock budget.

    import speedcore
    run = speedcore.run("mnist", recipe="record", budget=60)
    print(run.record.accuracy, run.record.clocks)

Names are loaded on first use, so that `python -m speedcore --help` need not wait for torch.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "Dataset": "speedcore.data", "load": "speedcore.data",
    "Recipe": "speedcore.recipe", "Run": "speedcore.store.runs", "RunStore": "speedcore.store.runs",
    "UserError": "speedcore.errors", "Budget": "speedcore.clock", "POLICIES": "speedcore.clock",
    "train": "speedcore.training.loop", "Job": "speedcore.training.loop", "run": "speedcore.planning.execute",
}
__all__ = sorted(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'speedcore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
