"""Stacked bars of seconds by phase, and bars of foreground mass beside their null controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import ARM_STYLES, GREY, drawing

# Training stands out; what only surrounds it is pale. Hatches repeat what colours say.
PHASES = (
    ("get and decode data", ("provision", "load"), "#E69F00", ""),
    ("plan", ("plan",), "#F0E442", ".."),
    ("prepare", ("prepare",), "#56B4E9", "//"),
    ("precompute", ("precompute",), "#009E73", "xx"),
    ("build, warm up", ("build", "warm_up"), "#CC79A7", "\\\\"),
    ("train", ("train",), "#0072B2", ""),
    ("validate", ("validate",), "#bdbdbd", ""),
    ("test and further views", ("test", "tta"), "#8c8c8c", "//"),
    ("save, other", ("save", "other"), "#e6e6e6", ""),
)


@dataclass(frozen=True)
class LedgerRow:
    """Mean seconds by phase of one arm of one data set."""

    label: str
    seconds: dict[str, float]


def ledger(title: str, rows: Sequence[LedgerRow]) -> str:
    """One bar a row, split by phase. Returns SVG."""
    with drawing(0.95 + 0.27 * len(rows), title) as work:
        ax, = work.axes()
        ys = list(range(len(rows)))[::-1]
        starts = [0.0] * len(rows)
        for label, phases, colour, hatch in PHASES:
            widths = [sum(row.seconds.get(phase, 0.0) for phase in phases) for row in rows]
            if not any(widths):
                continue
            ax.barh(ys, widths, left=starts, height=0.68, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4,
                    label=label)
            starts = [a + b for a, b in zip(starts, widths, strict=True)]
        for y, total in zip(ys, starts, strict=True):
            ax.annotate(f"{total:,.0f} s", (total, y), xytext=(3, 0), textcoords="offset points", va="center",
                        fontsize=7,
                        color="#333333")
        ax.set_yticks(ys, [row.label for row in rows])
        ax.grid(axis="y", visible=False)
        ax.margins(x=0.08, y=0.02)
        ax.set_xlim(left=0)
        ax.set_xlabel("seconds, mean of the runs")
        work.figure.legend(loc="outside lower center", ncols=4)
    return work.svg


@dataclass(frozen=True)
class MassBar:
    """A mean over seeds with the values it is the mean of; `arm` is empty for a null control."""

    label: str
    values: tuple[float, ...]
    arm: str = ""


def masses(title: str, bars: Sequence[MassBar], xlabel: str) -> str:
    """Mean relevance mass inside the object, one bar each, with a dot a run. Returns SVG."""
    with drawing(0.6 + 0.23 * len(bars), title) as work:
        ax, = work.axes()
        ys = list(range(len(bars)))[::-1]
        for y, bar in zip(ys, bars, strict=True):
            style = ARM_STYLES.get(bar.arm)
            mean = sum(bar.values) / len(bar.values)
            ax.barh(y, mean, height=0.62, color=style.colour if style else "#cfcfcf", alpha=0.85)
            ax.scatter(bar.values, [y] * len(bar.values), color="black", s=5, linewidths=0, zorder=3)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.set_yticks(ys, [bar.label for bar in bars])
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(xlabel)
    return work.svg
