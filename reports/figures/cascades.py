"""Parameter randomisation: how alike maps stay to the trained network's as its weights are re-initialised, from the head down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.figures.canvas import ARM_STYLES, GREY, drawing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Layer:
    """arms: arm -> for each run a rank correlation a step (None: no map was alive). floor: that of two images' maps."""

    title: str
    arms: Mapping[str, Sequence[Sequence[float | None]]]
    floor: float | None


def cascades(title: str, steps: Sequence[str], layers: Sequence[Layer]) -> str:
    """A panel a layer; thin lines are runs, the bold one their mean. steps: what was re-initialised, in turn. Returns SVG."""
    with drawing(2.75, title) as work:
        axes = work.axes(1, max(2, len(layers)), sharey=True)
        for ax in axes[len(layers):]:
            ax.set_visible(False)
        handles: dict[str, Artist] = {}
        for ax, layer in zip(axes, layers, strict=False):
            _panel(ax, steps, layer, handles)
        axes[0].set_ylabel("rank correlation with the map")
        work.figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=max(1, len(handles)))
    return work.svg


def _panel(ax: Axes, steps: Sequence[str], layer: Layer, handles: dict[str, Artist]) -> None:
    ax.axhline(0, color=GREY, linewidth=0.8)
    if layer.floor is not None:
        handles["maps of two images"] = ax.axhline(layer.floor, color=GREY, linewidth=1.0, linestyle=(0, (1, 1.5)))
    for arm, runs in layer.arms.items():
        style = ARM_STYLES[arm]
        for run in runs:
            _line(ax, run, color=style.colour, linewidth=0.5, alpha=0.45)
        mean = [sum(known) / len(known) if (known := [v for run in runs if (v := run[i]) is not None]) else None
                for i in range(len(steps))]
        handles[style.label] = _line(ax, mean, color=style.colour, linestyle=style.dash, linewidth=1.7, marker=style.marker,
                                     markersize=3.5)
    ax.set_xticks(range(len(steps) + 1), ("trained", *steps), rotation=55, ha="right", rotation_mode="anchor", fontsize=6)
    ax.set_ylim(None, 1.05)
    ax.set_title(layer.title)


def _line(ax: Axes, values: Sequence[float | None], **look: Any) -> Artist:
    """From the trained network's own map, which is like itself."""
    line, = ax.plot(range(len(values) + 1), [1.0, *(float("nan") if v is None else v for v in values)], **look)
    return line
