"""The HTML page: sound, self-contained, accessible, and alive in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import html5lib
import pytest

NAMESPACE = "{http://www.w3.org/1999/xhtml}"
LIMIT = 3_000_000


@pytest.fixture(scope="module")
def tree(whole):
    parser = html5lib.HTMLParser(strict=True)
    return parser.parse(whole.html)


def elements(tree, name: str) -> list:
    return list(tree.iter(NAMESPACE + name))


def test_is_valid_html_in_a_language(tree) -> None:
    assert tree.get("lang") == "en"  # strict parsing has raised on the first error


def test_is_small(whole) -> None:
    assert len(whole.html.encode()) < LIMIT


def test_policy_comes_first_and_allows_the_one_script(tree, whole) -> None:
    first = elements(tree, "head")[0][0]
    assert first.get("http-equiv") == "Content-Security-Policy"
    policy = dict(part.split(" ", 1) for part in first.get("content").split("; "))
    assert policy["default-src"] == "'none'" and policy["img-src"] == "data:"
    scripts = [s for s in elements(tree, "script") if s.get("type") is None]
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(s.text.encode()).digest()).decode()}'" for s in scripts]
    assert policy["script-src"].split() == digests
    assert policy["base-uri"] == policy["form-action"] == "'none'"


def test_asks_for_nothing(tree) -> None:
    for element in tree.iter():
        for attribute in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            value = element.get(attribute)
            assert value is None or value.startswith(("data:image/", "#")), (element.tag, value[:60])
    for style in elements(tree, "style"):
        assert "@import" not in style.text and "url(" not in style.text


def test_every_image_says_what_it_shows(tree) -> None:
    images = elements(tree, "img")
    assert len(images) > 100
    assert all((image.get("alt") or "").strip() for image in images)


def test_headings_step_down_one_at_a_time(tree) -> None:
    levels = [int(e.tag[-1]) for e in tree.iter() if re.fullmatch(re.escape(NAMESPACE) + "h[1-6]", str(e.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_landmarks_ids_and_links(tree) -> None:
    assert all(len(elements(tree, name)) == 1 for name in ("main", "nav", "header"))
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(a.get("href")[1:] in ids for a in elements(tree, "a"))


def test_cells_of_every_table_have_headers(tree) -> None:
    for table in elements(tree, "table"):
        assert table.find(NAMESPACE + "caption") is not None
        heads = [th.get("scope") for th in table.iter(NAMESPACE + "th")]
        assert set(heads) == {"col", "row"}
        assert all((th.text or "").strip() for th in table.iter(NAMESPACE + "th"))


def test_words_from_outside_cannot_become_markup(whole) -> None:
    assert "two &amp; &lt;three&gt;" in whole.html
    assert "<three>" not in whole.html


def test_results_are_embedded_whole(tree, whole) -> None:
    script, = (s for s in elements(tree, "script") if s.get("id") == "results-json")
    assert "<" not in script.text
    assert json.loads(script.text) == json.loads(whole.files["json"].read_text())


def test_missing_sets_are_named_with_what_to_do(whole) -> None:
    assert "CIFAR-10 is missing." in whole.html and "no file was found" in whole.html
    assert "<code>--data DIR</code>" in whole.html


def test_unofficial_files_are_marked(whole) -> None:
    assert whole.html.count("not the official files") >= 2  # results table, data section
    assert "Folder “cats” is not from the official files" in whole.html


def test_in_a_browser(whole, chromium) -> None:
    """No complaint of the browser's, none of the policy's; tables sort; nothing is wider than a phone."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:"))
                else None)
        page.goto(whole.files["html"].as_uri())
        broken = page.evaluate("[...document.images].filter(i => !i.complete || !i.naturalWidth).length")
        width = page.evaluate("document.documentElement.scrollWidth")
        page.click("#every-run thead th:nth-child(4) button")
        cells = page.evaluate("[...document.querySelectorAll('#every-run tbody tr')].map(r => "
                              "parseFloat(r.cells[3].textContent))")
        order = page.get_attribute("#every-run thead th:nth-child(4)", "aria-sort")
        browser.close()
    assert said == []
    assert broken == 0
    assert width == 390
    assert cells == sorted(cells) and order == "ascending"
