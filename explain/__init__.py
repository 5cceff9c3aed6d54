"""Look at where trained networks look, and measure it.

    import explain
    explain.compare("runs/mnist-with-record-s0", "runs/mnist-without-record-s0")   # shows itself in a notebook
    maps = explain.heatmaps(model, images, targets, layers=["features.3"])         # any module, any tensors

Names are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "heatmaps": "explain.attribution.methods", "METHODS": "explain.attribution.methods",
    "candidate_layers": "explain.attribution.layers",
    "explain_run": "explain.attribution.explaining", "explain_runs": "explain.attribution.explaining",
    "Explanation": "explain.artefact",
    "inspect": "explain.inspector.inspector", "compare": "explain.inspector.inspector",
    "Inspection": "explain.inspector.inspection",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'explain' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
