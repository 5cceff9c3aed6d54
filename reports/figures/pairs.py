"""Paired comparisons: both arms of each seed joined by a line, and the differences with their mean and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import ARM_STYLES, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class PairedData:
    """One data set's pairs, in the unit that is shown; interval of the mean difference, None for a single pair."""

    name: str
    without: tuple[float, ...]
    augmented: tuple[float, ...]
    low: float | None
    high: float | None

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(b - a for a, b in zip(self.without, self.augmented, strict=True))


def paired(title: str, sets: Sequence[PairedData], ylabel: str, difference: str) -> str:
    """Above: both arms, a panel a data set, a line a seed. Below: with − without, a row a data set, a dot a seed, the
    mean and its interval. Returns SVG."""
    with drawing(2.7 + 0.26 * len(sets), title) as work:
        (above,), (below,) = work.figure.subfigures(2, 1, squeeze=False, height_ratios=(1.9, 0.8 + 0.26 * len(sets)))
        columns = max(2, len(sets))
        panels = list(above.subplots(1, columns, squeeze=False).flat)
        for ax in panels[len(sets):]:
            ax.set_visible(False)
        for ax, one in zip(panels, sets, strict=False):
            _arms(ax, one)
        panels[0].set_ylabel(ylabel)
        _differences(below.subplots(), sets, difference)
    return work.svg


def _arms(ax: Axes, data: PairedData) -> None:
    for a, b in zip(data.without, data.augmented, strict=True):
        ax.plot((0, 1), (a, b), color="#b5b5b5", linewidth=0.8, zorder=1)
    for x, (arm, values) in enumerate((("without", data.without), ("with", data.augmented))):
        style = ARM_STYLES[arm]
        ax.scatter([x] * len(values), values, color=style.colour, marker=style.marker, s=22, zorder=2, linewidths=0.5,
                   edgecolors="white")
    ax.set_xticks((0, 1), ("without", "with"))
    ax.set_xlim(-0.4, 1.4)
    ax.grid(axis="x", visible=False)
    ax.margins(y=0.12)
    ax.set_title(data.name)


def _differences(ax: Axes, sets: Sequence[PairedData], label: str) -> None:
    ax.axvline(0, color=GREY, linewidth=0.8)
    for row, one in enumerate(sets):
        ax.scatter(one.differences, [row - 0.22] * len(one.differences), color=GREY, s=9, linewidths=0, alpha=0.8)
        if one.low is not None and one.high is not None:
            ax.plot((one.low, one.high), (row + 0.12, row + 0.12), color="black", linewidth=1.5, solid_capstyle="butt")
        ax.plot(sum(one.differences) / len(one.differences), row + 0.12, "D", color="black", markersize=5)
    ax.set_yticks(range(len(sets)), [one.name for one in sets])
    ax.set_ylim(len(sets) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.06)
    ax.set_xlabel(label)


@dataclass(frozen=True)
class ClassRow:
    name: str
    without: float | None
    augmented: float | None


def per_class(title: str, rows: Sequence[ClassRow]) -> str:
    """Accuracy of each class in both arms (shares of 1), worst at the bottom. Returns SVG."""
    from matplotlib.ticker import PercentFormatter

    with drawing(0.75 + 0.19 * len(rows), title) as work:
        ax, = work.axes()
        ys = list(range(len(rows)))[::-1]
        for y, row in zip(ys, rows, strict=True):
            if row.without is not None and row.augmented is not None:
                ax.plot((row.without, row.augmented), (y, y), color="#b5b5b5", linewidth=1.2, zorder=1)
        for arm, values in (("without", [r.without for r in rows]), ("with", [r.augmented for r in rows])):
            style = ARM_STYLES[arm]
            there = [(v, y) for v, y in zip(values, ys, strict=True) if v is not None]
            if there:
                ax.scatter([v for v, _ in there], [y for _, y in there], color=style.colour, marker=style.marker, s=24, zorder=2,
                           linewidths=0.5, edgecolors="white", label=style.label)
        ax.set_yticks(ys, [row.name for row in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
        ax.set_xlabel("accuracy on the class's test images, mean over seeds")
        work.figure.legend(loc="outside lower center", ncols=2)
    return work.svg
