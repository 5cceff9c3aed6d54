"""The page of an inspection: static, self-contained HTML that draws itself in any notebook, or alone in a browser.

Nothing is fetched, and no library is needed: styles, script and data are inside. Where scripts do not run (a viewer of
notebooks on the web, a notebook that is not trusted) a still picture and all words remain. Everything takes its colours
from the text around it, so that a light and a dark notebook both suit it. Takes strings and data, computes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("unpack.js", "paint.js", "choose.js", "cards.js", "keys.js", "inspector.js")


@dataclass(frozen=True)
class Table:
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Page:
    """An inspection, every string formatted.

    still: what is shown where scripts do not run, None if there is no image. data: for the script, as JSON.
    uid: unlike that of any other inspection in the same document.
    """

    title: str
    subtitle: str
    rule: str
    tables: tuple[Table, ...]
    still: str | None
    still_alt: str
    data: dict[str, Any]
    uid: str


def png(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """A data URI of the picture at its own size; the page enlarges it without smoothing."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def fragment(page: Page) -> str:
    """HTML to put into a notebook's output."""
    return f"{_body(page)}<script>{_script(page)}</script>"


def document(page: Page) -> str:
    """A whole page that holds the fragment and stands alone. Its policy lets it run its own script and fetch nothing."""
    script = _script(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return ('<!DOCTYPE html><html lang="en"><head><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'\">"
            '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
            f'<meta name="color-scheme" content="light dark"><title>{escape(page.title)}</title>'
            '<style>:root{color-scheme:light dark}'
            'body{margin:1.5rem auto 4rem;max-width:80rem;padding:0 1.2rem;background:Canvas;color:CanvasText}</style></head>'
            f'<body><main>{_body(page)}</main><script>{script}</script></body></html>\n')


def _body(page: Page) -> str:
    # The stage holds the still until the script puts the living page in its place. JupyterLab leaves keys pressed in it
    # alone (data-lm-suppress-shortcuts).
    still = (f'<img class="still" src="{page.still}" alt="{escape(page.still_alt)}"><p class="rule">A still picture of the '
             'first images. To filter, sort and switch, open this where scripts run: in a trusted notebook, or saved as a page.'
             '</p>') if page.still else "<p>No image passes this filter.</p>"
    return (f'<div class="explain"><style>{_text("inspector.css")}</style>'
            f'<h2>{escape(page.title)}</h2><p class="sub">{escape(page.subtitle)}</p>'
            f'<div id="{page.uid}" data-lm-suppress-shortcuts="true">{still}</div>'
            f'{"".join(map(_table, page.tables))}<p class="rule">{escape(page.rule)}</p></div>')


def _script(page: Page) -> str:
    """One closed scope, so that several inspections live in one notebook."""
    data = json.dumps(page.data, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    code = "\n".join(map(_text, _SCRIPTS))
    return f'(() => {{"use strict";\n{code}\nstart("{page.uid}", {json.dumps(_text("inspector.css"))}, {data});\n}})();'


@cache
def _text(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "".join(f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(c)}</td>" for c in row[1:])}</tr>'
                   for row in table.rows)
    return (f'<details><summary>{escape(table.caption)}</summary><div class="wide"><table><thead><tr>{head}</tr></thead>'
            f'<tbody>{rows}</tbody></table></div><p class="rule">{escape(table.note)}</p></details>')
