"""The benchmark of time to accuracy: in turns, written seed by seed, continued, and rows that are worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import stored
from benchmarks import time_to_accuracy as bench
from speedcore import recipes
from speedcore.planning import costs
from speedcore.recipes.targets import TARGETS, Target
from speedcore.store.runs import RunRecord
from tests.speedcore import toys

SHAPES = "shapes:train=200,test=40"


@pytest.fixture
def results(monkeypatch, tmp_path: Path) -> Path:
    """A folder for result files, a race on a small set between two toys, and planning without delay."""
    monkeypatch.setattr(stored, "HERE", tmp_path)
    monkeypatch.setattr(stored, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)
    monkeypatch.setattr(bench.processor, "level", lambda: "avx512")
    monkeypatch.setitem(recipes.BUILT_IN, "toy", {"*": toys.recipe(name="toy", epochs=1)})
    monkeypatch.setitem(recipes.BUILT_IN, "rival", {"*": toys.recipe(name="rival", epochs=2)})
    monkeypatch.setitem(TARGETS, "shapes", (Target(30, "toy", 0.8),))
    monkeypatch.setitem(bench.RACES, "toys", bench.Race(SHAPES, 25.0, "rival"))
    return tmp_path / "results"


@pytest.fixture
def order(monkeypatch) -> list[tuple]:
    """(side, seed, budget) of what is trained, as it is trained."""
    seen, train = [], bench.train

    def watched(side, recipe, dataset, seed, budget, *rest):
        seen.append((side, seed))
        return train(side, recipe, dataset, seed, budget, *rest)

    monkeypatch.setattr(bench, "train", watched)
    return seen


def test_a_processor_without_bf16_has_files_of_its_own(monkeypatch) -> None:
    for level, ending in (("amx", ""), ("avx512", ""), ("avx2", "-avx2"), ("neon", "-neon")):
        monkeypatch.setattr(bench.processor, "level", lambda found=level: found)
        assert bench._where("cpu") == ending and bench._where("cuda:1") == "-cuda"


def test_sides_take_turns_and_every_seed_is_kept(results: Path, order) -> None:
    path = bench.run("toys", 2, 50.0, "cpu")
    assert order == [("ours", 0), ("peer", 0), ("peer", 1), ("ours", 1)]
    content = json.loads(path.read_text())
    assert path == results / "time-to-accuracy-toys.json" and (content["target"], content["budget"]) == (25.0, 50.0)
    assert [(pair["seed"], pair["first"]) for pair in content["per_seed"]] == [(0, "ours"), (1, "peer")]
    for pair in content["per_seed"]:
        assert (pair["ours"]["recipe"], pair["peer"]["recipe"]) == ("toy", "rival")
        assert set(pair["ours"]["seconds"]) == {"article", "dawnbench", "everything"}
        assert (pair["ours"]["epochs"], pair["peer"]["epochs"]) == (0.8, 2)
    ours, peer = content["rows"]
    assert (ours["who"], ours["n"], peer["who"], peer["n"]) == ("ours", 2, "peer", 2)
    medians = [sum(pair[side]["seconds"]["dawnbench"] for pair in content["per_seed"]) / 2 for side in ("ours", "peer")]
    assert ours["ours / peer"] == pytest.approx(medians[0] / medians[1])
    page = (results.parent / "RESULTS.md").read_text()
    assert "time-to-accuracy-toys" in page and "per_seed" not in page and "recipe_hash" not in page


def test_an_interrupted_race_keeps_its_seeds_and_goes_on(results: Path, order, monkeypatch) -> None:
    counting = bench.train

    def stops_at_seed_one(side, recipe, dataset, seed, *rest):
        if seed == 1:
            raise KeyboardInterrupt
        return counting(side, recipe, dataset, seed, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(bench, "train", stops_at_seed_one)
        with pytest.raises(KeyboardInterrupt):
            bench.run("toys", 2, math.inf, "cpu")
    first = json.loads((results / "time-to-accuracy-toys.json").read_text())["per_seed"]
    assert [pair["seed"] for pair in first] == [0]
    order.clear()
    content = json.loads(bench.run("toys", 2, math.inf, "cpu", resume=True).read_text())
    assert order == [("peer", 1), ("ours", 1)]
    assert content["per_seed"][0] == first[0] and content["rows"][0]["n"] == 2 and content["budget"] is None
    # Another recipe is trained anew; the other side's runs stand.
    monkeypatch.setitem(recipes.BUILT_IN, "rival", {"*": toys.recipe(name="rival", epochs=1)})
    order.clear()
    content = json.loads(bench.run("toys", 2, math.inf, "cpu", resume=True).read_text())
    assert order == [("peer", 0), ("peer", 1)]
    assert [pair["ours"] for pair in content["per_seed"]][0] == first[0]["ours"] and content["rows"][1]["n"] == 2


def test_a_slow_peer_may_run_for_fewer_seeds(results: Path, order) -> None:
    content = json.loads(bench.run("toys", 3, math.inf, "cpu", peer_seeds=1).read_text())
    assert order == [("ours", 0), ("peer", 0), ("ours", 1), ("ours", 2)]
    ours, peer = content["rows"]
    assert (ours["n"], peer["n"], ours["ratio interval"]) == (3, 1, None)
    # The ratio is that of the seeds that both have run.
    both = content["per_seed"][0]
    assert ours["ours / peer"] == pytest.approx(both["ours"]["seconds"]["dawnbench"] / both["peer"]["seconds"]["dawnbench"])


def test_a_peer_that_is_not_there_yet_is_left_out_in_a_sentence(results: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(bench.RACES, "toys", bench.Race(SHAPES, 25.0, "nosuch"))
    assert list(bench.contenders(bench.RACES["toys"])) == ["ours"]
    assert "no recipe 'nosuch'" in capsys.readouterr().out


def test_only_ours_has_a_budget(results: Path, monkeypatch) -> None:
    seen = {}

    class Finished(Exception):
        pass

    def stop(dataset, recipe, budget, *rest, **named) -> RunRecord:
        seen[recipe.name] = budget
        raise Finished

    monkeypatch.setattr(bench, "trained", stop)
    for side, recipe in bench.contenders(bench.RACES["toys"]).items():
        with pytest.raises(Finished):
            bench.train(side, recipe, None, 0, 20.0, "cpu", None)
    assert seen == {"toy": 20.0, "rival": math.inf}


def test_rows_by_hand() -> None:
    def side(accuracy: float, plain: float, seconds: float) -> dict:
        return {"accuracy %": accuracy, "plain %": plain, "epochs": 2.0,
                "seconds": {"article": 0.0, "dawnbench": seconds, "everything": 99.0}}

    per_seed = [{"seed": i, "ours": side(90 + i, 89, s), "peer": side(91, 90, 4 * s)} for i, s in enumerate((3.0, 1.0, 2.0))]
    sides = {"ours": toys.recipe(name="toy"), "peer": toys.recipe(name="rival")}
    ours, peer = bench.rows(bench.Race("toy", 91.0, "rival"), sides, per_seed)
    assert (ours["recipe"], ours["n"], ours["epochs"], ours["accuracy % mean"], ours["sd"]) == ("toy", 3, 2, 91, 1)
    # 90 misses 91; 91 and 92 do not.
    assert (ours["reached % of runs"], peer["reached % of runs"]) == (pytest.approx(200 / 3), 100)
    assert (ours["plain images %"], ours["median s"], peer["median s"], ours["s interval"]) == (89, 2, 8, None)
    assert ours["95 % interval"] == pytest.approx([91 - 6.964557 / math.sqrt(3), 91 + 6.964557 / math.sqrt(3)], abs=1e-5)
    assert peer["95 % interval"] is None  # 91 three times: nothing shows how others would scatter
    assert (ours["ours / peer"], ours["ratio interval"]) == (pytest.approx(0.25), None)
    assert "ours / peer" not in peer


def test_every_race_is_of_a_known_data_set() -> None:
    from speedcore.data import NAMES

    assert all(race.dataset in NAMES and 10 < race.accuracy < 100 for race in bench.RACES.values())
