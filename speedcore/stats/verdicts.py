"""What numbers say of a sentence: the one verdict type of the project, in the words that records and reports hold.

Two rules give one. Claims are decided by corrected exact tests (`speedcore.stats.claims`), everything else by where an interval
lies (`by_interval`).
"""

from __future__ import annotations

import math
from enum import StrEnum

from speedcore.stats.intervals import Interval


class Verdict(StrEnum):
    """A verdict is a string: it is stored, compared and printed as one."""

    # Of a claim, by tests.
    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    EQUIVALENT = "equivalent within bounds"
    NOT_TESTABLE = "not testable"
    # By an interval: it lies wholly on one side, wholly on the other, or neither.
    CANNOT_TELL = "cannot tell"
    # - of a change (a rung of a ladder)
    HELPS = "helps"
    HURTS = "hurts"
    # - of a source's finding (a study)
    SEEN = "seen"
    CONTRADICTED = "contradicted"
    # - of maps beside what is known of the networks
    TRACKS = "tracks"
    CONTRADICTS = "contradicts"


def by_interval(interval: Interval | None, inside: Verdict, outside: Verdict,
                low: float = 0.0, high: float = math.inf) -> Verdict:
    """`inside` where the interval lies wholly between `low` and `high`, `outside` where wholly beyond, "cannot tell" otherwise
    and where there is none."""
    if interval is None:
        return Verdict.CANNOT_TELL
    if low < interval.low and interval.high < high:
        return inside
    return outside if interval.high < low or interval.low > high else Verdict.CANNOT_TELL
