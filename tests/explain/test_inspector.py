"""What a person sees: static pages and figures, filters, files, and the command."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import html5lib
import numpy as np
import pytest
from PIL import Image

import explain
from explain import inspector
from explain.models import ExplainError
from speedcore.errors import RunError


@pytest.fixture(scope="module")
def compared(pair, shapes, tmp_path_factory):
    return explain.compare(*pair, shapes, root=tmp_path_factory.mktemp("compared"), images_per_class=2)


class Tags(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.found if name == tag]


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c.only(cls=0), lambda c: c.only(wrong=True).only(wrong=False)])
def test_page_is_static_self_contained_valid_html_with_words_for_every_picture(compared, make, tmp_path):
    shown = make(compared)
    text = shown.save(tmp_path / "x.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    assert shown._repr_html_() not in ("", text)
    tags = Tags(text)
    assert not tags.of("script") and not tags.of("link") and not tags.of("iframe")
    assert not re.search(r"https?:|//|@import|url\(", re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text))
    pictures = tags.of("img")
    assert all(p["src"].startswith("data:image/png;base64,") and p["alt"] for p in pictures)
    assert len(pictures) == 1 + 3 * len(shown.data["index"])
    identifiers = [attrs["id"] for _, attrs in tags.found if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))


def test_two_inspections_in_one_notebook_do_not_share_their_filters(compared):
    first, second = (Tags(compared._repr_html_()).of("input") for _ in range(2))
    assert {i["name"] for i in first}.isdisjoint({i["name"] for i in second})
    assert sum("checked" in i for i in first) == 1


def test_filters_narrow_and_leave_the_scale_alone(compared, shapes):
    content = compared.data
    truth, (one, other) = content["label"], (run["predicted"] for run in content["runs"].values())
    index = content["index"]
    assert compared.only(cls=3).data["index"].tolist() == index[truth == 3].tolist()
    assert compared.only(cls=shapes.classes[3]).data["index"].tolist() == index[truth == 3].tolist()
    wrong = (one != truth) | (other != truth)
    assert compared.only(wrong=True).data["index"].tolist() == index[wrong].tolist()
    assert compared.only(wrong=False).data["index"].tolist() == index[~wrong].tolist()
    assert compared.only(disagree=True).data["index"].tolist() == index[one != other].tolist()
    assert compared.only(cls=3).only(wrong=True).data["index"].tolist() == index[wrong & (truth == 3)].tolist()
    assert compared.only(cls=3).scale == compared.scale
    assert sum(len(rows) for _, rows in compared.sections()) == len(index)


def test_data_holds_the_images_and_signed_maps_of_both_arms(compared, shapes):
    content = compared.data
    assert list(content["runs"]) == ["with augmentation", "without augmentation"]
    assert np.array_equal(content["image"], shapes.test.images[content["index"]].numpy())
    for run, explanation in zip(content["runs"].values(), compared.explanations, strict=True):
        assert np.array_equal(run["map"], explanation.maps("middle", "true"))
    last = compared.at(layer="last", target="predicted")
    assert last.data["runs"]["with augmentation"]["map"].shape[1:] == (3, 3)


def test_one_run_alone(pair, shapes, root):
    shown = explain.inspect(pair[0], shapes, root=root, images_per_class=2)
    assert list(shown.data["runs"]) == ["with augmentation"]
    assert len(Tags(shown._repr_html_()).of("img")) == 1 + 2 * len(shown.data["index"])


def test_runs_of_one_arm_are_told_apart_by_seed(make_run, shapes, root):
    shown = explain.compare(make_run("with", 0), make_run("with", 1), shapes, root=root, images_per_class=1)
    assert shown.names == ("with augmentation, seed 0", "with augmentation, seed 1")


def test_figure_and_files(compared, tmp_path):
    figure = compared.figure(limit=12)
    drawn = [axis for axis in figure.axes if axis.images and len(axis.images[0].get_array().shape) == 3]
    assert len(drawn) == 12 * 3
    with Image.open(compared.only(cls=1).save(tmp_path / "x.png")) as picture:
        assert picture.format == "PNG"
    assert "<svg" in compared.only(cls=1).save(tmp_path / "x.svg").read_text()
    with pytest.raises(ExplainError, match=r"ends in .html, .png or .svg"):
        compared.save(tmp_path / "x.jpg")
    with pytest.raises(ExplainError, match="cannot write"):
        compared.save(tmp_path / "nowhere" / "x.html")
    with pytest.raises(ExplainError, match="nothing to draw"):
        compared.only(wrong=True).only(wrong=False).figure()


def test_bad_input_gives_one_clear_message(compared, pair, shapes, tmp_path):
    with pytest.raises(ExplainError, match="no class 'cat'; classes: "):
        compared.only(cls="cat")
    with pytest.raises(ExplainError, match="no class 10"):
        compared.only(cls=10)
    with pytest.raises(ExplainError, match="layer 'middel'"):
        compared.at(layer="middel")
    with pytest.raises(ExplainError, match="no method 'gradcam'; choose grad-cam"):
        explain.inspect(pair[0], shapes, method="gradcam", root=tmp_path)
    with pytest.raises(ExplainError, match="no maps for layer 'last' and target 'true'; layers: image"):
        explain.inspect(pair[0], shapes, method="saliency", layer="last", images_per_class=1, root=tmp_path)
    with pytest.raises(RunError, match="there is no run 'nothing'"):
        inspector.opened("nothing")
    with pytest.raises(RunError, match="not a run folder"):
        inspector.opened(tmp_path)


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "explain", *words], capture_output=True, text=True, timeout=120)


def test_command_writes_the_page(pair, tmp_path):
    out = tmp_path / "x.html"
    done = command(*(str(run.path) for run in pair), "--out", str(out), "--layer", "last")
    assert (done.returncode, done.stderr) == (0, "")
    assert "last layer" in out.read_text(encoding="utf-8")


def test_command_takes_other_methods_and_the_page_names_them(pair, tmp_path):
    out = tmp_path / "x.html"
    done = command(*(str(run.path) for run in pair), "--out", str(out), "--method", "saliency")
    assert (done.returncode, done.stderr) == (0, "")
    text = out.read_text(encoding="utf-8")
    assert "saliency for the true class · every pixel of 32×32" in text and "positive saliency" in text
    assert "Grad-CAM" not in text


def test_command_says_what_is_wrong_without_a_traceback(tmp_path):
    done = command(str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no run") and "Traceback" not in done.stderr
