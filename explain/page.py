"""Static HTML for inspections: pictures inside the page, filters in CSS, no script, nothing fetched.

Everything takes its colours from the text around it, so that a light and a dark notebook both suit it. Takes strings
and pixels, computes nothing.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import UInt8
from PIL import Image


@dataclass(frozen=True)
class Picture:
    """One small picture of a card, with the words under it. right: None where nothing was answered."""

    heading: str
    png: str
    alt: str
    caption: str
    detail: str
    right: bool | None = None


@dataclass(frozen=True)
class Card:
    """One image as everybody sees it. kinds: the filters that it passes."""

    pictures: tuple[Picture, ...]
    kinds: frozenset[str]


@dataclass(frozen=True)
class Section:
    title: str
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Table:
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


@dataclass(frozen=True)
class Page:
    """An inspection, every string formatted. filters: (kind, label with count); the first shows all.

    width: of a picture on the page, in CSS pixels; a multiple of its own keeps the pixels even.
    uid: unlike that of any other inspection in the same document, for the filters' sake.
    """

    title: str
    subtitle: str
    bar: str
    bar_ends: tuple[str, str]
    bar_label: str
    filters: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    rule: str
    table: Table | None
    width: int
    uid: str


def png(pixels: UInt8[np.ndarray, "h w 3"]) -> str:
    """A data URI of the picture at its own size; the page enlarges it without smoothing."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def fragment(page: Page) -> str:
    """HTML to put into a notebook's output."""
    controls = "".join(
        f'<input type="radio" name="{page.uid}" id="{page.uid}-{kind}" class="k-{kind}"{" checked" if i == 0 else ""}>'
        f'<label for="{page.uid}-{kind}">{escape(label)}</label>' for i, (kind, label) in enumerate(page.filters))
    sections = "".join(f'<section><h4>{escape(s.title)}</h4><div class="cards">{"".join(map(_card, s.cards))}</div></section>'
                       for s in page.sections)
    hidden = "".join(f".explain .k-{kind}:checked~section .card:not(.is-{kind}){{display:none}}"
                     f".explain .k-{kind}:checked~section:not(:has(.is-{kind})){{display:none}}"
                     for kind, _ in page.filters[1:])
    return (f'<div class="explain" style="--w:{page.width}px"><style>{_STYLE}{hidden}</style>'
            f'<h3>{escape(page.title)}</h3><p class="sub">{escape(page.subtitle)}</p>'
            f'<div class="scale"><span>{escape(page.bar_ends[0])}</span>'
            f'<img src="{page.bar}" alt="Colour scale, dark for {escape(page.bar_ends[0])} to bright for '
            f'{escape(page.bar_ends[1])}"><span>{escape(page.bar_ends[1])}</span>'
            f'<span class="what">{escape(page.bar_label)}</span></div>'
            f'{controls}{sections or "<p>No image passes this filter.</p>"}'
            f'<p class="rule">{escape(page.rule)}</p>{_table(page.table) if page.table else ""}</div>')


def document(page: Page) -> str:
    """A whole page that holds the fragment and stands alone."""
    return ('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">'
            f'<title>{escape(page.title)}</title><style>:root{{color-scheme:light dark}}'
            'body{margin:2rem auto;max-width:74rem;padding:0 1.2rem;background:Canvas;color:CanvasText}</style></head>'
            f'<body><main>{fragment(page)}</main></body></html>\n')


def _card(card: Card) -> str:
    kinds = "".join(f" is-{kind}" for kind in sorted(card.kinds))
    return (f'<article class="card{kinds}">{"".join(map(_picture, card.pictures))}</article>')


