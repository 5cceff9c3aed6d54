"""A climbed ladder: time across, accuracy up; what the source reported and what was measured, a point a rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures.canvas import ARM_STYLES, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

REPORTED, MEASURED = "reported", "measured"
_STYLES = {REPORTED: (GREY, (0, (4, 1.6)), "s"), MEASURED: (ARM_STYLES["with"].colour, "-", "o")}
# Where a sign may stand, the nearest place first, in points (1/72 inch) from its point: over, under, beside it, farther off.
_NEAR = [(x, y) for d in (8, 15, 22, 29) for x, y in ((0, d), (0, -d), (d, d / 2), (-d, d / 2), (d, -d / 2), (-d, -d / 2))]


@dataclass(frozen=True)
class Point:
    """One rung: its name, seconds, accuracy in per cent, the interval of its mean where there is one.

    hollow: it peeked. sign: what stands beside the point; its name where empty. on: the name of the rung that it stands on, to
    which a line is drawn.
    """

    name: str
    seconds: float
    accuracy: float
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    sign: str = ""
    on: str = ""


def climb(title: str, lines: dict[str, Sequence[Point]], apart: bool, xlabel: str) -> str:
    """Both lines in one plot, or each in its own where their sizes are not to be compared (`apart`). Returns SVG."""
    shown = {label: points for label, points in lines.items() if points}
    with drawing(2.9, title) as work:
        axes = work.axes(1, len(shown)) if apart else work.axes() * len(shown)
        for ax, (label, points) in zip(axes, shown.items(), strict=True):
            _line(ax, label, points)
            ax.set_xlabel(xlabel)
            if apart:
                ax.set_title(label)
        for ax in dict.fromkeys(axes):
            _scales(ax)
            _frame(ax, [p for one, points in zip(axes, shown.values(), strict=True) if one is ax for p in points])
        axes[0].set_ylabel("test accuracy (%)")
        work.figure.draw_without_rendering()  # where points are on the page is known only then
        taken = [box for ax, points in zip(axes, shown.values(), strict=True) for p in points for box in _around(ax, p)]
        for ax, (label, points) in zip(axes, shown.items(), strict=True):
            _names(ax, label, points, above=label == MEASURED, taken=taken)
        if not apart and len(shown) > 1:
            axes[0].legend(loc="best")
    return work.svg


def _line(ax: Axes, label: str, points: Sequence[Point]) -> None:
    colour, dash, marker = _STYLES[label]
    look: dict[str, Any] = {"color": colour, "linestyle": dash, "zorder": 1, "marker": marker, "markersize": 5,
                            "markeredgecolor": "white", "markeredgewidth": 0.5}
    ax.plot([], [], label=label, **look)
    by_name = {p.name: p for p in points}
    for p in points:
        ends = (by_name.get(p.on, p), p)
        ax.plot([end.seconds for end in ends], [end.accuracy for end in ends], **look)
        if p.low is not None and p.high is not None:
            ax.errorbar(p.seconds, p.accuracy, [[p.accuracy - p.low], [p.high - p.accuracy]], color=colour, alpha=0.45,
                        linewidth=0.8, capsize=2, zorder=0)
        if p.hollow:
            ax.plot(p.seconds, p.accuracy, marker=marker, markersize=5, color="white", markeredgecolor=colour, zorder=2)


def _names(ax: Axes, label: str, points: Sequence[Point], above: bool, taken: list[Bbox]) -> None:
    """Each point's sign beside it, as near as there is room: over no other point, no bar and no other sign."""
    from matplotlib.transforms import Bbox

    for p in points:
        text, (x, y) = p.sign or p.name, _place(ax, p.seconds, p.accuracy)
        width, height = 4.6 * len(text), 7.0
        for right, up in _NEAR:
            up = up if above else -up
            box = Bbox.from_bounds(x + right - width / 2, y + up - height / 2, width, height)
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
        ax.annotate(text, (p.seconds, p.accuracy), xytext=(right, up), textcoords="offset points", ha="center",
                    va="center_baseline", fontsize=7, color=_STYLES[label][0])


def _place(ax: Axes, seconds: float, accuracy: float) -> tuple[float, float]:
    """Where that is on the page, in points (1/72 inch)."""
    x, y = ax.transData.transform((seconds, accuracy))
    return x * 72 / ax.figure.dpi, y * 72 / ax.figure.dpi


def _around(ax: Axes, p: Point) -> list[Bbox]:
    """What a point and its bar cover."""
    from matplotlib.transforms import Bbox

    x, y = _place(ax, p.seconds, p.accuracy)
    boxes = [Bbox.from_bounds(x - 3, y - 3, 6, 6)]
    if p.low is not None and p.high is not None:
        low, high = (_place(ax, p.seconds, end)[1] for end in (p.low, p.high))
        boxes.append(Bbox.from_bounds(x - 1, low, 2, high - low))
    return boxes


def _frame(ax: Axes, points: Sequence[Point]) -> None:
    """Fit the frame to points and bars; bars over two or three seeds may be wider than all else, and leave it then."""
    low, high = min(p.accuracy for p in points), max(p.accuracy for p in points)
    most = high - low
    ends = [end for p in points for end in (p.low, p.high) if end is not None]
    low, high = max(min([low, *ends]), low - most), min(max([high, *ends]), high + most)
    room = 0.07 * (high - low) or 0.5
    ax.set_ylim(low - room, high + room)


def _scales(ax: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    # Less than a decade would show one number on a logarithmic axis.
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.margins(x=0.08)
