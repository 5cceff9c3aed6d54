"""The rules of the house, as checks of source text: what a module may use, and what a template may do.

A check takes text and gives findings, so that a test can hand it a breach and see it found.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import jinja2
from jinja2 import nodes


@dataclass(frozen=True)
class Rule:
    """Only the modules `allowed` (globs, from the checkout's root) may use the names `forbidden`, or what is in them.

    A name is written in full ("time.time"), however a module imports it; a package stands for all that is in it.
    literals: strings that only these modules may contain; docstrings do not count.
    """

    says: str
    allowed: tuple[str, ...]
    forbidden: frozenset[str] = frozenset()
    literals: frozenset[str] = frozenset()

    def breaches(self, path: str, source: str) -> list[str]:
        """Findings in the module `source`, found at `path` (POSIX, from the checkout's root)."""
        if any(PurePosixPath(path).match(pattern) for pattern in self.allowed):
            return []
        tree = ast.parse(source)
        used = [(line, name) for line, name in names_used(tree) if any(_within(name, f) for f in self.forbidden)]
        written = [(line, repr(text)) for line, text in _texts(tree) if text in self.literals]
        return [f"{path}:{line}: {what} ({self.says})" for line, what in sorted({*used, *written})]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def names_used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything that a module imports, and of everything it reaches through an import."""
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
                bound = alias.name if alias.asname else alias.name.partition(".")[0]  # `import a.b` binds `a`
                full[alias.asname or bound] = bound
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
                full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path, parts = node, []
            while isinstance(path, ast.Attribute):
                parts.append(path.attr)
                path = path.value
            if isinstance(path, ast.Name) and path.id in full:
                yield node.lineno, ".".join([full[path.id], *reversed(parts)])


def imports(sources: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Module -> those of the other modules that it imports, wherever in it: in functions and for type checkers as well.

    sources: (path from the checkout's root, text) of each module.
    """
    trees = {_module(path): ast.parse(text) for path, text in sources}
    return {name: {other for _, used in names_used(tree) for other in (used, used.rpartition(".")[0])
                   if other in trees and other != name and (other == used or used not in trees)}
            for name, tree in trees.items()}


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Modules that import each other in turn, the first named again at the end; empty where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def _module(path: str) -> str:
    return ".".join(PurePosixPath(path).with_suffix("").parts).removesuffix(".__init__")


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every string that is not a bare expression, as docstrings are."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare:
            yield node.lineno, node.value


_ARITHMETIC = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg)
_COMPUTING_FILTERS = {"abs", "count", "filesizeformat", "float", "format", "int", "length", "max", "min", "round",
                      "sum"}


def template_breaches(path: str, source: str) -> list[str]:
    """Findings in a Jinja template: arithmetic, filters that compute, and number formatting.

    Choosing (if), repeating (for) and putting strings side by side (~) are a template's work and are allowed.
    """
    found = []
    tree = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(source)
    for node in tree.find_all(nodes.Node):
        if isinstance(node, _ARITHMETIC):
            found.append((node.lineno, f"arithmetic ({type(node).__name__})"))
        elif isinstance(node, nodes.Filter) and node.name in _COMPUTING_FILTERS:
            found.append((node.lineno, f"computes (|{node.name})"))
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr == "format":
            found.append((node.lineno, "formats (.format)"))
    return [f"{path}:{line}: {what}" for line, what in sorted(set(found))]
