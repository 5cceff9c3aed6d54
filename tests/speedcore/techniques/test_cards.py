"""Method cards: what is committed is what the generator writes, their recipes load, and their figures are worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import ladders as saving
from benchmarks import methods, stored
from speedcore.errors import UserError
from speedcore.ladders import Ladder, Rung
from speedcore.ladders.run import load_all, run_ladder
from speedcore.ladders.scale import Scale
from speedcore.recipes import from_toml, record_ladder
from speedcore.store.runs import RunStore
from speedcore.techniques import Method, RungEffect, TrialEffect, _fits
from speedcore.techniques import methods as all_methods
from tests.speedcore import toys

CARDS = Path(__file__).parents[3] / "docs" / "methods"
METHODS = all_methods()
WORDS = {"title": "A method", "summary": "in a line", "what": "What.", "why": "Why.", "cost": "Cost.", "source": "someone.",
         "code": ("speedcore/techniques/augment.py",)}


# --- what is committed -----------------------------------------------------------------------------------------------

def test_the_committed_cards_are_what_the_generator_writes(tmp_path: Path) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in methods.write(tmp_path)}
    committed = {path.name: path.read_text(encoding="utf-8") for path in CARDS.glob("*.md")}
    assert set(committed) == set(written), "run python -m benchmarks.record and commit docs/methods"
    for name, text in written.items():
        assert committed[name] == text, f"docs/methods/{name} is out of date: run python -m benchmarks.record and commit it"


@pytest.mark.parametrize("name", METHODS)
def test_the_recipe_of_a_card_loads_and_uses_the_method(name: str, tmp_path: Path) -> None:
    method = METHODS[name]
    path = tmp_path / f"{name}.toml"
    path.write_text(method.recipe)
    recipe = from_toml(path, "cifar10")
    assert method.recipe and (not method.uses or method.used_by(recipe, {"budget_seconds": 60.0}))


def test_every_rung_of_every_ladder_is_on_a_card_and_every_card_names_rungs_that_are() -> None:
    known = methods.known_ladders()
    cited = {(effect.ladder, effect.rung) for method in METHODS.values() for effect in method.rungs}
    made = {name: known.pop(name) for name in methods._MADE}
    there = {(name, rung.name) for name, ladder in known.items() for rung in ladder.rungs}
    # What the ladders to the record hold changes with the record: there it is the steps that are named.
    there |= {(name, step.name) for name in made for step in record_ladder._TO_THE_RECORD}
    assert sorted(there - cited) == []
    assert sorted(cited - there) == []


def test_cards_name_files_that_are_there(checkout: Path) -> None:
    for method in METHODS.values():
        assert method.code and all((checkout / path).is_file() for path in method.code), method.name
        assert method.rungs or method.trials or method.results or method.unmeasured, method.name


def test_the_page_and_the_cards_are_of_one_mind(checkout: Path) -> None:
    index = (CARDS / "README.md").read_text()
    assert all(f"]({name}.md)" in index for name in METHODS)
    for path in CARDS.glob("*.md"):
        text = path.read_text()
        assert ("**Not measured here yet.**" in text) == (path.name != "README.md" and
                                                           f"]({path.name}) | {METHODS[path.stem].summary} | not yet |" in index)


# --- which recipe uses what ------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("path", "wanted", "fits"), [
    ("a", 1, True), ("a", 2, False), ("a", "on", True), ("off", "on", False), ("none", "on", False), ("empty", "on", False),
    ("word", "on", True), ("word", ["x", "word"], True), ("word", ["x"], False), ("table.b", "> 1", True), ("a", "> 1", False),
    ("table.missing", "on", False), ("none.b", "on", False), ("pair", [[1, 2]], True), ("pair", [[2, 1]], False),
    ("pair", "on", True), ("zeros", "on", False)])
def test_fields_fit_as_they_are_written(path: str, wanted, fits: bool) -> None:
    content = {"a": 1, "off": False, "none": None, "empty": (), "word": "word", "table": {"b": 2.5}, "pair": (1, 2),
               "zeros": (0.0, 0.0)}
    assert _fits(content, path, wanted) == fits


def test_a_method_is_used_where_one_of_its_tables_fits() -> None:
    method = Method(name="m", **WORDS, uses=({"augment.cutout": "on", "batch_size": 40}, {"label_smoothing": "on"}))
    assert method.used_by(toys.recipe())  # cutout 4, batches of 40
    assert not method.used_by(toys.recipe(batch_size=20))
    assert method.used_by(toys.recipe(batch_size=20, label_smoothing=0.1))


# --- effects ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def results(monkeypatch, tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setattr(stored, "HERE", tmp_path)
    monkeypatch.setattr(stored, "FOLDER", folder)
    return folder


MADE = {"revision": "a" * 40, "dirty": False, "device": "toy machine", "finished": "2031-05-06T07:08:09", "command": "x.py",
        "versions": {"torch": "9"}}


def test_a_trial_is_paired_by_seed_and_without_seconds_where_the_file_has_none(results: Path) -> None:
    effect = TrialEffect(name="toy", change="a = 1", dataset="d", recipe="r")
    method = Method(name="m", **WORDS, trials=(effect,))
    assert "**Not measured here yet.**" in methods.card(method)
    assert "python -m benchmarks.tuning toy --dataset d --recipe r --change 'a = 1'" in methods.card(method)
    seeds = [90.0, 91.0, 92.0], [90.5, 91.6, 92.4]
    content = {"name": "tuning-toy", "question": "Changes.", "provenance": MADE,
               "rows": [{"change": "as it is"}, {"change": "a = 1"}],
               "per_seed": {name: [{"accuracy": a, "seconds": 10 - i} for a in values]
                            for i, (name, values) in enumerate(zip(("as it is", "a = 1"), seeds, strict=True))}}
    (results / "tuning-toy.json").write_text(json.dumps(content))
    card = methods.card(method)
    # Differences 0.5, 0.6, 0.4: mean 0.5, sd 0.1; Student's t with 2 degrees of freedom at 98 % 6.965, over the root of 3.
    assert "| 3 | +0.50 [+0.10, +0.90] | helps | – | – | – |" in card
    assert "Not measured" not in card and "toy machine; revision aaaaaaaaaaaa; 2031-05-06; `x.py`" in card
    content["rows"][1]["time ratio (median)"] = 0.9
    (results / "tuning-toy.json").write_text(json.dumps(content))
    # Three equal ratios show nothing of how others would scatter.
    assert "| ×0.90 | cannot tell |" in methods.card(method)
    assert methods._in_short(method) == "1 change"


def small(**base) -> Ladder:
    return Ladder(name="small", dataset="toy", base=toys.recipe(**base), clock="dawnbench",
                  rungs=(Rung(name="plain", what="no augmentation", without=("augment",)),))


def test_a_climb_becomes_a_result_file_and_a_row_of_a_card(results: Path, tmp_path: Path, monkeypatch) -> None:
    ladder, store = small(), RunStore(tmp_path / "runs")
    run_ladder(ladder, toys.dataset(), store, "cpu", seeds=2)
    path = saving.write(saving.choose(load_all(store, "small"), "small", None, None, None))
    content = json.loads(path.read_text())
    assert path == results / "ladder-small.json" and "ladder-small" in (results.parent / "RESULTS.md").read_text()
    assert (content["ladder"], content["dataset"], content["as set"]) == ("small", "toy (not the official files)", "1")
    assert content["provenance"]["revision"] == next(iter(store)).record.provenance["revision"]
    assert content["recipes"] == {name: recipe.hash for name, recipe in ladder.recipes.items()}
    base, plain = content["rows"]
    before, after = ([run["accuracy %"] for run in content["per_seed"][name]] for name in ("base", "plain"))
    assert base["accuracy % mean"] == pytest.approx(sum(before) / 2) and base["points"] is None
    assert plain["points"] == pytest.approx(sum(after) / 2 - sum(before) / 2)
    ledger = store.find(next(load_all(store, "small")).runs["plain"][0].record.key).record.ledger
    assert content["per_seed"]["plain"][0]["seconds"] == pytest.approx(ledger.get("prepare", 0) + ledger["train"])

    # Figures in the file are shown as they stand there; intervals with them.
    plain |= {"points": 1.5, "points interval": [0.5, 2.5], "accuracy": "helps", "time ratio": 0.8, "ratio interval": None,
              "time": "cannot tell"}
    path.write_text(json.dumps(content))
    monkeypatch.setattr(methods, "known_ladders", lambda: {"small": small()})
    method = Method(name="m", **WORDS, rungs=(RungEffect(ladder="small", rung="plain", note="all of it"),))
    row = "| `ladder-small`, rung `plain` | no augmentation (all of it) | `base` | 2 | +1.50 [+0.50, +2.50] | helps | ×0.80 | "
    assert row + "cannot tell | – |" in methods.card(method)
    assert "toy (not the official files); at full scale; clock dawnbench" in methods.card(method)
    monkeypatch.setattr(methods, "known_ladders", lambda: {"small": small(batch_size=20)})
    assert "(all of it; measured before the rung or the one below it was last changed)" in methods.card(method)


def test_a_climb_that_is_not_there_or_not_the_only_one_is_an_error(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    with pytest.raises(UserError, match="climb it with python -m speedcore ladder small"):
        saving.choose(load_all(store, "small"), "small", None, None, None)
    for scale in (Scale(), Scale(epochs=0.5)):
        run_ladder(small(), toys.dataset(), store, "cpu", scale, seeds=1)
    with pytest.raises(UserError, match=r"in 2 ways; say which:\n  --dataset toy --scale (1|data=1,epochs=0.5,width=1) --device"):
        saving.choose(load_all(store, "small"), "small", None, None, None)
    assert saving.choose(load_all(store, "small"), "small", None, Scale(epochs=0.5), None).scale == Scale(epochs=0.5)


def test_a_rung_that_is_not_measured_says_how_and_what_its_source_reports() -> None:
    line = methods._how_to_climb(RungEffect(ladder="page-tricks", rung="celu", note="shorter"))
    assert line == ("rung `celu` of the ladder `page-tricks` (shorter): `python -m speedcore ladder page-tricks --rungs "
                    "label-smoothing,celu`, then `python -m benchmarks.ladders page-tricks`. Its source reports "
                    "94.10 ± 0.15 % (n = 50) in 52.0 s, from 94.10 ± 0.15 % (n = 50) in 59.0 s")
    line = methods._how_to_climb(RungEffect(ladder="pieces", rung="fp32"))
    assert "`python -m speedcore ladder benchmarks/ablations/pieces.toml --rungs sprint,fp32`" in line
