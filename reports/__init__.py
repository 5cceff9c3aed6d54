"""Reports that can be trusted and shared: runs and explanations in, one HTML page, one PDF and results.json out.

    import reports
    reports.render(reports.Inputs(datasets={"mnist": dataset}, runs=tuple(store)), "out")

Names are loaded on first use, so that `python -m reports.build --help` need not wait for torch.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "render": "reports.renderers.rendering", "OutputError": "reports.renderers.rendering",
    "Inputs": "reports.inputs", "Missing": "reports.inputs", "PdfUnavailable": "reports.renderers.pdf",
    "PdfFailed": "reports.renderers.pdf",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reports' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
