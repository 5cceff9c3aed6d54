"""An inspection as a matplotlib figure, for slides and print."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from explain.models import ExplainError
from explain.overlay import COLOURS, pixels

if TYPE_CHECKING:
    from explain.inspector import Inspection

ACROSS = 10
WRONG = "#b3261e"


class Drawing(Figure):
    """A figure that shows itself in any notebook, also where pyplot was never asked to."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=120)
        return buffer.getvalue()


def figure(inspection: Inspection, limit: int = 20) -> Drawing:
    """Up to `limit` images, ten to a row, each above its maps; red answers are wrong. Raises ExplainError if none."""
    content, overlays = inspection.data, inspection.overlays()
    shown = min(limit, len(content["index"]))
    if shown < 1:
        raise ExplainError("no image passes this filter, so there is nothing to draw.")
    strips = {"image": pixels(content["image"]), **overlays}
    columns, blocks = min(ACROSS, shown), -(-shown // ACROSS)
    made = Drawing(figsize=(max(5.0, columns + 0.6), 1.22 * blocks * len(strips) + 0.9), layout="constrained")
    axes = made.subplots(blocks * len(strips), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    classes = inspection.dataset.classes
    for i in range(shown):
        for s, (name, strip) in enumerate(strips.items()):
            axis = axes[i // ACROSS * len(strips) + s, i % ACROSS]
            axis.imshow(strip[i], interpolation="nearest")
            answer = content["label"] if s == 0 else content["runs"][name]["predicted"]
            axis.set_title(classes[answer[i]], fontsize=7, pad=2,
                           color="black" if answer[i] == content["label"][i] else WRONG)
            if i % ACROSS == 0:
                axis.text(-0.1, 0.5, name.replace(" augmentation", "\naugmentation"), transform=axis.transAxes,
                          rotation=90, ha="right", va="center", fontsize=7, linespacing=1.1)
    scale = inspection.scale
    bar = made.colorbar(ScalarMappable(Normalize(0, scale.limit), COLOURS), ax=axes, location="bottom", fraction=0.04,
                        aspect=70, pad=0.02)
    bar.set_label(scale.label, fontsize=7)
    bar.ax.tick_params(labelsize=7)
    return made
