"""ReportModel to one self-contained page, and the body that the PDF shares with it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from reports.model import ReportModel

TEMPLATES = Path(__file__).parent / "templates"


def page(model: ReportModel) -> str:
    """The HTML page. It asks for nothing: styles, script, images and data are in it."""
    script = _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("page.html.j2").render(
        model=model, screen=Markup(_text("screen.css")), style=Markup(_text("report.css")), paper=Markup(_text("print.css")),
        script=Markup(script), script_hash=digest, data=Markup(model.data.replace("<", "\\u003c")))


def paper(model: ReportModel) -> str:
    """The HTML that becomes the PDF: the same body, styles for paper only."""
    return _environment().get_template("paper.html.j2").render(
        model=model, style=Markup(_text("report.css")), paper=Markup(_text("print.css")), fonts=Markup(_fonts()))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True,
                                     lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["prose"] = prose
    return environment


def prose(text: str) -> Markup:
    """Escaped text in which `backticks` are code and **asterisks** are strong."""
    safe = str(escape(text))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe))


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _fonts() -> str:
    """@font-face rules for the fonts that come with matplotlib, so that paper looks the same on every machine."""
    from matplotlib import get_data_path

    folder = Path(get_data_path()) / "fonts" / "ttf"
    faces = (("Report Serif", "STIXGeneral", "normal", "normal"), ("Report Serif", "STIXGeneralBol", "bold", "normal"),
             ("Report Serif", "STIXGeneralItalic", "normal", "italic"), ("Report Sans", "DejaVuSans", "normal", "normal"),
             ("Report Sans", "DejaVuSans-Bold", "bold", "normal"), ("Report Mono", "DejaVuSansMono", "normal", "normal"))
    return "\n".join(
        f"@font-face{{font-family:'{family}';font-weight:{weight};font-style:{style};"
        f"src:url(data:font/ttf;base64,{base64.b64encode((folder / f'{file}.ttf').read_bytes()).decode()})}}"
        for family, file, weight, style in faces)
