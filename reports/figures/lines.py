"""Curves: one thin line a seed, the mean bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reports.figures.canvas import ARM_STYLES, drawing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Line:
    """One run's curve."""

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One plot: lines by arm."""

    title: str
    xlabel: str
    ylabel: str
    arms: Mapping[str, tuple[Line, ...]]
    percent: bool = False
    log: bool = False


def mean_line(lines: Sequence[Line], points: int = 60) -> Line:
    """The mean of several curves at equal shares of their runs: of x and of y, so that runs of unequal length join in."""
    share = np.linspace(0, 1, points)
    xs = [line.x[0] + share * (line.x[-1] - line.x[0]) for line in lines]
    ys = [np.interp(x, line.x, line.y) for x, line in zip(xs, lines, strict=True)]
    return Line(tuple(np.mean(xs, axis=0).tolist()), tuple(np.mean(ys, axis=0).tolist()))


def panels(title: str, contents: Sequence[Panel], columns: int, panel_height: float = 2.05) -> str:
    """Several plots in a grid, one legend below. Returns SVG."""
    rows = -(-len(contents) // columns)
    with drawing(panel_height * rows + 0.3, title) as work:
        axes = work.axes(rows, columns)
        for ax in axes[len(contents):]:
            ax.set_visible(False)
        handles: dict[str, Artist] = {}
        for ax, panel in zip(axes, contents, strict=False):
            _panel(ax, panel, handles)
        work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return work.svg


def _panel(ax: Axes, panel: Panel, handles: dict[str, Artist]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

    for arm, lines in panel.arms.items():
        if not lines:
            continue
        style = ARM_STYLES[arm]
        for line in lines:
            ax.plot(line.x, line.y, color=style.colour, linewidth=0.6, alpha=0.4)
        bold = mean_line(lines) if len(lines) > 1 else lines[0]
        mark = np.linspace(0, len(bold.x) - 1, 5).astype(int)[1:-1].tolist()
        handle, = ax.plot(bold.x, bold.y, color=style.colour, linestyle=style.dash, marker=style.marker, markevery=mark,
                          markersize=4, markeredgecolor="white", markeredgewidth=0.5)
        handles.setdefault(style.label, handle)
    ax.set_title(panel.title)
    ax.set_xlabel(panel.xlabel)
    ax.set_ylabel(panel.ylabel)
    ax.margins(x=0.02)
    if panel.percent:
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None, symbol=" %"))
    if panel.log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


@dataclass(frozen=True)
class RatePanel:
    """Planned schedules and logged rates of one data set."""

    title: str
    planned: tuple[Line, ...]
    logged: Mapping[str, tuple[Line, ...]]


def learning_rates(title: str, contents: Sequence[RatePanel]) -> str:
    """Planned schedules as broad grey bands, what each run logged on top of them; a panel a data set. Returns SVG."""
    columns = min(2, len(contents))
    rows = -(-len(contents) // columns)
    with drawing(1.65 * rows + 0.3, title) as work:
        axes = work.axes(rows, columns)
        for ax in axes[len(contents):]:
            ax.set_visible(False)
        handles: dict[str, Artist] = {}
        for ax, panel in zip(axes, contents, strict=False):
            for line in panel.planned:
                handles["planned"], = ax.plot(line.x, line.y, color="#cdcdcd", linewidth=5, solid_capstyle="butt")
            # The dashed arm last: both show where they coincide.
            for arm, lines in sorted(panel.logged.items()):
                style = ARM_STYLES[arm]
                for line in lines:
                    handle, = ax.plot(line.x, line.y, color=style.colour, linestyle=style.dash, linewidth=1.0)
                    handles.setdefault(f"logged, {style.label}", handle)
            ax.set_title(panel.title)
            ax.set_xlabel("epoch")
            ax.set_ylim(bottom=0)
            ax.margins(x=0.01)
        work.figure.supylabel("learning rate", fontsize=8, color="#333333")
        work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return work.svg
