"""Both themes are drawn: the dark page's figures are read as the light page's, and data keep their colours."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from reports.figures import grids, themes
from reports.figures.svg import within
from reports.renderers.html import TEMPLATES
from tests.reports.figures.test_figures import DRAWN

COLOURS = re.compile(r"#[0-9a-f]{6}")


def luminance(colour: str) -> float:
    """WCAG's relative luminance of "#rrggbb"."""
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_paper_and_ink_are_the_pages() -> None:
    dark = (TEMPLATES / "screen.css").read_text().split("prefers-color-scheme: dark", 1)[1]
    assert f"--paper: {themes.PAPER}" in dark and f"--ink: {themes.INK}" in dark
    assert themes.colour("#ffffff") == themes.PAPER and themes.colour("#000000") == themes.INK


def test_hues_stand_out_and_apart() -> None:
    assert all(contrast(colour, themes.PAPER) >= 4.5 for colour in themes.HUES.values())
    assert len(set(themes.HUES.values())) == len(themes.HUES)
    for a, b in itertools.combinations(themes.HUES.values(), 2):
        assert sum(abs(int(a[i:i + 2], 16) - int(b[i:i + 2], 16)) for i in (1, 3, 5)) > 40, (a, b)


def test_every_colour_of_the_figures_has_a_counterpart() -> None:
    """A colour that the figures name is a grey, or in the table; else it would be drawn for the other paper."""
    import reports.figures

    folder = TEMPLATES.parent / "figures"
    named = {c.lower() for path in folder.glob("*.py") if path.name != "themes.py"
             for c in re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text())}
    assert reports.figures and named
    assert [c for c in sorted(named) if c not in themes.HUES and len({c[1:3], c[3:5], c[5:]}) > 1] == []


@pytest.mark.parametrize("name", DRAWN)
def test_the_dark_drawing_is_the_same_in_other_colours(name: str) -> None:
    light, dark = DRAWN[name](), themes.dark(DRAWN[name]())
    assert COLOURS.sub("", light) == COLOURS.sub("", dark.replace(f' fill="{themes.INK}"', "", 1))
    for element, data in within(xml.fromstring(dark)):
        if element.tag.endswith("}text") and not data:
            fill = re.search(r"fill: (#\w{6})", _style(dark, element))
            assert contrast(fill[1] if fill else themes.INK, themes.PAPER) >= 4.5, element.text


def _style(svg: str, element: xml.Element) -> str:
    rules = dict(re.findall(r"\.(\w+)\{([^}]*)\}", svg))
    return element.get("style", "") + "; ".join(rules.get(name, "") for name in element.get("class", "").split())


def test_data_keep_their_colours() -> None:
    matrix = np.array([[0.6, 0.3, 0.1], [0.02, 0.9, 0.08], [0.2, 0.2, 0.6]])
    light = grids.confusion("t", "abc", {"with": matrix, "without": matrix.T})
    dark = themes.dark(light)
    for svg in (light, dark):
        root = xml.fromstring(svg)
        fills = [re.search(r"fill: (#\w{6})", _style(svg, e)) for e, data in within(root) if data and e.get("class") != "data"]
        found = [fill[1] for fill in fills if fill]
        assert "#662506" in found and "#222222" in found and "#ffffff" in found  # the worst mistake; words on light and on dark
        if svg is light:
            expected = found
    assert found == expected
    assert re.findall(r'href="data:[^"]*"', light) == re.findall(r'href="data:[^"]*"', dark) != []


def test_nothing_is_inverted_in_a_browser(whole, chromium, tmp_path) -> None:
    """The colour scale has the heatmaps' colours in both themes, its words have the page's."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    assert "invert" not in (TEMPLATES / "screen.css").read_text()
    shots = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=theme)
            page.goto(whole.files["html"].as_uri())
            assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
            shots[theme] = np.asarray(Image.open(_shot(page, tmp_path / f"{theme}.png")).convert("RGB")).astype(int)
        browser.close()
    light, dark = shots["light"], shots["dark"]
    assert light.shape == dark.shape
    bar = light.max(2) - light.min(2) > 120  # coloured, and so neither paper nor words
    assert bar.sum() > 500
    assert np.quantile(np.abs(light - dark)[bar], 0.9) <= 2  # at its edges it is blended with the paper
    paper = [int(themes.PAPER[i:i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(dark[light.min(2) == 255] - paper).max(1) <= 2).mean() > 0.95


def _shot(page, path):
    page.locator(".scale img").first.screenshot(path=path)
    return path
