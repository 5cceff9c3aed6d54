"""The claim's result file: a row a test, its null controls, and no path of the machine that ran it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import claim, stored
from tests.reports.making import claim_study


def test_a_study_becomes_a_result_file(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(stored, "HERE", tmp_path)
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "results")
    made = {"command": "__main__.py claim --runs /somewhere/runs --seeds 10", "revision": "0" * 40, "dirty": False,
            "versions": {"torch": "0"}, "device": "cpu", "finished": "2031-05-06"}
    study = claim_study(sets=("shapes", "mnist")).model_copy(update={"provenance": made})
    content = json.loads(claim.write(study).read_text())
    assert content["name"] == "claim-shapes-mnist" and content["all of them run"] is True
    assert content["provenance"]["command"] == "__main__.py claim --runs PATH --seeds 10"
    first = content["rows"][0]
    assert (first["test"], first["data set"], first["what"], first["pairs"]) == ("primary", "shapes", "mass", 10)
    # 0.1 and i (1/400 − 1/500) for i = 0..9; maps of a wrong class differ as much, another image's by ± 0.01 in turn.
    assert first["difference"] == pytest.approx(0.1 + 4.5 / 2000)
    assert first["wrong class"] == pytest.approx(first["difference"]) and first["another image"] == pytest.approx(0)
    assert (first["verdict"], content["rows"][1]["verdict"]) == ("supported", "equivalent within bounds")
    assert content["trained"][0].startswith("shapes: 2 epochs of tiny, accuracy none 90.00 %, with 91.45 %")
    assert "claim-shapes-mnist" in (tmp_path / "RESULTS.md").read_text()
