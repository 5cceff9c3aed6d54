"""The one place that makes matplotlib figures and writes them out: same data in, same bytes out."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 6.5  # inches: the text width of an A4 page
_FAMILY = "'DejaVu Sans', Verdana, Arial, sans-serif"
_STYLE = Path(__file__).parent / "report.mplstyle"


@dataclass(frozen=True)
class ArmStyle:
    """How an arm looks everywhere: colour, dash and marker say the same thing three times."""

    label: str
    colour: str
    dash: str | tuple
    marker: str


# Two of Okabe and Ito's colours, which differ in lightness and under every common colour vision.
ARM_STYLES = {
    "without": ArmStyle("without augmentation", "#D55E00", (0, (4, 1.6)), "s"),
    "with": ArmStyle("with augmentation", "#0072B2", "-", "o"),
}
GREY = "#6b6b6b"


@cache
def _style() -> dict:
    from matplotlib import rc_params_from_file

    return dict(rc_params_from_file(_STYLE, use_default_template=False))


class Drawing:
    """A figure in the making; `svg` is set when the `drawing` block ends."""

    svg: str

    def __init__(self, figure: Figure):
        self.figure = figure

    def axes(self, rows: int = 1, columns: int = 1, **options) -> list[Axes]:
        """Axes row by row."""
        return list(self.figure.subplots(rows, columns, squeeze=False, **options).flat)


@contextmanager
def drawing(height: float, title: str, width: float = WIDTH) -> Iterator[Drawing]:
    """A blank figure of `width` × `height` inches in the report's style; `title` becomes the SVG's own title."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_style()):
        work = Drawing(Figure(figsize=(width, height), layout="constrained"))
        yield work
        text = io.StringIO()
        FigureCanvasSVG(work.figure).print_svg(text, metadata={"Date": None, "Creator": None, "Title": title})
    work.svg = _compact(text.getvalue())


def _compact(svg: str) -> str:
    """Without prologue, comments, metadata and unused ids, coordinates to a hundredth of a point; the same picture.

    Text stays text: small, sharp and searchable. Its `font` shorthand is spelt out, because WeasyPrint reads the long
    names only.
    """
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"\s*(<metadata>.*?</metadata>|<!--.*?-->)", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(?<=[ \n])d=\"[^\"]*\"", lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]).replace("\n", ""), svg)
    svg = re.sub(r"\b(x|y|width|height)=\"(-?\d+\.\d\d)\d+\"", r'\1="\2"', svg)
    svg = re.sub(r"(rotate|translate)\([^)]*\)", lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)
    svg = re.sub(r"font: (?:(\d+) )?([\d.]+)px [^;\"]+", _long_font, svg)
    svg = svg.replace("<style type=\"text/css\">", f"<style type=\"text/css\">text{{font-family: {_FAMILY}}}", 1)
    svg = re.sub(r"; text-anchor: start| transform=\"rotate\(-?0 [^\"]*\"|<g>\s*</g>|<g/>", "", svg)
    svg = _shared_styles(svg)
    used = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r" id=\"([^\"]*)\"", lambda m: m[0] if m[1] in used else "", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _shared_styles(svg: str) -> str:
    """Styles that stand on several elements become classes."""
    counts = Counter(re.findall(r" style=\"([^\"]*)\"", svg))
    classes = {style: f"s{i}" for i, (style, n) in enumerate(counts.items()) if n > 1}
    svg = re.sub(r" style=\"([^\"]*)\"", lambda m: f' class="{classes[m[1]]}"' if m[1] in classes else m[0], svg)
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return svg.replace("</style>", rules + "</style>", 1)


def _long_font(match: re.Match) -> str:
    return f"font-size: {match[2]}px" + (f"; font-weight: {match[1]}" if match[1] else "")
