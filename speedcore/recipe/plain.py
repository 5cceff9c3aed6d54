"""Plain data on its way into a recipe: tables laid over each other, and values that would be misread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def over(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`change` over `base`, table by table; a table that names another `kind` replaces its predecessor whole."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            value = over(old, value)
        result[key] = value
    return result


def misread(content: object, read: object, path: str = "") -> Iterator[str]:
    """What was written as a truth value and read as a number, or is beyond 64 bits: where, and what is wrong."""
    if isinstance(content, bool) and not isinstance(read, bool):
        yield f"{path}: {str(content).lower()} is no number"
    elif isinstance(content, int) and abs(content) >= 2**63:
        yield f"{path}: the number is too large"
    elif isinstance(content, dict) and isinstance(read, dict):
        for name in content.keys() & read.keys():
            yield from misread(content[name], read[name], f"{path}.{name}" if path else name)
    elif isinstance(content, list | tuple) and isinstance(read, list | tuple):
        for value, other in zip(content, read, strict=False):
            yield from misread(value, other, path)
