"""Names from outside: whatever they hold, each file is sound, and they are read there as what they are."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as xml
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import html5lib
import numpy as np
import pikepdf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import reports
from explain import explain_runs
from reports import gate, labels
from reports.compose import compose
from reports.figures import grids
from reports.figures.svg import compact
from reports.inputs import Inputs
from reports.renderers.html import prose
from reports.results import load
from speedcore.store.runs import RunStore
from tests.reports import making

NASTY = ("$5 and $6", ' id="y"', "<script>alert(1)</script>", "a & b", r"\frac{1}{2}", "back`tick and `", "**bold** and **",
         "חתול (3)", "🐱 cat", "e\u0301te\u0301", "bell\x07 and\x1b[0m escape", "byte \udcff", "lone \ud800",
         "turned \u202e round", "l" + 253 * "o" + "ng", "{{ name }}", "two\nlines", "]]> --> '", "_hidden")


def test_what_names_become() -> None:
    shown = dict(zip(NASTY, labels.labels(list(map(gate.Gate().text, NASTY))), strict=True))
    assert [shown[name] for name in NASTY[:5]] == ["$5 and $6", 'id="y"', "<script>alert(1)</script>", "a & b", r"\frac{1}{2}"]
    assert shown["חתול (3)"] == "\u2068חתול (3)\u2069"  # apart from the direction of what stands beside it
    assert shown["🐱 cat"] == "🐱 cat" and shown["two\nlines"] == "two lines"
    assert shown["bell\x07 and\x1b[0m escape"] == r"bell\x07 and\x1b[0m escape"
    assert shown["byte \udcff"] == r"byte \xff" and shown["lone \ud800"] == r"lone \ud800"
    assert shown["turned \u202e round"] == r"turned \u202e round"
    long = shown["l" + 253 * "o" + "ng"]
    assert len(long) == labels.LONGEST and long.startswith("loo") and long.endswith("ong") and "…" in long


def test_names_stay_different() -> None:
    assert labels.labels(["a", "a", "a (2)", ""]) == ("a", "a (2)", "a (2) (2)", "(blank)")
    assert len(set(labels.labels([f"{'x' * 40}{i}{'y' * 40}" for i in range(5)]))) == 5


@example("/\x1f")
@given(st.text(st.characters(exclude_categories=()), max_size=80))
def test_what_has_passed_fits_into_every_file(words: str) -> None:
    passed = gate.Gate().text(words)
    passed.encode()
    assert json.loads(json.dumps(passed, ensure_ascii=False)) == passed
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", passed)
    escaped = passed.replace("&", "&amp;").replace("<", "&lt;")
    assert xml.fromstring(f"<a>{escaped}</a>").text == (passed or None)
    assert gate.Gate().text(passed) == passed
    shown = labels.label(passed)
    assert shown.strip() and labels._columns(shown.strip("\u2068\u2069")) <= labels.LONGEST
    assert "<code>" not in prose(f"{shown} and {shown}") and "<strong>" not in prose(f"{shown} and {shown}")


@pytest.mark.parametrize(("words", "passed"), [
    ("in /home/jane/pictures/cats.", "in …/cats."), ("folder:/a/cats", "folder:…/cats"), ("'/home/Jane Doe/x y'", "'…/x y'"),
    ("--data=/srv/sets/mnist --out o", "--data=…/mnist --out o"), (r"C:\Users\jane\cats", "…/cats"),
    ("(/a/b, /c/d)", "(…/b, …/d)"),
    ("'folder:/home/Jane Doe/my cats,folder:/x/y' x", "'folder:…/my cats,folder:…/y' x"),
    ("--out " + shlex.quote("/home/Jane's own/x y") + " --b", "--out '…/x y' --b"),
    *[(words, words) for words in ("https://example.org/a/b", "T-shirt/top, 3 m/s, and/or, n / a, a /b")],
    ("train/<class>/…, data/x", "train/<class>/…, data/x"),
])
def test_paths_become_their_last_names(words: str, passed: str) -> None:
    assert gate.Gate().text(words) == passed


def test_folders_of_the_report_become_what_they_are(tmp_path: Path) -> None:
    known = tmp_path / "Jane Doe" / "sets"
    inputs = Inputs({}, (), missing=(reports.Missing("folder:/x/a b/cats", "", ""), reports.Missing("folder:/y/cats", "", "")),
                    notes=(f"{known}/a.zip, {Path.cwd()}/b.zip, {Path.home()}/c.zip", "folder:/y/cats and folder:/x/a b/cats"),
                    folders={"data": known})
    made = gate.inputs(inputs)
    assert made.notes == ("data/a.zip, ./b.zip, ~/c.zip", "folder:cats-2 and folder:cats")
    assert [m.dataset for m in made.missing] == ["folder:cats", "folder:cats-2"]


def test_what_needs_no_change_is_not_copied(inputs) -> None:
    passed = gate.inputs(replace(inputs, folders={}))
    assert all(a is b for a, b in zip(inputs.runs[:12], passed.runs, strict=False))
    assert passed.studies == inputs.studies and passed.ladders == inputs.ladders


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory):
    """A report on a data set all of whose words are nasty."""
    store, files = RunStore(tmp_path_factory.mktemp("runs")), tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        # A record cannot hold lone surrogates; notes and reasons can.
        patch.setattr(making, "CLASSES", tuple(name for name in NASTY[:17] if not re.search("[\ud800-\udfff]", name)))
        data = replace(making.dataset("folder:/some where/$5 <b>&`**", channels=3, official=False))
        data = replace(data, provenance=replace(data.provenance, note="<i>note</i> `code **\x1b"))
        runs = making.pairs(store, data, (15, 16), (18, 15))
        arms = [[r for r in runs if r.record.arm == arm] for arm in ("with", "without")]
        explanations = tuple(e for arm in explain_runs(*arms, data, store.root, images_per_class=1) for e in arm)
    inputs = Inputs({data.name: data}, tuple(runs), explanations, notes=("<u>\ud800",), command="x '\x07'",
                    missing=(reports.Missing("shapes", "<b>no</b> $5 \x00\udcff", "`a < b`"),))
    return inputs, compose(load(inputs)), reports.render(inputs, files)


def test_a_report_of_nasty_names_is_sound(nasty) -> None:
    _, model, files = nasty
    page = files["html"].read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(page)
    assert "<script>alert" not in page and "<b>" not in page and "<i>note" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "&lt;i&gt;note&lt;/i&gt;" in page
    assert json.loads(files["json"].read_text(encoding="utf-8"))["missing"][0]["reason"] == r"<b>no</b> $5 \x00\xff"
    with pikepdf.open(files["pdf"]) as document:
        assert len(document.pages) > 5


def test_figures_show_nasty_names_as_text(nasty) -> None:
    _, _, files = nasty
    drawn = [xml.fromstring(unquote(found)) for found in
             re.findall(r'src="data:image/svg\+xml,([^"]*)"', files["html"].read_text(encoding="utf-8").replace("&#39;", "'")
                        .replace("&amp;", "&"))]
    texts = {e.text for svg in drawn for e in svg.iter("{http://www.w3.org/2000/svg}text")}
    for name in ("$5 and $6", 'id="y"', "<script>alert(1)</script>", "a & b", r"\frac{1}{2}", "\u2068חתול (3)\u2069", "🐱 cat",
                 r"bell\x07 and\x1b[0m escape", "{{ name }}", "∗∗bold∗∗ and ∗∗"):
        assert name in texts, name


def test_a_drawing_of_raw_names_is_sound_too() -> None:
    names = ["$a$ b", ' id="y" style="x"', "<g id='q'/>", "a\x00b"]
    svg = xml.fromstring(grids.confusion("t", names, {"with": np.eye(4)}))
    texts = [e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {*names[:3], "a\ufffdb"} <= set(texts)


def test_drawings_do_not_depend_on_what_else_the_process_registered() -> None:
    before = grids.confusion("t", ["a", "b"], {"with": np.eye(2)})
    xml.register_namespace("", "http://www.w3.org/1999/xhtml")  # as other libraries do
    assert before.startswith("<svg ") and grids.confusion("t", ["a", "b"], {"with": np.eye(2)}) == before


def test_compacting_touches_no_text() -> None:
    words = ' id="y" 1.23456 rotate(-0 1 2) style="a: b" d="M 1.23456" #aabbcc  '
    escaped = words.replace('"', "&quot;")
    head = '<svg xmlns="http://www.w3.org/2000/svg"><style>*{x: y}</style><metadata><a/></metadata>'
    svg = xml.fromstring(compact(f'<?xml version="1.0"?>{head}<g id="g"><g/><path id="p" d="M 1.23456 &#10;L 2 3"/></g>'
                                 f'<text style="fill: #aabbcc">{escaped}</text></svg>'))
    assert [e.tag.split("}")[1] for e in svg.iter()] == ["svg", "style", "path", "text"]
    assert svg.find("{*}text").text == words
    assert svg.find("{*}path").attrib == {"d": "M 1.23 L 2 3"}


def test_sets_with_like_names_have_ids_of_their_own(tmp_path: Path) -> None:
    store, names = RunStore(tmp_path), ("folder:a b", "folder:a-b", "folder:猫", "folder:犬")
    runs = [making.save(store, making.renamed(making.dataset(), name), "with", 0, 20) for name in names]
    found = load(Inputs({}, tuple(runs))).sets
    assert len({one.slug for one in found}) == len({one.title for one in found}) == 4
