"""The result file of planted shortcuts: a row a shortcut and layer, its null controls, and what no map could be scored for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import shortcuts, stored
from speedcore import stats
from tests.reports.making import shortcut_study


def test_a_study_becomes_a_result_file(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stored, "HERE", tmp_path)
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "results")
    made = {"command": "__main__.py shortcuts", "revision": "0" * 40, "dirty": False, "versions": {"torch": "0"},
            "device": "cpu", "finished": "2031-05-06"}
    study = shortcut_study().model_copy(update={"provenance": made})
    content = json.loads(shortcuts.write(study).read_text())
    assert content["name"] == f"shortcuts-{study.recipe.name}" and content["seeds"] == 2
    corner, unscored, hue, _ = content["rows"]
    assert (corner["shortcut"], corner["layer"], corner["networks"], corner["verdict"]) == ("corner", "middle", 6, "tracks")
    # Reliance rises with the seed by 1/500 and mass by 1/100, within each correlation and between them.
    assert corner["rank correlation"] == pytest.approx(1) and corner["reliance, most"] == pytest.approx(0.802)
    known = stats.rank_correlation((0, 0.002, 0.2, 0.202, 0.9, 0.902), (0.3, 0.31, 0.1, 0.11, 0.2, 0.21))
    assert hue["rank correlation"] == pytest.approx(known) and hue["verdict"] == "cannot tell"
    # A control whose mass never changes has no rank to follow.
    assert corner["null: untrained"] is None
    assert (unscored["layer"], unscored["networks"], unscored["rank correlation"]) == ("last", 0, None)
    assert [network["mass"]["last"] for network in content["per_seed"]] == [None] * 12
    assert f"shortcuts-{study.recipe.name}" in (tmp_path / "RESULTS.md").read_text()
