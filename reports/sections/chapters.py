"""Which module writes a chapter: most climbs are ladders, some are studies that were climbed like one; other studies have a
result of their own. The module of a study is in `reports.sections.studies`, and names it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from reports.sections import ladder, studies
from speedcore.ladders.result import LadderResult
from speedcore.studies.records import StudyRecord


@cache
def _studies() -> dict[str, ModuleType]:
    modules = [import_module(f"{studies.__name__}.{module.name}") for module in iter_modules(studies.__path__)]
    return {module.NAME: module for module in modules if hasattr(module, "headline") and hasattr(module, "NAME")}


def name(found: LadderResult | StudyRecord) -> str:
    """The ladder's or the study's name, as `--chapters` takes it."""
    return found.ladder.name if isinstance(found, LadderResult) else found.study


def of(found: LadderResult | StudyRecord) -> ModuleType:
    """The module whose `section` and `headline` fit."""
    return _studies().get(name(found), ladder)
