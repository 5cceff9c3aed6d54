"""Data sets: uint8 images, int64 labels, provenance. `load(name)` finds, verifies and decodes them.

Names are resolved on first use, so that importing this package costs nothing until a data set is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from speedcore.lazy import loader as _loader

if TYPE_CHECKING:
    from speedcore.data.dataset import Dataset, Provenance, Split
    from speedcore.data.loading import Listing, available, check_name, describe, load, locate, own_name
    from speedcore.data.sets import NAMES
    from speedcore.data.shapes import ShortcutSplit, make_shapes, shortcut_split, swap_shortcut

__all__ = ["Dataset", "Listing", "NAMES", "Provenance", "ShortcutSplit", "Split", "available", "check_name", "describe", "load",
           "locate", "make_shapes", "own_name", "shortcut_split", "swap_shortcut"]
_HOMES = {
    "NAMES": "speedcore.data.sets",
    "Dataset": "speedcore.data.dataset", "Provenance": "speedcore.data.dataset", "Split": "speedcore.data.dataset",
    "Listing": "speedcore.data.loading", "available": "speedcore.data.loading", "check_name": "speedcore.data.loading",
    "describe": "speedcore.data.loading", "load": "speedcore.data.loading", "locate": "speedcore.data.loading",
    "own_name": "speedcore.data.loading",
    "ShortcutSplit": "speedcore.data.shapes", "make_shapes": "speedcore.data.shapes",
    "shortcut_split": "speedcore.data.shapes", "swap_shortcut": "speedcore.data.shapes",
}

if not TYPE_CHECKING:  # an editor that saw a __getattr__ would take every name for right
    __getattr__, __dir__ = _loader(__name__, _HOMES)
