"""Look at where trained networks look, and measure it.

    import explain
    explain.compare("runs/mnist-with-record-s0", "runs/mnist-without-record-s0")   # shows itself in a notebook
    maps = explain.heatmaps(model, images, targets, layers=["features.3"])         # any module, any tensors

Names are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speedcore.lazy import loader as _loader

if TYPE_CHECKING:
    from explain.artefact import Explanation
    from explain.attribution.explaining import explain_run, explain_runs
    from explain.attribution.layers import candidate_layers
    from explain.attribution.methods import METHODS, heatmaps
    from explain.inspector.inspection import Inspection
    from explain.inspector.inspector import compare, inspect

__all__ = ["Explanation", "Inspection", "METHODS", "candidate_layers", "compare", "explain_run", "explain_runs", "heatmaps",
           "inspect"]
_HOMES = {
    "heatmaps": "explain.attribution.methods", "METHODS": "explain.attribution.methods",
    "candidate_layers": "explain.attribution.layers",
    "explain_run": "explain.attribution.explaining", "explain_runs": "explain.attribution.explaining",
    "Explanation": "explain.artefact",
    "inspect": "explain.inspector.inspector", "compare": "explain.inspector.inspector",
    "Inspection": "explain.inspector.inspection",
}

if not TYPE_CHECKING:  # an editor that saw a __getattr__ would take every name for right
    __getattr__, __dir__ = _loader(__name__, _HOMES)
