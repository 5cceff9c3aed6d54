"""The chapter of an architecture search shows each network's two trainings, as its runs have them."""

from __future__ import annotations

import re

import pytest

from reports.compose import compose
from reports.inputs import Inputs
from reports.model import Code, FigureSpec, Table
from reports.results import load
from speedcore import stats
from speedcore.ladders.result import LadderResult
from speedcore.ladders.run import run_ladder
from speedcore.ladders.scale import Scale
from speedcore.store.runs import RunStore
from speedcore.studies.architecture_search import ladder, rungs_of
from tests.speedcore import toys


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> LadderResult:
    store = RunStore(tmp_path_factory.mktemp("search"))
    return run_ladder(ladder(), toys.dataset(train=700, test=40, channels=3), store, "cpu", Scale(1, 0.1, 0.02),
                 rungs_of("backbone,residual:L1+L3"), seeds=2)


def test_the_chapter_says_what_the_runs_say(searched) -> None:
    model = compose(load(Inputs({}, (), ladders=(searched,))))
    (section,) = [section for section in model.sections if section.id == "study-architecture-search"]
    assert section.title == "Architecture search, at a reduced scale"
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    rows = {row[0].text: [cell.text.replace("\xa0", " ").replace("−", "-") for cell in row[1:]] for row in table.rows}
    assert set(rows) == {"backbone", "residual:L1+L3"}
    assert [column.label for column in table.columns][1:4:2] == ["2 epochs", "2.2 epochs"]
    for network, cells in rows.items():
        short, long = (stats.mean([run.record.accuracy for run in searched.runs[f"{network} {epochs}"]])
                       for epochs in (20, 22))
        assert cells[0].startswith(f"{100 * short:.2f} ±") and cells[2].startswith(f"{100 * long:.2f} ±")
        assert float(cells[4]) == pytest.approx(100 * (long - short), abs=0.006) and cells[5] == "2"
    (figure,) = (block for block in section.blocks if isinstance(block, FigureSpec))
    assert ">backbone<" in figure.svg and ">L1+L3<" in figure.svg and ">residual<" in figure.svg
    assert "a point after 2 epochs, a line to 2.2" in figure.caption.replace("\xa0", " ")
    (code,) = (block for block in section.blocks if isinstance(block, Code))
    assert "study architecture-search --dataset toy --seeds 2 --scale data=1,epochs=0.1,width=0.02" in str(code)
    summary = next(section for section in model.sections if section.id == "summary")
    assert re.search(r"of 2 networks, \S+ is the best", str(summary).replace("\\xa0", " ").replace("\xa0", " "))
