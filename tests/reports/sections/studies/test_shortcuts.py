"""The chapter on planted shortcuts: before the heatmaps, true to the study, and open where maps show nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from reports.compose import compose
from reports.inputs import Inputs
from reports.model import Bullets, Code, FigureSpec, Prose, Table
from reports.renderers import stamp
from reports.results import load
from tests.reports import making


def chapter(whole):
    sections = {section.id: section for section in whole.model.sections}
    (group,) = sections["shortcuts"].blocks
    return sections, {type(block): block for block in group.blocks}


def test_it_comes_before_anything_is_read_off_heatmaps(whole) -> None:
    sections, _ = chapter(whole)
    order = list(sections)
    assert order.index("shortcuts") + 1 == order.index("heatmaps")
    without = compose(load(replace(whole.inputs, shortcuts=())))
    assert [s.id for s in without.sections] == [name for name in order if name != "shortcuts"]
    assert compose(load(Inputs({}, (), shortcuts=whole.inputs.shortcuts))).sections[1].id != "shortcuts"  # no runs, no maps


def test_it_says_where_mass_follows_reliance_and_where_it_does_not(whole) -> None:
    _, blocks = chapter(whole)
    corner, corner_last, hue, _ = (item.replace("\xa0", " ") for item in blocks[Bullets].items)
    assert "over 6 networks +1.00, 95 % interval +0." in corner and "show what the networks rely on" in corner
    # Reliance 0, .002, .2, .202, .9, .902; mass .30, .31, .10, .11, .20, .21, in ranks 5 6 1 2 3 4: the squared
    # differences are 16 + 16 + 4 + 4 + 4 + 4 = 48, so 1 − 6 · 48 / 210 = −.37.
    assert "-0.37".replace("-", "−") in hue and "cannot be told" in hue
    assert "no network has a map" in corner_last
    assert "says little of what the networks rely on" in blocks[Prose].text


def test_its_table_and_figure_hold_the_means(whole) -> None:
    _, blocks = chapter(whole)
    table, figure = blocks[Table], blocks[FigureSpec]
    rows = [{c.label: cell.text.replace("\xa0", " ") for c, cell in zip(table.columns, row, strict=True)} for row in table.rows]
    row = next(r for r in rows if r["Shortcut"] == "corner" and r["Share"] == "1")
    # Reliance .8 and .802; mass .70 and .71; two of thirty maps are empty.
    assert (row["n"], row["Right"], row["Swapped"], row["Reliance"]) == ("2", "95.0 %", "14.9 %", "+80.1")
    assert (row["Middle"], row["Last"], row["Untrained"], row["Object"]) == ("0.70", "–", "0.05", "0.40")
    assert row["Dead"] == "6.7 %"
    assert [len(points) for points in figure.data.values()] == [6, 6]
    assert "reliance 80.0 points, mass 0.70" in figure.alt and ">measured reliance (points)<" in figure.svg
    assert blocks[Code].text == ("python -m explain.studies shortcuts --recipe tiny --shortcut corner,hue --correlations 0,0.5,1 "
                                 "--arm without --seeds 2 --epochs 2 --train 600 --test 300 --images-per-class 3")


def test_results_json_has_it_and_its_fields_are_described(whole, checkout: Path) -> None:
    (study,) = json.loads(whole.files["json"].read_text())["shortcuts"]
    text = (checkout / "docs" / "results-json.md").read_text()
    fields = set(study) | set(study["models"][0]) | set(study["tracking"][0])
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []
    assert study["models"][5]["reliance"] == study["models"][5]["accuracy_right"] - study["models"][5]["accuracy_swapped"]
    assert {t["verdict"] for t in study["tracking"]} == {"tracks", "cannot tell"}


def test_another_study_is_another_report(whole) -> None:
    more = replace(whole.inputs, shortcuts=(making.shortcut_study(seeds=3),))
    assert stamp.of(more, ("html",)) != stamp.of(whole.inputs, ("html",))
