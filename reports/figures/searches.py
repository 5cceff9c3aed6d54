"""Networks of a search: time across, accuracy up; a point after the shorter training, a line to the longer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import GREY, drawing

# Colour and marker say the same thing twice.
_STYLES = {"backbone": (GREY, "s"), "extra": ("#009E73", "^"), "residual": ("#0072B2", "o")}


@dataclass(frozen=True)
class Reach:
    """One network, "backbone" or "KIND:STAGES": (seconds, accuracy in per cent) after the shorter and the longer training."""

    network: str
    short: tuple[float, float]
    long: tuple[float, float]

    @property
    def kind(self) -> str:
        return self.network.partition(":")[0]

    @property
    def label(self) -> str:
        """What is written at the point: the stages."""
        return self.network.partition(":")[2] or self.network


def search(title: str, reaches: Sequence[Reach], xlabel: str) -> str:
    """All networks in one plot. Returns SVG."""
    with drawing(3.6, title) as work:
        (ax,) = work.axes()
        for reach in reaches:
            colour, marker = _STYLES[reach.kind]
            first = not any(other.kind == reach.kind for other in reaches[:reaches.index(reach)])
            ax.plot(*zip(reach.short, reach.long, strict=True), color=colour, linewidth=1, zorder=1)
            ax.plot(*reach.short, color=colour, marker=marker, markersize=5, linestyle="none", zorder=2,
                    label=reach.kind if first else None, markeredgecolor="white", markeredgewidth=0.5)
            ax.annotate(reach.label, reach.short, xytext=(-5, 3), textcoords="offset points", ha="right", fontsize=7,
                        color=colour)
        ax.set_xlabel(xlabel)
        ax.set_ylabel("test accuracy (%)")
        ax.margins(x=0.12, y=0.12)
        ax.legend(loc="lower right")
    return work.svg
