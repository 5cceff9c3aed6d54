"""Runs that did not learn, lie apart, or diverged are named wherever results are shown, and what a constant prediction scores."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

import reports
from reports import stages
from reports.findings import Claim, sentence
from reports.inputs import Inputs
from speedcore.errors import DivergedError
from speedcore.planning import plan
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.stats import Interval, Verdict
from speedcore.store.runs import RunStore
from speedcore.training import loop
from tests.reports import making
from tests.speedcore import toys


@pytest.fixture
def page(tmp_path: Path) -> tuple[str, dict]:
    """Text of a report of three pairs of which one run did not learn, and of another data set that lost a pair."""
    data = making.dataset()
    runs = making.pairs(RunStore(tmp_path / "runs"), data, (29, 28, 10), (29, 29, 28))
    lost = "mnist, seed 3: there is no pair. The loss is nan at step 2"
    inputs = Inputs({"mnist": data}, tuple(runs), diverged={"mnist": (lost,)})
    files = reports.render(inputs, tmp_path / "out", ("html",))
    text = re.sub(r"<[^>]+>", "", files["html"].read_text(encoding="utf-8")).replace("\xa0", " ")
    return text, json.loads(files["json"].read_text(encoding="utf-8"))


def test_a_run_that_did_not_learn_is_named_on_the_page(page) -> None:
    text, content = page
    for said in ("the run of seed 2 did not learn: 33.33 % on the test set is no better than a constant prediction",
                 "the run of seed 2 lies apart: 33.33 %, where the median of the other 2 is 95.00 %"):
        assert text.count(said) == 2  # in the summary and beside the table
    assert "Constant prediction" in text
    flags = {(run["arm"], run["seed"]): run["no_better_than_constant"] for run in content["runs"]}
    assert flags == {(arm, seed): (arm, seed) == ("without", 2) for arm in ("with", "without") for seed in range(3)}
    assert {run["constant_answer"] for run in content["runs"]} == {10 / 30}


def test_an_interval_of_an_accuracy_is_within_0_and_100_percent(page) -> None:
    text, _ = page
    # 29, 28 and 10 of 30: mean 74.44, sd 35.7; Student's alone would go from −14 to 163 %.
    assert "0.00 to 100.00" in text


def test_a_pair_that_diverged_is_named_in_summary_and_limitations(page) -> None:
    text, content = page
    assert text.count("mnist, seed 3: there is no pair. The loss is nan at step 2") >= 2
    assert "Pairs of MNIST are missing, because training diverged" in text
    assert list(content["diverged"]) == ["mnist"]


@pytest.mark.parametrize(("verdict", "low", "high", "p", "bound", "said"), [
    ("supported", -0.01, 0.3, 0.03, None, "the claim is supported. The test takes the differences to be symmetric about "
                                          "their mean; the interval allows for skewed ones, and holds zero."),
    ("supported", 0.01, 0.3, 0.03, None, "the claim is supported."),
    ("not supported", 0.01, 0.3, 0.09, None, "support the claim. The interval leaves zero out, but is not corrected for the "
                                             "number of tests; the verdict is by the corrected p."),
    ("not supported", -0.01, 0.3, 0.3, None, "the runs do not support the claim."),
    ("equivalent within bounds", -0.01, 0.06, 0.3, 0.05, "and reaches past the bound."),
    ("equivalent within bounds", -0.01, 0.04, 0.3, 0.05, "(equivalence, p\xa0=\xa00.010)."),
])
def test_verdict_and_interval_never_stand_side_by_side_unexplained(verdict, low, high, p, bound, said) -> None:
    claim = Claim("accuracy", "mnist", "MNIST", "better", (0.5,) * 7, (0.6,) * 7, tuple(range(7)), Interval(low, high, ""), p, p,
                  bound, 0.01, Verdict(verdict))
    assert sentence(claim).endswith(said)


# --- a build ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def build(tmp_path: Path, monkeypatch, capsys):
    """Runs a build of the toy data sets "good" and "bad"; runs of the latter whose arm and seed are in `wild` diverge."""
    from reports import build as building
    from speedcore.cli.console import run_app

    def run(names: tuple[str, ...], wild: set[tuple[str, int]]) -> tuple[int, str, Path]:
        data, inner = {name: toys.dataset(name=name) for name in names}, loop.train

        def trained(dataset, job, *rest):
            if dataset.name == "bad" and (job.arm, job.seed) in wild:
                raise DivergedError(f"{job.key}: the loss is nan at step 2 of 4")
            return inner(dataset, job, *rest)

        def planned(*_, **__) -> Plan:
            return Plan(request="toy", planned=tuple(
                PlannedRuns(dataset=name, fingerprint=one.fingerprint, recipe=toys.recipe(), reason="", seeds=2, steps=4,
                            full_steps=12,
                       steps_per_epoch=4, step_seconds=0.01, limit=None, run_seconds=1.0, explain_seconds=0.0)
                for name, one in data.items()))

        monkeypatch.setattr(loop, "train", trained)
        monkeypatch.setattr(plan, "make_plan", planned)
        monkeypatch.setattr("speedcore.planning.request.recipes_for", lambda *_: ())
        monkeypatch.setattr("reports.build.dataset_names", lambda *_: list(names))
        monkeypatch.setattr(stages, "load", lambda *_: (dict(data), []))
        monkeypatch.setattr(stages, "explain", lambda *_: ())
        monkeypatch.setattr(sys, "argv", ["build", "--datasets", ",".join(names), "--runs", str(tmp_path / "runs"), "--out",
                                          str(tmp_path / "out"), "--formats", "html", "--within", "none"])
        status = run_app(building.app)
        return status, "".join(capsys.readouterr()), tmp_path / "out" / "results.json"

    return run


def test_a_build_goes_on_with_the_pairs_that_do_not_diverge(build) -> None:
    status, said, path = build(("good", "bad"), {("with", 1)})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (status, content["status"]) == (0, "partial")
    assert "left out: bad, seed 1: there is no pair" in said
    of_seeds = sorted((run["dataset"], run["seed"]) for run in content["runs"])
    assert of_seeds == [("bad", 0)] * 2 + [("good", 0)] * 2 + [("good", 1)] * 2
    assert "the loss is nan at step 2" in content["diverged"]["bad"][0]


def test_a_data_set_of_which_every_run_diverges_is_missing_and_the_status_says_so(build) -> None:
    status, said, path = build(("good", "bad"), {("with", 0), ("with", 1)})
    content = json.loads(path.read_text(encoding="utf-8"))
    assert status == 4 and "left out: bad" in said
    assert [m["dataset"] for m in content["missing"]] == ["bad"] and "the loss is nan" in content["missing"][0]["reason"]


def test_a_build_of_which_every_run_diverges_is_one_message(build) -> None:
    status, said, path = build(("bad",), {("with", 0), ("with", 1)})
    assert status == DivergedError.exit_status == 5 and not path.exists()
    assert "error: every run diverged, so there is nothing to report" in said and "Traceback" not in said
