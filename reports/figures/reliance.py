"""Measured reliance on a planted shortcut across, mass of the heatmaps on it up; a point a network, a panel a shortcut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.canvas import ARM_STYLES, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Network:
    """One network: reliance in points of accuracy, normalised mass on the shortcut, what it was trained with."""

    arm: str
    reliance: float
    mass: float
    correlation: float


def scatter(title: str, panels: Mapping[str, Sequence[Network]], nulls: Mapping[str, float | None]) -> str:
    """nulls: mean mass of untrained networks' maps, by panel. The shortcut's correlation in training is written at its points'
    lowest. Returns SVG."""
    with drawing(3.0, title) as work:
        axes = work.axes(1, max(2, len(panels)), sharey=False)
        for ax in axes[len(panels):]:
            ax.set_visible(False)
        handles: dict[str, Artist] = {}
        for ax, (name, networks) in zip(axes, panels.items(), strict=False):
            _panel(ax, name, networks, nulls.get(name), handles)
        axes[0].set_ylabel("normalised mass on the shortcut")
        work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=max(1, len(handles)))
    return work.svg


def _panel(ax: Axes, name: str, networks: Sequence[Network], null: float | None, handles: dict[str, Artist]) -> None:
    ax.axhline(0, color=GREY, linewidth=0.8)
    if null is not None:
        line = ax.axhline(null, color=GREY, linewidth=0.8, linestyle=(0, (1, 1.5)))
        handles.setdefault("untrained networks", line)
    for arm, style in ARM_STYLES.items():
        points = [(n.reliance, n.mass) for n in networks if n.arm == arm]
        if points:
            handles[style.label] = ax.scatter([x for x, _ in points], [y for _, y in points], color=style.colour,
                                              marker=style.marker, s=26, linewidths=0.5, edgecolors="white", zorder=2)
    for correlation in sorted({n.correlation for n in networks}):
        lowest = min((n for n in networks if n.correlation == correlation), key=lambda n: n.mass)
        ax.annotate(f"{correlation:g}", (lowest.reliance, lowest.mass), xytext=(4, -4), textcoords="offset points", va="top",
                    fontsize=7, color=GREY)
    ax.margins(x=0.1, y=0.14)
    ax.set_title(name)
    ax.set_xlabel("measured reliance (points)")
