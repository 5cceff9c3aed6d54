"""Curves with names: a plot or several side by side, one legend below; a band or bars where a curve has a low and a high side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reports.figures.canvas import GREY, drawing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

# Okabe and Ito's colours, as far as they can be told apart in thin lines; colour and marker say the same thing twice.
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"), (GREY, "P"))

_LEGEND = 105  # characters that a legend as wide as the figure holds in a row; a handle takes the room of nine


@dataclass(frozen=True)
class Curve:
    """x and y of points that a line joins. low, high: of each point, if any; as a band where `band`, else as bars.

    style: which colour and marker; dashed: a curve that is no measurement, or a second reading. marks: whether points are marked.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: int = 0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    band: bool = False
    dashed: bool = False
    marks: bool = True


@dataclass(frozen=True)
class Plot:
    """log: base of the x axis (2 or 10), 0 for a plain one. top: the y axis ends there; what is higher is drawn at the edge.

    lines: (x, label) of vertical marks. ticks: where the x axis is labelled, everywhere that suits it where empty.
    """

    title: str
    xlabel: str
    ylabel: str
    curves: tuple[Curve, ...]
    log: int = 0
    top: float | None = None
    lines: tuple[tuple[float, str], ...] = ()
    ticks: tuple[float, ...] = field(default=())


def plots(title: str, contents: Sequence[Plot], columns: int = 1, height: float = 2.9, legend: bool = True,
          shared: bool = False) -> str:
    """Plots in a grid of `columns`, each `height` inches high. shared: one scale for all. Returns SVG."""
    rows = -(-len(contents) // columns)
    with drawing(height * rows + 0.3 * legend, title) as work:
        axes = work.axes(rows, columns, sharex=shared, sharey=shared)
        for ax in axes[len(contents):]:
            ax.set_visible(False)
        handles: dict[str, Artist] = {}
        for ax, plot in zip(axes, contents, strict=False):
            _plot(ax, plot, handles)
        if shared:
            for ax in axes:
                ax.label_outer()
        if legend and handles:
            columns = max(1, min(4, len(handles), _LEGEND // (9 + max(map(len, handles)))))
            work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
    return work.svg


def _plot(ax: Axes, plot: Plot, handles: dict[str, Artist]) -> None:
    for curve in plot.curves:
        colour, marker = STYLES[curve.style % len(STYLES)]
        y = [min(value, plot.top) if plot.top else value for value in curve.y]
        if curve.low and curve.band:
            ax.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
        elif curve.low:
            ax.vlines(curve.x, curve.low, curve.high, color=colour, linewidth=0.8)
        handle, = ax.plot(curve.x, y, color=colour, linestyle=(0, (4, 1.6)) if curve.dashed else "-",
                          linewidth=1.1 if curve.dashed else 1.5, marker=marker if curve.marks and not curve.dashed else None,
                          markersize=4, markeredgecolor="white", markeredgewidth=0.5, clip_on=plot.top is None)
        handles.setdefault(curve.label, handle)
        off = [(x, plot.top) for x, value in zip(curve.x, curve.y, strict=True) if plot.top and value > plot.top]
        if off:
            ax.plot(*zip(*off, strict=True), linestyle="none", marker="^", markersize=6, color=colour, clip_on=False, zorder=3)
    if plot.title:
        ax.set_title(plot.title)
    ax.set_xlabel(plot.xlabel)
    ax.set_ylabel(plot.ylabel)
    if plot.log:
        ax.set_xscale("log", base=plot.log)
        ax.xaxis.set_major_formatter(lambda value, _: _multiple(value) if plot.log == 2 else f"{value:g}")
        ax.xaxis.set_minor_formatter(lambda value, _: "")
    if plot.ticks:
        ax.set_xticks(plot.ticks)
    if plot.top is not None:
        ax.set_ylim(top=plot.top)
    for x, label in plot.lines:
        ax.axvline(x, color="#8a8a8a", linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        ax.annotate(label, (x, 0.98), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points", rotation=90,
                    va="top", fontsize=7, color="#555555")


def _multiple(value: float) -> str:
    """1/8 for an eighth: rates are read as multiples."""
    inverse = round(1 / value) if 0 < value < 1 else 0
    return f"1/{inverse}" if 1 < inverse <= 64 and abs(inverse * value - 1) < 1e-9 else f"{value:g}"
