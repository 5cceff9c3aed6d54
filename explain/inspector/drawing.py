"""An inspection as a matplotlib figure, for slides and print."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from explain.inspector.mapset import MapSet
from explain.inspector.overlay import COLOURS, STRENGTH, blended, pixels
from explain.models import ExplainError

ACROSS = 10
WRONG = "#b3261e"


class Drawing(Figure):
    """A figure that shows itself in any notebook, also where pyplot was never asked to."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def figure(inspection: MapSet, limit: int = 20, strength: float = STRENGTH) -> Drawing:
    """Up to `limit` images, ten to a row, each above its maps; red predictions are wrong. Raises ExplainError if none."""
    content, overlays = inspection.data, inspection.overlays(strength)
    shown = min(limit, len(content["index"]))
    if shown < 1:
        raise ExplainError("no image passes this filter, so there is nothing to draw.")
    classes, truth = inspection.dataset.classes, content["label"]
    predicted = [truth, *(run["predicted"] for run in content["runs"].values())]
    titles = [[(classes[answer[i]], "black" if answer[i] == truth[i] else WRONG) for i in range(shown)] for answer in predicted]
    return _strips({"image": pixels(content["image"]), **overlays}, titles, inspection)


def mean_figure(inspection: MapSet, strength: float = STRENGTH) -> Drawing:
    """A column a class: its mean image above the mean maps over it. Raises ExplainError if no image is looked at."""
    means = inspection.means()
    if not means:
        raise ExplainError("no image passes this filter, so there is nothing to draw.")
    images = np.rint([mean["image"] for mean in means.values()]).astype(np.uint8)
    strips = {"mean image": pixels(images)}
    for name in inspection.names:
        strips[name] = blended(images, np.stack([mean["runs"][name] for mean in means.values()]), inspection.scale, strength)
    titles = [[(f"{name}\nn = {mean['n']}" if i == 0 else "", "black") for name, mean in means.items()]
              for i in range(len(strips))]
    return _strips(strips, titles, inspection)


def _strips(strips: dict[str, np.ndarray], titles: list[list[tuple[str, str]]], inspection: MapSet) -> Drawing:
    """Rows of pictures under one another, `ACROSS` to a block, and the scale below."""
    shown = len(titles[0])
    columns, blocks = min(ACROSS, shown), -(-shown // ACROSS)
    made = Drawing(figsize=(max(5.0, columns + 0.6), 1.22 * blocks * len(strips) + 0.9), layout="constrained")
    axes = made.subplots(blocks * len(strips), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for s, (name, strip) in enumerate(strips.items()):
        for i in range(shown):
            axis = axes[i // ACROSS * len(strips) + s, i % ACROSS]
            axis.imshow(strip[i], interpolation="nearest")
            text, colour = titles[s][i]
            axis.set_title(text, fontsize=7, pad=2, color=colour)
            if i % ACROSS == 0:
                axis.text(-0.1, 0.5, name.replace(" augmentation", "\naugmentation"), transform=axis.transAxes,
                          rotation=90, ha="right", va="center", fontsize=7, linespacing=1.1)
    scale = inspection.scale
    bar = made.colorbar(ScalarMappable(Normalize(0, scale.limit), COLOURS), ax=axes, location="bottom", fraction=0.04,
                        aspect=70, pad=0.02)
    bar.set_label(scale.label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return made
