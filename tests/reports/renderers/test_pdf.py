"""The PDF: tagged, described, navigable, and the same bytes again."""

from __future__ import annotations

import json
import sys

import pikepdf
import pytest

import reports
from reports.faults import ReportWarning
from reports.model import FigureSpec, Prose
from reports.renderers import pdf
from tests.reports import making

LIMIT = 2_000_000


@pytest.fixture(scope="module")
def document(whole):
    with pikepdf.open(whole.files["pdf"]) as opened:
        yield opened


def tags(node, kind: str):
    """All structure elements of a kind below `node`."""
    if isinstance(node, pikepdf.Array):
        for child in node:
            yield from tags(child, kind)
    elif isinstance(node, pikepdf.Dictionary):
        if node.get("/S") == kind:
            yield node
        if "/K" in node and node.get("/Type") != "/MCR":
            yield from tags(node.K, kind)


def titles(items) -> list[str]:
    return [title for item in items for title in (item.title, *titles(item.children))]


def test_is_small(whole) -> None:
    assert whole.files["pdf"].stat().st_size < LIMIT


def test_says_that_it_is_accessible(document) -> None:
    assert str(document.Root.Lang) == "en"
    assert bool(document.Root.MarkInfo.Marked)
    with document.open_metadata() as metadata:
        assert metadata["pdfuaid:part"] == "1"
        assert metadata["dc:title"] == "Are 1000 seconds enough?"


def test_every_figure_is_described(document) -> None:
    figures = list(tags(document.Root.StructTreeRoot.K, "/Figure"))
    assert len(figures) > 100
    assert all(str(figure.get("/Alt", "")).strip() for figure in figures)


def test_tables_have_headers(document) -> None:
    tables = list(tags(document.Root.StructTreeRoot.K, "/Table"))
    assert len(tables) >= 5
    assert all(list(tags(table, "/TH")) for table in tables)


def test_outline_names_the_sections(document, whole) -> None:
    with document.open_outline() as outline:
        found = titles(outline.root)
    for section in whole.model.sections:
        assert f"{section.number} {section.title}" in found


def test_contents_lead_to_pages(document) -> None:
    links = [a for page in document.pages[:2] for a in page.get("/Annots", []) if a.get("/Subtype") == "/Link"]
    assert len(links) >= 10


def test_paper_sizes(document) -> None:
    """A4, upright but for the wide table of the appendix."""
    sizes = [tuple(round(float(v)) for v in page.mediabox[2:]) for page in document.pages]
    assert set(sizes) == {(595, 842), (842, 595)}
    assert 5 < len(sizes) < 40
    assert sizes.count((842, 595)) == 1


def test_results_are_attached(document, whole) -> None:
    attached = document.attachments["results.json"].get_file().read_bytes()
    assert json.loads(attached) == json.loads(whole.files["json"].read_text())


def test_same_inputs_same_bytes(whole, inputs, tmp_path) -> None:
    again = reports.render(inputs, tmp_path)
    for kind, path in whole.files.items():
        assert again[kind].read_bytes() == path.read_bytes(), kind


def test_no_glyph_is_missing(whole, monkeypatch) -> None:
    """The fonts that come with matplotlib have every character that the report's own words use."""
    from weasyprint.logger import LOGGER

    said: list[str] = []
    monkeypatch.setattr(LOGGER, "warning", lambda message, *rest: said.append(message % rest))
    every = Prose("− × ± ≥ ≤ → · … – — “ ” ‘ ’ ÷ µ Δ ² ⁻ ≈ °")
    section = whole.model.sections[0]
    pdf.document(_with(whole.model, (type(section)("s", "1", "Signs", "", (every,)),)))
    assert [text for text in said if "notdef" in text] == []


def _with(model, sections):
    from dataclasses import replace

    return replace(model, sections=sections)


def test_a_picture_without_words_is_refused(whole) -> None:
    section = whole.model.sections[0]
    silent = FigureSpec("silent", '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "", "A caption.")
    with pytest.raises(ReportWarning, match="alt"):
        pdf.document(_with(whole.model, (type(section)("s", "1", "One", "", (silent,)),)))


def test_nothing_is_fetched(whole, monkeypatch) -> None:
    remote = '<html lang="en"><title>t</title><img src="http://example.org/a.png" alt="a">'
    monkeypatch.setattr(pdf, "paper", lambda model: remote)
    with pytest.raises(pdf.PdfFailed, match="FatalURLFetchingError"):
        pdf.document(whole.model)


def test_without_weasyprint_one_clear_message(inputs, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)  # what an import that fails leaves behind
    with pytest.raises(reports.PdfUnavailable, match="libharfbuzz-subset0") as caught:
        reports.render(inputs, tmp_path)
    assert caught.value.exit_status == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]  # made all the same
    assert sorted(reports.render(inputs, tmp_path, ("html",))) == ["html", "json"]


def test_few_rows_of_pictures_share_a_page(document) -> None:
    """Mean maps are compared row by row: mean image, without and with augmentation."""
    pictures = [tag for tag in tags(document.Root.StructTreeRoot.K, "/Figure") if str(tag.Alt).startswith("Mean ")]
    rows = 3 * len(making.CLASSES)
    assert pictures and len(pictures) % rows == 0
    for first in range(0, len(pictures), rows):
        assert len({page_of(tag) for tag in pictures[first:first + rows]}) == 1


def page_of(tag) -> tuple[int, int]:
    """The page that a structure element's content is on."""
    for node in (tag, *([tag.K] if isinstance(tag.K, pikepdf.Dictionary) else tag.K)):
        if isinstance(node, pikepdf.Dictionary) and "/Pg" in node:
            return node.Pg.objgen
    raise AssertionError("no page")
