"""What a person sees: static pages and figures, filters, files, and the command."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import html5lib
import numpy as np
import pytest
from PIL import Image

import explain
from explain.inspector import inspector
from explain.inspector.overlay import heat
from explain.metrics import METRICS
from explain.models import ExplainError
from speedcore.errors import RunError


@pytest.fixture(scope="module")
def compared(pair, shapes, tmp_path_factory):
    return explain.compare(*pair, shapes, root=tmp_path_factory.mktemp("compared"), images_per_class=2, per_class=4,
                           method=("grad-cam", "saliency"))


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
def test_page_is_self_contained_valid_html_that_fetches_nothing(compared, make, tmp_path):
    shown = make(compared)
    text = shown.save(tmp_path / "x.html").read_text(encoding="utf-8")
    html5lib.HTMLParser(strict=True).parse(text)
    assert shown._repr_html_() not in ("", text)
    tags = Tags(text)
    assert not tags.of("link") and not tags.of("iframe") and tags.of("script") == [{}]
    assert not re.search(r"https?:|@import|url\(|\bimport\(|XMLHttpRequest|\bfetch\(", text)
    policy = tags.of("meta")[0]["content"]
    script = text[text.index("<script>") + 8:text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none';") and f"script-src 'sha256-{digest}';" in policy
    stills = tags.of("img")
    assert [bool(s["alt"]) and s["src"].startswith("data:image/png;base64,") for s in stills] == [True] * bool(shown.rows != ())
    identifiers = [attrs["id"] for _, attrs in tags.found if "id" in attrs]
    assert len(identifiers) == len(set(identifiers)) == 1


def test_two_inspections_in_one_notebook_do_not_meet(compared):
    (first,), (second,) = ([a["id"] for _, a in Tags(compared._repr_html_()).found if "id" in a] for _ in range(2))
    assert first != second


def test_words_from_outside_cannot_end_the_script(compared):
    text = replace(compared, code="</script><b>")._repr_html_()
    assert text.count("</script>") == 1 and "\\u003c/script>" in text


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
    only_one = (one != truth) & (other == truth)
    assert compared.only(wrong=compared.names[0]).data["index"].tolist() == index[only_one].tolist()
    assert compared.only(wrong="all").data["index"].tolist() == index[(one != truth) & (other != truth)].tolist()
    sure = np.stack([run["confidence"] for run in content["runs"].values()])
    middling = ((sure >= 0.2) & (sure <= 0.4)).any(0)
    assert 0 < middling.sum() < len(index)
    assert compared.only(confidence=(0.2, 0.4)).data["index"].tolist() == index[middling].tolist()


def test_sorting_is_by_one_run_or_by_the_difference_and_what_has_no_value_comes_last(compared):
    values = compared.measures["gini"].values
    given = compared.data["index"]
    for run, key in ((0, values[0]), (1, values[1]), ("difference", values[0] - values[1])):
        for sign, down in ((1, False), (-1, True)):
            order = sorted(range(len(given)), key=lambda i: (np.isnan(key[i]), sign * key[i] if key[i] == key[i] else 0, i))
            assert compared.sorted("gini", run, down).data["index"].tolist() == given[order].tolist()
    assert compared.sorted("index", descending=True).data["index"].tolist() == sorted(given.tolist(), reverse=True)
    assert compared.only(cls=3).sorted("confidence").scale == compared.scale
    with pytest.raises(ExplainError, match="nothing is called 'size' here; sort by index, confidence, relevance_mass"):
        compared.sorted("size")
    with pytest.raises(ExplainError, match="run must be 0 or 1, or difference; found 2"):
        compared.sorted("gini", 2)


def test_measures_are_those_that_cost_no_pass(compared):
    free = {name for name, metric in METRICS.items() if metric.forward == metric.maps == 0}
    assert set(compared.measures) == free | {"agreement"}
    first, second = (run["map"] for run in compared.data["runs"].values())
    i = int(np.flatnonzero((first.max((1, 2)) > 0) & (second.max((1, 2)) > 0))[0])
    drawn = [heat(m[i:i + 1] - m[i].min(), (32, 32), e.record.layers["middle"].extent).ravel()
             for m, e in zip((first, second), compared.arms, strict=True)]
    assert compared.measures["agreement"].values[0, i] == pytest.approx(np.corrcoef(*drawn)[0, 1], abs=1e-4)


def test_mean_maps_are_means_of_positive_parts(compared):
    narrowed = compared.only(cls=2)
    mean, = narrowed.means().values()
    content = narrowed.data
    assert mean["n"] == len(content["index"])
    assert np.allclose(mean["image"], content["image"].mean(0))
    run, = (content["runs"][name] for name in narrowed.names[:1])
    expected = heat(run["map"], (32, 32), narrowed.arms[0].record.layers["middle"].extent).mean(0)
    assert np.allclose(mean["runs"][narrowed.names[0]], expected)
    assert len(compared.mean_figure().axes) >= 10 * 3
    with pytest.raises(ExplainError, match="nothing to draw"):
        narrowed.only(cls=3).mean_figure()


def test_other_methods_are_a_switch_away(compared):
    assert compared.methods == ("grad-cam", "saliency") and compared.layer == "middle"
    fine = compared.at(method="saliency")
    assert (fine.layer, fine.method) == ("image", "saliency")
    assert fine.data["runs"]["with augmentation"]["map"].shape[1:] == (32, 32)
    assert fine.at(method="grad-cam").layer == "middle"
    with pytest.raises(ExplainError, match="no maps by 'occlusion' here; there are grad-cam, saliency"):
        compared.at(method="occlusion")


def test_data_holds_the_images_and_signed_maps_of_both_arms(compared, shapes):
    content = compared.data
    assert list(content["runs"]) == ["with augmentation", "without augmentation"]
    assert np.array_equal(content["image"], shapes.test.images[content["index"]].numpy())
    for run, explanation in zip(content["runs"].values(), compared.arms, strict=True):
        assert np.array_equal(run["map"], explanation.maps("middle", "true"))
    last = compared.at(layer="last", target="predicted")
    assert last.data["runs"]["with augmentation"]["map"].shape[1:] == (3, 3)


def test_one_run_alone(pair, shapes, root):
    shown = explain.inspect(pair[0], shapes, root=root, images_per_class=2, per_class=3, mistakes=5, method="grad-cam")
    assert list(shown.data["runs"]) == ["with augmentation"]
    assert len(shown.data["index"]) == 35 and shown.only(wrong=True).data["index"].tolist()
    assert "agreement" not in shown.measures
    with pytest.raises(ExplainError, match="per_class must be at least 1"):
        explain.inspect(pair[0], shapes, root=root, per_class=0)


def test_runs_of_one_arm_are_told_apart_by_seed(make_run, shapes, root):
    shown = explain.compare(make_run("with", 0), make_run("with", 1), shapes, root=root, images_per_class=1, method="hirescam")
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


def test_nothing_that_is_shown_or_kept_says_where_its_maker_had_it(pair, shapes, tmp_path):
    place = tmp_path / "marker-of-the-builder"
    runs = [Path(shutil.copytree(run.path, place / "runs" / run.path.name)) for run in pair]
    folder = replace(shapes, name=f"folder:{place / 'pets'}")
    for chosen, said in (({"dataset": folder}, "'folder:pets'"), ({"data": place / "data"}, "data=data")):
        shown = explain.compare(*runs, **chosen, root=place / "kept", images_per_class=1, per_class=1, method="grad-cam")
        assert shown._repr_html_() and "marker-of" not in shown._repr_html_()
        for name in ("x.html", "x.svg"):
            assert "marker-of" not in shown.save(tmp_path / name).read_text(encoding="utf-8")
        assert said in shown.code
    for file in place.glob("kept/**/explanation.json"):
        assert "marker-of" not in file.read_text(encoding="utf-8")


def test_code_tells_two_runs_of_one_name_apart(pair, shapes, tmp_path):
    copy = shutil.copytree(pair[0].path, tmp_path / "other" / pair[0].path.name)
    shown = explain.compare(pair[0], copy, shapes, root=tmp_path, images_per_class=1, per_class=1, method="grad-cam")
    found = {"dataset": shapes, "first": pair[0].path, "second": copy}
    assert "# first, second: the folders of the two runs" in shown.code
    compile(shown.code, "code", "exec")
    assert "compare(first,\n" in shown.code and set(found) <= set(re.findall(r"\w+", shown.code))


def command(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "explain", *words], capture_output=True, text=True, timeout=120)


def test_command_writes_the_page(pair, tmp_path):
    out = tmp_path / "x.html"
    done = command(*(str(run.path) for run in pair), "--out", str(out), "--method", "saliency", "--method", "grad-cam",
                   "--target", "predicted", "--per-class", "1", "--mistakes", "3")
    assert (done.returncode, done.stderr) == (0, "")
    text = out.read_text(encoding="utf-8")
    assert '"start":{"method":"saliency","layer":"image","target":"predicted"}' in text
    assert "positive saliency" in text and "positive Grad-CAM" in text and "HiResCAM" not in text


def test_command_says_what_is_wrong_without_a_traceback(tmp_path):
    done = command(str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no run") and "Traceback" not in done.stderr
