"""Shares of a whole: one horizontal bar each, its length and its figure beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import GREY, drawing

_COLOURS = {False: "#0072B2", True: GREY}


@dataclass(frozen=True)
class Share:
    """per cent; quiet: drawn in grey, as what is not measured here."""

    label: str
    per_cent: float
    quiet: bool = False


def shares(title: str, contents: Sequence[Share], xlabel: str) -> str:
    """Bars from the top down. Returns SVG."""
    with drawing(0.55 + 0.2 * len(contents), title) as work:
        (ax,) = work.axes()
        places = range(len(contents))
        ax.barh(places, [share.per_cent for share in contents], height=0.62, color=[_COLOURS[share.quiet] for share in contents])
        for place, share in zip(places, contents, strict=True):
            ax.annotate(f"{share.per_cent:.3g} %", (share.per_cent, place), xytext=(4, 0), textcoords="offset points",
                        va="center", fontsize=7.5, color="#333333")
        ax.set_yticks(places, [share.label for share in contents])
        ax.invert_yaxis()
        ax.grid(False, axis="y")
        ax.set_xlim(0, 1.15 * max(share.per_cent for share in contents))
        ax.set_xlabel(xlabel)
    return work.svg
