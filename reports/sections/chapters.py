"""Which module writes a chapter: most climbs are ladders, some are studies that were climbed like one; other studies have a
result of their own."""

from __future__ import annotations

from types import ModuleType

from reports.sections import ladder
from reports.sections.studies import compute, dataset_sizes, lasting, norm_scales, range_test, remembering, search
from speedcore.ladders.result import LadderResult
from speedcore.studies.records import StudyRecord

_STUDIES = {module.NAME: module for module in (search, lasting, dataset_sizes, remembering, norm_scales, compute, range_test)}


def name(found: LadderResult | StudyRecord) -> str:
    """The ladder's or the study's name, as `--chapters` takes it."""
    return found.ladder.name if isinstance(found, LadderResult) else found.study


def of(found: LadderResult | StudyRecord) -> ModuleType:
    """The module whose `section` and `headline` fit."""
    return _STUDIES.get(name(found), ladder)
