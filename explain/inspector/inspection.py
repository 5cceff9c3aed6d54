"""What `inspect` and `compare` return: heatmaps of one or two runs that show themselves in a notebook, and can be saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from explain.inspector import drawing, page, payload
from explain.inspector.mapset import MapSet
from explain.inspector.overlay import STRENGTH
from explain.models import ExplainError


@dataclass(frozen=True)
class Inspection(MapSet):
    """A set of maps with pictures: in a notebook, as a figure, as a page. Filters and choices return a new one."""

    def figure(self, limit: int = 20, strength: float = STRENGTH) -> Figure:
        """Up to `limit` images, ten to a row, each above its maps, and the scale below. Raises ExplainError if none."""
        return drawing.figure(self, limit, strength)

    def mean_figure(self, strength: float = STRENGTH) -> Figure:
        """`means`, drawn like `figure`: a column a class. Raises ExplainError if no image is looked at."""
        return drawing.mean_figure(self, strength)

    def save(self, path: Path | str) -> Path:
        """Write a page (.html) or a figure (.png, .svg). Raises ExplainError."""
        path = Path(path)
        if path.suffix not in (".html", ".png", ".svg"):
            raise ExplainError(f"cannot save as '{path.name}': give a name that ends in .html, .png or .svg.")
        try:
            if path.suffix == ".html":
                path.write_text(page.document(payload.page_of(self)), encoding="utf-8")
            else:
                self.figure().savefig(path, dpi=200)
        except OSError as error:
            raise ExplainError(f"cannot write {path}: {error.strerror or error}; choose another place.") from None
        return path

    def _repr_html_(self) -> str:
        return page.fragment(payload.page_of(self))

    def __repr__(self) -> str:
        return (f"Inspection of {' and '.join(e.record.run for e in self.arms)}: {len(self.looked_at)} images, "
                f"{self.method}, layer '{self.layer}', {self.target} class")
