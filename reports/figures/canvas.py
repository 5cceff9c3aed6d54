"""The one place that makes matplotlib figures and writes them out: same data in, same bytes out."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.figures.svg import compact

if TYPE_CHECKING:
    from matplotlib import RcParams
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.5  # inches: the text width of an A4 page
_STYLE = Path(__file__).parent / "report.mplstyle"


@dataclass(frozen=True)
class ArmStyle:
    """How an arm looks everywhere: colour, dash and marker say the same thing three times."""

    label: str
    colour: str
    dash: str | tuple[float, tuple[float, ...]]
    marker: str


# Two of Okabe and Ito's colours, which differ in lightness and under every common colour vision.
ARM_STYLES = {
    "without": ArmStyle("without augmentation", "#D55E00", (0, (4, 1.6)), "s"),
    "with": ArmStyle("with augmentation", "#0072B2", "-", "o"),
}
GREY = "#6b6b6b"


@cache
def _style() -> RcParams:
    from matplotlib import rc_params_from_file

    return rc_params_from_file(_STYLE, use_default_template=False)


class Drawing:
    """A figure in the making; `svg` is set when the `drawing` block ends."""

    svg: str

    def __init__(self, figure: Figure):
        self.figure = figure

    def axes(self, rows: int = 1, columns: int = 1, **options: Any) -> list[Axes]:
        """Axes row by row."""
        return list(self.figure.subplots(rows, columns, squeeze=False, **options).flat)


@contextmanager
def drawing(height: float, title: str, width: float = WIDTH) -> Iterator[Drawing]:
    """A blank figure of `width` × `height` inches in the report's style; `title` becomes the SVG's own title."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_style()), warnings.catch_warnings():
        # Text stays text, in whatever fonts its reader has: what this one lacks is only measured by its box.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        work = Drawing(Figure(figsize=(width, height), layout="constrained"))
        yield work
        text = io.StringIO()
        FigureCanvasSVG(work.figure).print_svg(text, metadata={"Date": None, "Creator": None, "Title": title})
    work.svg = compact(text.getvalue())
