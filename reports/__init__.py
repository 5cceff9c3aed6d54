"""Reports that can be trusted and shared: runs and explanations in, one HTML page, one PDF and results.json out.

    import reports
    reports.render(reports.Inputs(datasets={"mnist": dataset}, runs=tuple(store)), "out")

Names are loaded on first use, so that `python -m reports.build --help` need not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speedcore.lazy import loader as _loader

if TYPE_CHECKING:
    from reports.inputs import Inputs, Missing
    from reports.renderers.pdf import PdfFailed, PdfUnavailable
    from reports.renderers.rendering import OutputError, render

__all__ = ["Inputs", "Missing", "OutputError", "PdfFailed", "PdfUnavailable", "render"]
_HOMES = {
    "render": "reports.renderers.rendering", "OutputError": "reports.renderers.rendering",
    "Inputs": "reports.inputs", "Missing": "reports.inputs", "PdfUnavailable": "reports.renderers.pdf",
    "PdfFailed": "reports.renderers.pdf",
}

if not TYPE_CHECKING:  # an editor that saw a __getattr__ would take every name for right
    __getattr__, __dir__ = _loader(__name__, _HOMES)
