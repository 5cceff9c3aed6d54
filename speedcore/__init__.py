"""Reproducible speed training inside a wall-clock budget.

    import speedcore
    run = speedcore.run("mnist", recipe="record", budget=60)
    print(run.record.accuracy, run.record.clocks)

Names are loaded on first use, so that `python -m speedcore --help` need not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speedcore.lazy import loader as _loader

if TYPE_CHECKING:
    from speedcore.clock import POLICIES, Budget
    from speedcore.data import Dataset, load
    from speedcore.errors import UserError
    from speedcore.planning.run import run
    from speedcore.recipe import Recipe
    from speedcore.store.runs import Run, RunStore
    from speedcore.training.callback import Callback, ProgressEvent
    from speedcore.training.job import Job
    from speedcore.training.loop import train

__all__ = ["Budget", "Callback", "Dataset", "Job", "POLICIES", "ProgressEvent", "Recipe", "Run", "RunStore", "UserError",
           "load", "run", "train"]
__version__ = "0.1.0"
_HOMES = {
    "Dataset": "speedcore.data", "load": "speedcore.data",
    "Recipe": "speedcore.recipe", "Run": "speedcore.store.runs", "RunStore": "speedcore.store.runs",
    "UserError": "speedcore.errors", "Budget": "speedcore.clock", "POLICIES": "speedcore.clock",
    "train": "speedcore.training.loop", "Job": "speedcore.training.job",
    "Callback": "speedcore.training.callback", "ProgressEvent": "speedcore.training.callback", "run": "speedcore.planning.run",
}

if not TYPE_CHECKING:  # an editor that saw a __getattr__ would take every name for right
    __getattr__, __dir__ = _loader(__name__, _HOMES)
