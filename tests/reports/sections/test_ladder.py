"""The chapter of a climbed ladder: what it shows is what the runs say, and a rung that is not reproduced is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

import reports
from reports.compose import compose
from reports.figures.climbs import Point
from reports.figures.climbs import climb as climb_figure
from reports.inputs import Inputs
from reports.model import Bullets, FigureSpec, Prose, Table
from reports.results import load
from reports.stages import chapters
from speedcore.errors import UserError
from speedcore.ladders import Ladder, Reported, Rung
from speedcore.ladders.result import LadderResult
from speedcore.ladders.run import run_ladder
from speedcore.ladders.scale import Scale
from speedcore.recipe import Peek
from speedcore.store.runs import RunStore
from speedcore.studies import STUDIES
from tests.speedcore import toys


@pytest.fixture(scope="module")
def climbed(tmp_path_factory) -> tuple[LadderResult, RunStore]:
    ladder = Ladder(
        name="toy-steps", description="toys, step by step", dataset="toy", base=toys.recipe(),
        start=Rung(name="start", reported=Reported(accuracy=0.001, sd=0.001, n=3, seconds=10)),
        rungs=(Rung(name="stops", what="stop early", change={"peek": Peek(stop_at=0.01).model_dump()},
                    reported=Reported(at_least=0.01, seconds=4)),
               Rung(name="short", what="one epoch", change={"epochs": 1}, without=("peek",))))
    store = RunStore(tmp_path_factory.mktemp("ladder"))
    return run_ladder(ladder, toys.dataset(official=True), store, "cpu", seeds=2), store


def chapter(climbs: LadderResult):
    model = compose(load(Inputs({}, (), ladders=(climbs,))))
    (section,) = [section for section in model.sections if section.id.startswith("ladder-")]
    return model, section


def cells(table: Table) -> list[dict[str, str]]:
    return [{column.label: cell.text.replace("\xa0", " ").replace("−", "-")
             for column, cell in zip(table.columns, row, strict=True)} for row in table.rows]


def test_the_chapter_says_what_the_runs_say(climbed) -> None:
    _, section = chapter(climbed[0])
    main, changes = (block for block in section.blocks if isinstance(block, Table))
    start, stops, short = cells(main)
    runs = climbed[0].runs
    mean = sum(run.record.accuracy for run in runs["start"]) / 2
    assert start["Measured accuracy"].startswith(f"{100 * mean:.2f} ±") and start["n"] == "2"
    assert (start["Reported accuracy"], start["Reported time"]) == ("0.10 ± 0.10 % (n = 3)", "10.0 s")
    assert (start["Reproduced"], stops["Reproduced"], short["Reproduced"]) == ("no", "yes", "–")
    assert stops["Rung"] == "2  stops †" and stops["Reported accuracy"] == "≥ 1.00 %" and stops["Epochs (reported)"] == "1"
    first, second = cells(changes)
    assert (first["Rung"], first["Against"], first["Time ratio, reported"]) == ("stops", "start", "0.40")
    assert (second["Rung"], second["Against"], second["Time ratio, reported"]) == ("short", "stops", "–")
    assert {row["Accuracy"] for row in cells(changes)} <= {"helps", "hurts", "cannot tell"}
    bullets, *remarked = (block for block in section.blocks if isinstance(block, Bullets))
    # Runs of a few steps on toys: those that are no better than a constant prediction are called that.
    assert tuple(one for block in remarked for one in block.items) == climbed[0].remarks
    assert [item.replace("\xa0", " ") for item in bullets.items] == [finding.sentence for finding in climbed[0].findings]


def test_the_appendix_names_what_the_rungs_use(climbed) -> None:
    model, _ = chapter(climbed[0])
    (table,) = (block for block in model.sections[-1].blocks if isinstance(block, Table) and block.id == "methods")
    users = {row["Method"]: row["Used by"] for row in cells(table)}
    assert users["Stopping by the test set"] == users["Cutout"] == "ladder toy-steps" and "Muon" not in users


def test_a_rung_that_is_not_reproduced_is_named(climbed) -> None:
    _, section = chapter(climbed[0])
    (said,) = [block.text for block in section.blocks if isinstance(block, Prose) and "Not reproduced" in block.text]
    assert "rung start." in said
    assert "NOT reproduced" in climbed[0].findings[0].sentence


def test_the_figure_has_both_lines_and_a_scaled_one_keeps_them_apart(climbed) -> None:
    _, section = chapter(climbed[0])
    (figure,) = (block for block in section.blocks if isinstance(block, FigureSpec))
    assert [len(points) for points in figure.data.values()] == [1, 3]  # the source gives one accuracy with a time
    assert "rung short" in figure.alt and ">reported<" in figure.svg and ">measured<" in figure.svg
    scaled = replace(climbed[0], scale=Scale(0.5))
    _, section = chapter(scaled)
    assert "reduced scale" in section.title
    shown = [block for block in section.blocks if isinstance(block, FigureSpec | Table)]
    assert all("50 % of the training images" in block.caption for block in shown)
    main = next(block for block in shown if isinstance(block, Table))
    assert not any("Reproduced" in row for row in cells(main)) and "Only at full scale" in main.note


def test_a_report_of_ladders_alone(climbed, tmp_path: Path, checkout: Path) -> None:
    found, store = climbed
    inputs = Inputs({}, (), ladders=(found,), command="python -m reports.build --chapters all")
    files = reports.render(inputs, tmp_path, ("html",))
    page, content = files["html"].read_text(), json.loads(files["json"].read_text())
    assert 'id="ladder-toy-steps"' in page and "What does each change do?" in page
    (one,) = content["ladders"]
    assert [rung["name"] for rung in one["rungs"]] == ["start", "stops", "short"]
    assert one["rungs"][0]["accuracies"] == [run.record.accuracy for run in found.runs["start"]]
    assert one["rungs"][1]["peeked"] and one["rungs"][0]["reproduced"] is False
    assert one["rungs"][1]["time_change"]["pairs"] == 2
    text = (checkout / "docs" / "results-json.md").read_text()
    fields = set(one) | set(one["rungs"][1]) | set(one["rungs"][1]["reported"]) | set(one["rungs"][1]["time_change"])
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []
    stamp = (tmp_path / ".rendered.json").read_text()
    reports.render(replace(inputs, ladders=(replace(found, left_out=("something.",)),)), tmp_path, ("html",))
    assert (tmp_path / ".rendered.json").read_text() != stamp


def test_chapters_are_the_climbs_beside_the_runs(climbed, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ladder and no study has been run"):
        chapters("all", RunStore(tmp_path))
    found, store = climbed
    assert chapters(None, store) == ((), ())
    assert chapters("all", store) == chapters("toy-steps", store) == ((found,), ())
    with pytest.raises(UserError, match="'mnist-fast' has not been run.*there are: toy-steps.*speedcore ladder mnist-fast"):
        chapters("toy-steps,mnist-fast", store)


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_that_was_never_run_is_said_to_be_a_study(climbed, study: str) -> None:
    with pytest.raises(UserError, match=f"the study '{study}' has not been run yet.*python -m speedcore study {study}$"):
        chapters(study, climbed[1])


def test_signs_stand_clear_of_each_other_however_close_the_points_are() -> None:
    """Fourteen rungs within two parts in a thousand of each other's time: each sign 7 points high, 4.6 wide a character."""
    points = [Point(f"rung-{i}", 50 + i * 0.008, 94.1, sign=chr(ord("A") + i)) for i in range(14)]
    svg = climb_figure("close", {"measured": [*points, Point("far", 80, 90, sign="Z")]}, False, "s")
    texts = re.findall(r'<text[^>]* x="([\d.]+)" y="([\d.]+)"[^>]*>([A-NZ])</text>', svg)
    places = {sign: (float(x), float(y)) for x, y, sign in texts}
    assert sorted(places) == sorted("ABCDEFGHIJKLMNZ")
    for (x, y), (u, v) in combinations(places.values(), 2):
        assert abs(x - u) >= 4.5 or abs(y - v) >= 6.9
