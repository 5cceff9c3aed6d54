"""ReportModel to one self-contained page, and the body that the PDF shares with it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from reports.figures.themes import dark
from reports.model import ReportModel

TEMPLATES = Path(__file__).parent.parent / "templates"


def page(model: ReportModel) -> str:
    """The HTML page. It asks for nothing: styles, script, images and data are in it."""
    script = _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html.j2").render(
        model=model, themed=True, screen=Markup(_text("screen.css")), style=Markup(_text("report.css")),
        paper=Markup(_text("print.css")),
        script=Markup(script), script_hash=digest, data=Markup(model.data.replace("<", "\\u003c")))


def paper(model: ReportModel) -> str:
    """The HTML that becomes the PDF: the same body, styles for paper only."""
    return _environment().get_template("paper.html.j2").render(
        model=model, themed=False, style=Markup(_text("report.css")), paper=Markup(_text("print.css")),
        fonts=Markup(_font_rules()))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(prose=prose, address=address, dark=lambda svg: address(dark(svg)))
    return environment


def prose(text: str) -> Markup:
    """Escaped text in which `backticks` are code and **asterisks** are strong."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe))


def address(svg: str) -> str:
    """A drawing as an address that holds it whole, fit for `src` and `srcset`, where blanks divide addresses."""
    return "data:image/svg+xml," + quote(svg, safe="/:;=,()!*+-._~'@&?$")


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


# Fonts of the paper: (family, weight, style, file). They come with matplotlib, so paper looks alike everywhere.
_FACES = (
    ("Report Serif", "normal", "normal", "STIXGeneral.ttf"),
    ("Report Serif", "bold", "normal", "STIXGeneralBol.ttf"),
    ("Report Serif", "normal", "italic", "STIXGeneralItalic.ttf"),
    ("Report Sans", "normal", "normal", "DejaVuSans.ttf"),
    ("Report Sans", "bold", "normal", "DejaVuSans-Bold.ttf"),
    ("Report Mono", "normal", "normal", "DejaVuSansMono.ttf"),
)
FONT_SCHEME = "font:"


def _font_rules() -> str:
    """@font-face rules with addresses that only `font` answers: as data URIs they would be 4 MB to parse."""
    return "\n".join(f"@font-face{{font-family:'{family}';font-weight:{weight};font-style:{style};"
                     f"src:url({FONT_SCHEME}{file})}}" for family, weight, style, file in _FACES)


def font(address: str) -> bytes:
    """The font file behind an address of `_font_rules`. Raises ValueError for any other."""
    from matplotlib import get_data_path

    name = address.removeprefix(FONT_SCHEME)
    if name not in {file for *_, file in _FACES}:
        raise ValueError(f"{address} is no font of this report")
    return (Path(get_data_path()) / "fonts" / "ttf" / name).read_bytes()
