"""Data sets: uint8 images, int64 labels, provenance. `load(name)` finds, verifies and decodes them.

Names are resolved on first use, so that importing this package costs nothing until a data set is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speedcore.data.dataset import Dataset, Provenance, Split
    from speedcore.data.loading import Listing, available, check_name, describe, load, locate, own_name
    from speedcore.data.sets import NAMES
    from speedcore.data.shapes import ShortcutSplit, make_shapes, shortcut_split, swap_shortcut

_HOME = {
    "NAMES": "sets",
    "Dataset": "dataset", "Provenance": "dataset", "Split": "dataset",
    "Listing": "loading", "available": "loading", "check_name": "loading", "describe": "loading", "load": "loading",
    "locate": "loading", "own_name": "loading",
    "ShortcutSplit": "shapes", "make_shapes": "shapes", "shortcut_split": "shapes", "swap_shortcut": "shapes",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
