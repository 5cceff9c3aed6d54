"""Which sections a report has, and in which order: each says itself where it stands and when it applies.

A section is a function of the report's `Context` with `@report_section(...)` above it, in a module of this folder or of
`studies`; installed packages add theirs under the entry point group `reports.sections` (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import TYPE_CHECKING

from speedcore import plugins
from speedcore.errors import notice

if TYPE_CHECKING:
    from reports.model import Section
    from reports.results import Results
    from reports.sections.context import Context

Make = Callable[["Context"], "Section"]
# Chapters of ladders and studies stand here: what has a lower place comes before them.
CHAPTERS = 300


@dataclass(frozen=True)
class SectionSpec:
    """id: of its anchor, lower case. title: for what is said where it cannot be made. place: ascending; ours are 0 for the
    summary, 10 to 80 for what was trained, 90 to 100 for heatmaps, 200 to 220 for limits and provenance, 400 for the appendix.
    applies: whether a report of these results has it."""

    id: str
    title: str
    place: float
    make: Make
    applies: Callable[[Results], bool]


_SECTIONS: dict[str, SectionSpec] = {}


def always(results: Results) -> bool:
    return True


def has_runs(results: Results) -> bool:
    return bool(results.sets)


def has_input(field: str) -> Callable[[Results], bool]:
    """Where there are runs, and something in that field of the report's inputs."""
    return lambda results: bool(results.sets and getattr(results.inputs, field))


def report_section(id: str, title: str, place: float, applies: Callable[[Results], bool] = has_runs) -> Callable[[Make], Make]:
    """Make the function below a section of every report that it applies to. Raises ValueError for an id that is taken."""
    def register(make: Make) -> Make:
        if id in _SECTIONS and _SECTIONS[id].make is not make:
            raise ValueError(f"there are two sections '{id}'")
        _SECTIONS[id] = SectionSpec(id, title, place, make, applies)
        return make
    return register


@cache
def _all() -> tuple[SectionSpec, ...]:
    package = import_module("reports.sections")
    for module in walk_packages(package.__path__, "reports.sections."):
        import_module(module.name)
    for name in plugins.loaded(plugins.SECTIONS):
        if name not in _SECTIONS:
            notice(f"entry point '{name}' of {plugins.SECTIONS} is left out: it defines no @report_section of that id.")
    return tuple(sorted(_SECTIONS.values(), key=lambda spec: spec.place))


def of(results: Results) -> tuple[SectionSpec, ...]:
    """The sections of a report of these results, in order."""
    return tuple(spec for spec in _all() if spec.applies(results))
