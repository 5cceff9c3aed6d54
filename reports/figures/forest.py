"""Forest plots: a row a test, its pairs' differences, their mean and interval, what is too small to matter, null controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import GREY, drawing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_NULL_MARKERS = ("x", "+", "1", "2")
_COLOURS = ("#CC79A7", "#009E73", "#E69F00", "#56B4E9")  # Okabe and Ito's, none of them an arm's


@dataclass(frozen=True)
class Row:
    """One test. differences: a pair each, positive where the claim has it; low, high: interval of their mean, None for none.
    bound: half-width of what does not matter. nulls: (what, mean difference) of null controls. strong: the deciding one."""

    label: str
    differences: tuple[float, ...]
    low: float | None
    high: float | None
    bound: float | None
    nulls: tuple[tuple[str, float], ...] = ()
    strong: bool = False


@dataclass(frozen=True)
class Block:
    """Rows under a heading."""

    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Panel:
    """Blocks on one axis."""

    title: str
    blocks: tuple[Block, ...]

    @property
    def lines(self) -> int:
        return sum(1 + len(block.rows) for block in self.blocks)


def forest(title: str, panels: Sequence[Panel], xlabel: str) -> str:
    """A panel below the other, each with an axis of its own. Returns SVG."""
    lines = sum(panel.lines for panel in panels)
    with drawing(0.75 + 0.62 * len(panels) + 0.185 * lines, title) as work:
        axes = work.figure.subplots(len(panels), 1, squeeze=False, height_ratios=[2.2 + p.lines for p in panels])[:, 0]
        handles: dict[str, Artist] = {}
        for ax, panel in zip(axes, panels, strict=True):
            _panel(ax, panel, handles)
        axes[-1].set_xlabel(xlabel)
        work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2 if len(handles) > 3 else 3)
    return work.svg


def _panel(ax: Axes, panel: Panel, handles: dict[str, Artist]) -> None:
    ax.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    ticks, labels, y = [], [], 0
    kinds = list(dict.fromkeys(what for block in panel.blocks for row in block.rows for what, _ in row.nulls))
    for block in panel.blocks:
        ticks.append(y)
        labels.append((block.heading, True))
        y += 1
        for row in block.rows:
            _row(ax, y, row, kinds, handles)
            ticks.append(y)
            labels.append((row.label, False))
            y += 1
    ax.set_yticks(ticks, [text for text, _ in labels])
    for tick, (_, heading) in zip(ax.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if heading else "normal")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(y - 0.3, -0.6)
    ax.grid(axis="y", visible=False)
    ax.margins(x=0.05)
    ax.set_title(panel.title, loc="left")


def _row(ax: Axes, y: int, row: Row, kinds: Sequence[str], handles: dict[str, Artist]) -> None:
    if row.bound is not None:
        band = ax.fill_betweenx((y - 0.42, y + 0.42), -row.bound, row.bound, color="#e3e3e3", linewidth=0, zorder=0)
        handles.setdefault("too small to matter", band)
    if not row.differences:
        return
    colour = "black" if row.strong else "#4d4d4d"
    points = ax.scatter(row.differences, [y - 0.2] * len(row.differences), color="#8c8c8c", s=6, linewidths=0, zorder=2)
    if row.low is not None and row.high is not None:
        ax.plot((row.low, row.high), (y + 0.12, y + 0.12), color=colour, linewidth=2.0 if row.strong else 1.2,
                solid_capstyle="butt", zorder=3)
    mean, = ax.plot(sum(row.differences) / len(row.differences), y + 0.12, "D", color=colour,
                    markersize=5.5 if row.strong else 4, zorder=4)
    handles["mean of the pairs and its 95 % interval"] = mean
    handles.setdefault("a pair of seeds", points)
    for what, value in row.nulls:
        i = kinds.index(what)
        handles[f"null control: {what}"] = ax.scatter([value], [y + 0.12], marker=_NULL_MARKERS[i % 4], color=_COLOURS[i % 4],
                                                      s=26, linewidths=1.3, zorder=5)
