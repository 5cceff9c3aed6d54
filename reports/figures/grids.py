"""Confusion matrices, and the colour scale of heatmaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from reports.figures.canvas import ARM_STYLES, drawing
from reports.figures.svg import DATA


def confusion(title: str, classes: Sequence[str], shares: Mapping[str, np.ndarray]) -> str:
    """Row-normalised confusion matrices (K, K) of each arm side by side, errors on one colour scale. Returns SVG.

    Only errors are coloured: with accuracies near 1 the diagonal would leave no colour for anything else.
    """
    k = len(classes)
    worst = max(float((m - np.diag(np.diag(m))).max()) for m in shares.values()) or 1.0
    size = 6 if k <= 10 else 4.5
    room = 0.03 * max(0, max(map(len, classes)) - 12)  # long names, at a slant below
    with drawing((3.4 if k <= 12 else 3.8) + room, title) as work:
        axes = work.axes(1, max(2, len(shares)), sharey=True)
        for ax in axes[len(shares):]:
            ax.set_visible(False)
        for ax, (arm, matrix) in zip(axes, shares.items(), strict=False):
            errors = np.ma.masked_where(np.eye(k, dtype=bool), matrix)
            mesh = ax.pcolormesh(errors, cmap="YlOrBr", vmin=0, vmax=worst, edgecolors="white", linewidth=0.5,
                                 clip_on=False, gid=DATA)
            for i in range(k):
                for j in range(k):
                    text = _cell(matrix[i, j], i == j)
                    dark = i != j and matrix[i, j] > 0.6 * worst
                    if text:
                        ax.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=size,
                                fontweight="bold" if i == j else "normal", color="white" if dark else "#222222",
                                in_layout=False, gid=None if i == j else DATA)
            ax.set_xticks(np.arange(k) + 0.5, classes, rotation=55, ha="right", rotation_mode="anchor", fontsize=6.5)
            ax.set_yticks(np.arange(k) + 0.5, classes, fontsize=6.5)
            ax.set_aspect("equal")
            ax.grid(visible=False)
            ax.tick_params(length=0)
            for spine in ax.spines.values():
                spine.set_visible(False)
            ax.set_title(ARM_STYLES[arm].label.capitalize())
            ax.set_xlabel("predicted")
        axes[0].invert_yaxis()  # shared by all
        axes[0].set_ylabel("true")
        bar = work.figure.colorbar(mesh, ax=axes[:len(shares)], shrink=0.6, aspect=25, pad=0.015)
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g} %")
        bar.ax.tick_params(labelsize=6.5, length=0)
    return work.svg


def _cell(share: float, diagonal: bool) -> str:
    """Percent; errors that round to nothing are left out."""
    value = 100 * share
    if diagonal:
        return f"{value:.1f}" if value < 99.95 else "100"
    return "" if value < 0.05 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def colour_scale(title: str, colours: str, ends: Sequence[tuple[str, float]]) -> str:
    """One horizontal colour bar, from 0 to 1 of each row's end (name, value). Returns SVG."""
    with drawing(0.2 + 0.17 * len(ends), title, width=3.6) as work:
        ax, = work.axes()
        ax.imshow(np.linspace(0, 1, 128)[None], aspect="auto", cmap=colours, extent=(0, 1, 0, 1),
                  interpolation="nearest")
        ax.set_yticks([])
        ax.grid(visible=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        ticks = (0, 0.25, 0.5, 0.75, 1)
        ax.set_xticks(ticks, ["\n".join(f"{share * limit:.2g}" for _, limit in ends) for share in ticks], fontsize=6.5)
        ax.tick_params(length=0)
        ax.annotate("\n".join(name for name, _ in ends), (0, 0), xycoords="axes fraction", xytext=(-10, -3.5),
                    textcoords="offset points", ha="right", va="top", fontsize=6.5, color="#555555", linespacing=1.2)
    return work.svg
