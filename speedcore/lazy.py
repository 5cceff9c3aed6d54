"""Names of a package that are loaded on first use, so that importing the package costs nothing.

A package gives its names twice: to Python as a table, name -> module, and to editors and type checkers as imports under
`if TYPE_CHECKING:`. They then know every name and its type, and that another one is a mistake. A test compares both.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def loader(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package`. homes: name -> the module that defines it."""
    def get(name: str) -> object:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module '{package}' has no attribute '{name}'")

    return get, lambda: sorted({*vars(sys.modules[package]), *homes})
