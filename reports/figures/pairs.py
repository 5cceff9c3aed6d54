"""Paired comparisons: both arms of each seed joined by a line, and the differences with their mean and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import ARM_STYLES, GREY, drawing


@dataclass(frozen=True)
class PairedData:
    """values in the unit that is shown; interval of the mean difference, None for a single pair."""

    seeds: tuple[int, ...]
    without: tuple[float, ...]
    augmented: tuple[float, ...]
    low: float | None
    high: float | None
    ylabel: str
    difference_label: str

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(b - a for a, b in zip(self.without, self.augmented, strict=True))


def paired(title: str, data: PairedData) -> str:
    """Left: both arms, a line a seed. Right: with − without, a dot a seed, mean and interval. Returns SVG."""
    with drawing(2.3, title) as work:
        left, right = work.axes(1, 2, width_ratios=(1, 1.25))
        _arms(left, data)
        _differences(right, data)
    return work.svg


def _arms(ax, data: PairedData) -> None:
    for a, b in zip(data.without, data.augmented, strict=True):
        ax.plot((0, 1), (a, b), color="#b5b5b5", linewidth=0.8, zorder=1)
    for x, (arm, values) in enumerate((("without", data.without), ("with", data.augmented))):
        style = ARM_STYLES[arm]
        ax.scatter([x] * len(values), values, color=style.colour, marker=style.marker, s=22, zorder=2, linewidths=0.5,
                   edgecolors="white")
    ax.set_xticks((0, 1), [ARM_STYLES[arm].label.replace(" ", "\n", 1) for arm in ("without", "with")])
    ax.set_xlim(-0.4, 1.4)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel(data.ylabel)
    ax.set_title("Both arms, a line a seed")


def _differences(ax, data: PairedData) -> None:
    values = data.differences
    rows = list(range(len(values)))
    mean = sum(values) / len(values)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.scatter(values, rows, color=GREY, marker="D", s=14, linewidths=0)
    # The mean stands apart, below the seeds.
    ax.axhline(-0.75, color="#d0d0d0", linewidth=0.5)
    if data.low is not None:
        ax.plot((data.low, data.high), (-1.5, -1.5), color="black", linewidth=1.6, solid_capstyle="butt")
    ax.plot(mean, -1.5, "D", color="black", markersize=5.5)
    ax.set_yticks([-1.5, *rows], ["mean", *(f"seed {seed}" for seed in data.seeds)])
    ax.set_ylim(-2.2, len(values) - 0.4)
    ax.grid(axis="y", visible=False)
    reach = max(abs(v) for v in (*values, data.low or 0.0, data.high or 0.0)) or 1.0
    ax.set_xlim(min(0.0, min((*values, data.low or 0.0))) - 0.12 * reach, max(0.0, max((*values, data.high or 0.0))) + 0.12 * reach)
    ax.set_xlabel(data.difference_label)
    ax.set_title("With minus without")


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
                ax.scatter(*zip(*there, strict=True), color=style.colour, marker=style.marker, s=24, zorder=2,
                           linewidths=0.5, edgecolors="white", label=style.label)
        ax.set_yticks(ys, [row.name for row in rows])
        ax.set_ylim(-0.6, len(rows) - 0.4)
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
        ax.set_xlabel("accuracy on the class's test images, mean over seeds")
        work.figure.legend(loc="outside lower center", ncols=2)
    return work.svg
