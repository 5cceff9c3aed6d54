"""Result files as they lie in `benchmarks/results/`, and how tables show their values."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "results"


def load(pattern: str = "*.json") -> list[dict]:
    """The contents of the result files whose names match, in order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob(pattern))]


def cell(value) -> str:
    """A value as tables show it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(cell(v) for v in value)
    return str(value)