def _picture(picture: Picture) -> str:
    mark = "" if picture.right is None else (
        '<span class="ok" title="right">✓</span> ' if picture.right else '<span class="no" title="wrong">✗</span> ')
    return (f'<figure><span class="head">{escape(picture.heading)}</span><img src="{picture.png}" '
            f'alt="{escape(picture.alt)}"><figcaption>{mark}{escape(picture.caption)}'
            f'<span class="detail">{escape(picture.detail)}</span></figcaption></figure>')


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.head)
    rows = "".join(f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(c)}</td>" for c in row[1:])}</tr>'
                   for row in table.rows)
    return (f'<details><summary>{escape(table.caption)}</summary><div class="wide"><table><thead><tr>{head}</tr></thead>'
            f'<tbody>{rows}</tbody></table></div><p class="rule">{escape(table.note)}</p></details>')


# Muted text and lines are the surrounding text's colour, thinned: right on any background.
_STYLE = """
.explain{--line:color-mix(in srgb,currentColor 18%,transparent);--soft:color-mix(in srgb,currentColor 66%,transparent);
font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;padding:.3rem 0}
.explain h3{font-size:1.3rem;font-weight:650;margin:0;line-height:1.25;overflow-wrap:anywhere}
.explain h4{font-size:.95rem;font-weight:600;margin:1.5rem 0 .55rem}
.explain p{margin:.2rem 0}.explain .sub,.explain .rule{color:var(--soft)}
.explain .rule{font-size:.85rem;max-width:62rem;margin-top:1rem}
.explain .scale{display:flex;flex-wrap:wrap;align-items:center;gap:.1rem .55rem;margin:.9rem 0 1rem;font-size:.85rem;
font-variant-numeric:tabular-nums}
.explain .scale img{width:14rem;height:.75rem;border-radius:3px;margin:0;outline:1px solid var(--line)}
.explain .scale .what{color:var(--soft);flex-basis:100%}
.explain input{position:absolute;opacity:0;width:1px;height:1px;margin:0;pointer-events:none}
.explain label{display:inline-block;font-size:.85rem;padding:.2rem .75rem;margin:0 .3rem .3rem 0;border-radius:99px;
border:1px solid var(--line);cursor:pointer;user-select:none}
.explain label:hover{background:color-mix(in srgb,currentColor 7%,transparent)}
.explain input:checked+label{background:color-mix(in srgb,currentColor 14%,transparent);border-color:transparent;
font-weight:600}
.explain input:focus-visible+label{outline:2px solid #3b82f6;outline-offset:2px}
.explain .cards{display:flex;flex-wrap:wrap;gap:.8rem}
.explain .card{border:1px solid var(--line);border-radius:10px;padding:.55rem .65rem;display:flex;gap:.6rem}
.explain figure{margin:0;width:var(--w);flex:0 1 auto;min-width:0}
.explain .head{display:block;font-size:.75rem;color:var(--soft);margin-bottom:.25rem;white-space:nowrap;
overflow:hidden;text-overflow:ellipsis}
.explain figure img{display:block;width:100%;min-width:0;height:auto;margin:0;border-radius:5px;
image-rendering:pixelated;max-width:var(--w)}
.explain figcaption{font-size:.8rem;line-height:1.3;margin-top:.35rem;overflow-wrap:anywhere;text-align:left}
.explain .detail{display:block;font-size:.72rem;color:var(--soft);font-variant-numeric:tabular-nums}
.explain .ok{color:#12935f;font-weight:700}.explain .no{color:#dc4a4a;font-weight:700}
.explain details{margin-top:1rem}.explain summary{cursor:pointer;font-weight:600;font-size:.9rem}
.explain table{border-collapse:collapse;margin:.6rem 0;font-size:.85rem;font-variant-numeric:tabular-nums;
background:none;color:inherit}
.explain .wide{overflow-x:auto}.explain tr{background:none!important}
.explain th,.explain td{padding:.22rem .9rem .22rem 0;border:0;border-bottom:1px solid var(--line);text-align:right}
.explain th:first-child{text-align:left;font-weight:500}.explain thead th{color:var(--soft);font-weight:500}
@media print{.explain label,.explain input{display:none}}
""".replace("\n", "")
