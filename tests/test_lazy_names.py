"""Names that are loaded on first use: Python finds each, and editors see the same ones and no other."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

PACKAGES = ("speedcore", "speedcore.data", "explain", "reports")


def shown_to_editors(package: str) -> dict[str, str]:
    """Name -> module of the imports under `if TYPE_CHECKING:`."""
    tree = ast.parse(Path(importlib.import_module(package).__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {name.asname or name.name: node.module for node in block.body for name in node.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_editors_and_python_have_the_same_names(package: str) -> None:
    module, shown = importlib.import_module(package), shown_to_editors(package)
    assert shown == module._HOMES and set(module.__all__) == set(shown)
    for name, home in shown.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), name)
        assert name in dir(module)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_misspelt_name_is_a_mistake_for_both(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"'{package}' has no attribute 'runn'"):
        module.runn  # noqa: B018
    # A type checker takes any name of a module that has a __getattr__ for right: it must not see one.
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    seen = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "not TYPE_CHECKING")]
    assert "__getattr__" not in {name.id for node in seen for name in ast.walk(node) if isinstance(name, ast.Name)} \
        | {node.name for node in seen if isinstance(node, ast.FunctionDef)}
