"""Which module writes the chapter of a climb: most are ladders, some are studies that were climbed like one."""

from __future__ import annotations

from types import ModuleType

from reports.sections import ladder, search
from speedcore.ladders.climbing import Climb

_STUDIES = {search.NAME: search}


def of(climbed: Climb) -> ModuleType:
    """The module whose `section` and `headline` fit the climb."""
    return _STUDIES.get(climbed.ladder.name, ladder)
