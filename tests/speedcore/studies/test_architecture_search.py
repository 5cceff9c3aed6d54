"""The search is thirty distinct trainings, and its lines are the means of their runs."""

from __future__ import annotations

import sys

import pytest

from speedcore import stats
from speedcore.cli.console import run_app
from speedcore.recipes.page_architecture import NETWORKS
from speedcore.studies.architecture_search import ladder, lines


def test_fifteen_networks_for_twenty_and_twenty_two_epochs() -> None:
    found = ladder().recipes
    assert len(found) == 30 and len({recipe.hash for recipe in found.values()}) == 30
    for name, network in NETWORKS.items():
        short, long = found[f"{name} 20"], found[f"{name} 22"]
        assert short.network == long.network == network
        assert (short.epochs, long.epochs) == (20, 22)
        assert short.changed(epochs=22).hash == long.hash  # nothing else is different
    assert found["residual:L1+L3 20"].schedule.knots == ((0, 0), (0.2, 1), (1, 0))


def test_a_search_end_to_end(monkeypatch, capsys, tmp_path) -> None:
    """Three of the networks, on the made images, at next to no width."""
    from speedcore.cli.app import app
    from speedcore.ladders.run import load_all
    from speedcore.store.runs import RunStore

    words = ("study", "architecture-search", "--dataset", "shapes:train=700,test=40", "--scale",
             "epochs=0.1,width=0.02", "--networks", "backbone,residual:L1+L3,extra:L2", "--seeds", "1", "--runs", str(tmp_path))

    def call() -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["speedcore", *words])
        status = run_app(app)
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    status, out, err = call()
    assert status == 0, err
    assert "20 and 22 epochs are 2 and 2.2" in out and err.count("[6/6]") == 1
    (climbed,) = load_all(RunStore(tmp_path))
    found = {line.network: line for line in lines(climbed)}
    assert set(found) == {"backbone", "residual:L1+L3", "extra:L2"}
    best = [stats.mean(line.short) for line in lines(climbed)]
    assert best == sorted(best, reverse=True)
    run = climbed.runs["extra:L2 22"][0].record
    line = found["extra:L2"]
    assert line.long == (run.accuracy,)
    assert line.long_seconds == pytest.approx(sum(run.ledger.get(phase, 0) for phase in ("prepare", "train", "test")))
    assert line.gain == pytest.approx(run.accuracy - climbed.runs["extra:L2 20"][0].record.accuracy)
    status, again, err = call()
    assert (status, again) == (0, out) and "[" not in err  # found, not trained


def test_an_unknown_network_is_one_message(monkeypatch, capsys, tmp_path) -> None:
    from speedcore.cli.app import app

    monkeypatch.setattr(sys, "argv", ["speedcore", "study", "architecture-search", "--networks", "wide"])
    assert run_app(app) == 2
    assert "no network 'wide'; there are backbone, extra:L1" in capsys.readouterr().err
