"""Signed numbers as people read them, in sentences and tables alike."""

from __future__ import annotations

MINUS = "\N{MINUS SIGN}"


def signed(value: float, digits: int = 2) -> str:
    """Always with its sign, "+0.42" or "−0.10"; zero has none."""
    text = f"{value:+.{digits}f}"
    return "0." + "0" * digits if float(text) == 0 else text.replace("-", MINUS)
