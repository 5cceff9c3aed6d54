"""The chapters of studies show what their results say, and where they cannot tell, they say so."""

from __future__ import annotations

import json
import math
import re
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

import reports
from reports.compose import compose
from reports.figures.curves import Curve, Plot, plots
from reports.figures.shares import Share, shares
from reports.model import Bullets, Code, FigureSpec, Section, Table
from reports.renderers import formats
from reports.results import Inputs, load
from speedcore.ladders.result import LadderResult
from speedcore.ladders.run import run_ladder
from speedcore.ladders.scale import Scale
from speedcore.recipe import PageNetConfig, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.studies import batch_norm_scales, compute_bound, convergence, forgetting, lr_by_dataset_size, lr_finder
from speedcore.studies.records import StudyRecord
from speedcore.studies.stored import load_all
from tests.speedcore import toys


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[dict[str, StudyRecord], LadderResult]:
    """Each study once, on toys: (results by name, the climb of convergence)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute_bound, "peak", lambda *_: compute_bound.Peak(throughput=1e11, side=64))
        patch.setattr("speedcore.planning.costs._PROBE_SECONDS", 0.01)
        store, small = RunStore(tmp_path_factory.mktemp("studies")), Scale(epochs=0.1)
        data, recipe = toys.dataset(), toys.recipe()
        lr_by_dataset_size.study(data, recipe, store, "cpu", small, 2, factors=(0.5, 1.0, 1e6), shares=(0.5, 1.0))
        forgetting.study(data, recipe, store, "cpu", small, 2)
        norms = toys.recipe(network=PageNetConfig(widths=(4, 4, 4, 4)), optimizer=SGDConfig(lr=0.5, weight_decay=0.05))
        batch_norm_scales.study(data, norms, store, "cpu", Scale(), 1)
        compute_bound.study(data, [recipe], store, "cpu", Scale())
        lr_finder.save(lr_finder.range_test(data, recipe, steps=12), data, recipe, store)
        colour = toys.dataset(train=1100, channels=3, name="colour")
        climbed = run_ladder(convergence.ladder(), colour, store, "cpu", Scale(1, 0.05, 0.02), convergence.rungs_of("24,40"),
                             seeds=2)
    return {record.study: record for record in load_all(store)}, climbed


def chapter(found: StudyRecord | LadderResult) -> Section:
    climbed = isinstance(found, LadderResult)
    model = compose(load(Inputs({}, (), ladders=(found,) * climbed, studies=() if climbed else (found,))))
    (section,) = [section for section in model.sections if section.id.startswith("study-")]
    summary = next(section for section in model.sections if section.id == "summary")
    assert any(isinstance(block, Bullets) for block in summary.blocks)
    return section


def parts(section: Section, kind: type) -> list:
    return [block for block in section.blocks if isinstance(block, kind)]


def plain(text: str) -> str:
    return text.replace("\xa0", " ").replace("−", "-").replace("**", "")


def cells(table: Table) -> list[list[str]]:
    return [[plain(cell.text) for cell in row] for row in table.rows]


def bullets(section: Section) -> str:
    return plain(" ".join(item for block in parts(section, Bullets) for item in block.items))


def command(section: Section) -> str:
    (code,) = parts(section, Code)
    return code.text


def test_sizes(made) -> None:
    record = made[0]["lr-by-dataset-size"]
    section = chapter(record)
    (table,), (figure,) = parts(section, Table), parts(section, FigureSpec)
    assert section.title.endswith("at a reduced scale") and [row[0] for row in cells(table)] == ["80", "160"]
    for row, images in zip(cells(table), record.sizes, strict=True):
        for text, factor in zip(row[1:], record.factors, strict=True):
            assert text == lr_by_dataset_size.loss_text(record.at(images, factor))
    assert plain(record.findings[0].sentence) in bullets(section)
    assert len(figure.data) == 4 and "80 images" in figure.alt and ">160 images<" in figure.svg
    assert command(section) == ("python -m speedcore study lr-by-dataset-size --dataset toy --recipe toy --factors 0.5,1,1e+06 "
                                "--seeds 2 --scale data=1,epochs=0.1,width=1")


def test_forgetting(made) -> None:
    record = made[0]["forgetting"]
    section = chapter(record)
    (table,), (figure,) = parts(section, Table), parts(section, FigureSpec)
    assert [row[0] for row in cells(table)] == ["half, not augmented", "all, augmented", "all, augmented, lower rate"]
    assert [row[1] for row in cells(table)] == ["0.2", "0.2", "0.05"] and [row[6] for row in cells(table)][0] == "–"
    whole = record.of("all")
    assert cells(table)[1][3].startswith(f"{(whole[0].end + whole[1].end) / 2:.3f}")
    for finding in record.findings:
        assert plain(finding.sentence) in bullets(section)
    assert {"again, all", "then, all", "training loss, half"} <= set(figure.data) and "again, half" not in figure.data
    assert figure.data["again, all"][-1][1] == pytest.approx((whole[0].again[-1] + whole[1].again[-1]) / 2)


def test_scales(made) -> None:
    record = made[0]["batch-norm-scales"]
    section = chapter(record)
    (table,), figures = parts(section, Table), parts(section, FigureSpec)
    assert [row[0] for row in cells(table)] == list(record.layers) and len(record.layers) == 8
    for row, layer in zip(cells(table), record.layers, strict=True):
        assert row[2] == f"{record.watched[0].scales[layer].mean[-1]:.3f}"
    assert [figure.id.rpartition("-")[2] for figure in figures] == ["scales", "biases"]
    assert "weight decay alone" in figures[0].svg and "weight decay alone" not in figures[1].svg
    assert figures[0].svg.count(">layer3.res2<") == 1
    assert "In the middle of training" in bullets(section) and "Cannot tell: scales move largely" in bullets(section)


def test_bound(made) -> None:
    record = made[0]["compute-bound"]
    section = chapter(record)
    (table,), (figure,) = parts(section, Table), parts(section, FigureSpec)
    assert len(record.bounds) == len(cells(table)) == len(figure.data) - 1 == 2  # timed, and all the runs of other studies
    # Two seeds of six runs and of three, of which the lower rate of forgetting is one of the six; two of the six diverged.
    assert len(record.bounds[1].runs) == int(cells(table)[1][-1]) == 2 * (6 + 3 - 1 - 2)
    wild = [point for point in made[0]["lr-by-dataset-size"].points if point.factor == 1e6]
    assert len(wild) == 4 and {(point.run, point.test_loss, point.failed(4)) for point in wild} == {("", math.inf, True)}
    timed = record.bounds[0]
    assert cells(table)[0][6] == plain(formats.seconds(timed.operations / 1e11)) and cells(table)[0][-1] == "timed"
    assert f"{100 * timed.share(record.peaks):.3g} %" in figure.alt
    assert "The source’s own bound is 39.2 s" in bullets(section)
    assert command(section) == "python -m speedcore study compute-bound --dataset toy --recipe toy"


def test_range_test(made) -> None:
    section = chapter(made[0]["lr-finder"])
    (figure,) = parts(section, FigureSpec)
    assert len(figure.data["rates"]) == len(figure.data["losses"]) <= 12
    assert "peak is 0.05" in plain(str(section)) and "--recipe toy --steps" in command(section)


def test_convergence(made) -> None:
    climbed = made[1]
    section = chapter(climbed)
    (table,), (figure,) = parts(section, Table), parts(section, FigureSpec)
    assert [row[0] for row in cells(table)] == ["1.2", "2"]
    for row, length in zip(cells(table), convergence.lengths(climbed), strict=True):
        lead = sum(length.leads) / 2
        assert float(row[7]) == pytest.approx(100 * lead, abs=0.006) and row[-1] == "2"
        assert row[1].startswith(f"{50 * sum(run.record.accuracy for run in length.baseline):.2f}")
    assert list(figure.data) == [f"{network}, {views}" for network in ("baseline", "final")
                                 for views in ("with the mirror image", "plain")]
    assert convergence.headline(convergence.findings(climbed)) in plain(str(section))
    assert "study convergence --dataset colour --epochs 24,40 --seeds 2" in command(section)


def test_a_report_of_studies_alone(made, tmp_path: Path, checkout: Path) -> None:
    results, climbed = made
    inputs = Inputs({}, (), ladders=(climbed,), studies=tuple(results.values()), command="python -m reports.build --chapters all")
    files = reports.render(inputs, tmp_path, ("html",))
    page, content = files["html"].read_text(), json.loads(files["json"].read_text())
    assert all(f'id="study-{name}"' in page for name in (*results, "convergence"))
    assert "Ladders and studies: convergence" in page
    assert {study["study"] for study in content["studies"]} == set(results)
    for study in content["studies"]:
        assert len(study["findings"]) == len(results[study["study"]].findings)
    text = (checkout / "docs" / "results-json.md").read_text()
    fields = {field for study in content["studies"] for field in (*study, *(name for one in study["findings"] for name in one))}
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []
    stamp = (tmp_path / ".rendered.json").read_text()
    reports.render(Inputs({}, (), ladders=(climbed,), command=inputs.command), tmp_path, ("html",))
    assert (tmp_path / ".rendered.json").read_text() != stamp


def test_a_build_of_chapters_alone_trains_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    from reports.build import app
    from speedcore.cli.console import run_app

    store, data, recipe = RunStore(tmp_path / "runs"), toys.dataset(), toys.recipe()
    lr_finder.save(lr_finder.range_test(data, recipe, steps=10), data, recipe, store)
    monkeypatch.setattr(sys, "argv", ["build", "--chapters", "lr-finder", "--runs", str(store.root), "--out",
                                      str(tmp_path / "out"), "--formats", "html"])
    assert run_app(app) == 0, capsys.readouterr().err
    assert 'id="study-lr-finder"' in (tmp_path / "out" / "report.html").read_text()
    assert list(store) == []


DRAWN = {
    "curves": lambda: plots("t", [Plot("A", "x", "y", (
        Curve("a", (0.125, 1.0, 16.0), (1.0, 0.5, float("inf")), 0, (0.9, 0.4, 0.5), (1.1, 0.6, 0.7)),
        Curve("b", (0.125, 1.0), (1.0, 2.0), 1, (0.9, 1.9), (1.1, 2.1), band=True, marks=False),
        Curve("c", (0.125, 1.0), (1.0, 0.2), 2, dashed=True)), log=2, top=1.5, ticks=(0.125, 1.0, 16.0),
        lines=((1.0, "mark"),))]),
    "shares": lambda: shares("t", [Share("a", 40.0), Share("b", 12.0, quiet=True)], "share"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_are_sound_and_repeatable(name: str) -> None:
    drawn = DRAWN[name]()
    assert DRAWN[name]() == drawn
    texts = [element.text for element in xml.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    expected = {"curves": {"A", "x", "y", "a", "b", "c", "1/8", "mark"}, "shares": {"a", "b", "share", "40 %", "12 %"}}[name]
    assert expected <= set(texts)
    numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", drawn)]
    assert all(abs(n) < 1e5 for n in numbers)  # what is no number or beyond the frame is drawn at its edge
