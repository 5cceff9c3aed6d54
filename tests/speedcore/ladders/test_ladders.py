"""Ladders: rungs stand on each other, mistakes name their line, verdicts follow the stated rule, and a ladder is resumable."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from speedcore import ladders, recipes
from speedcore.cli.console import run_app
from speedcore.data.shapes import make_shapes
from speedcore.errors import RecipeError
from speedcore.ladders import Ladder, Reported, Rung, printing
from speedcore.ladders.changes import of_accuracy, of_time
from speedcore.ladders.result import LadderResult, _reproduced
from speedcore.ladders.run import load_all, run_ladder
from speedcore.ladders.scale import Scale
from speedcore.ladders.toml import from_toml
from speedcore.planning import rounds
from speedcore.recipe import (
    Augment,
    AverageConfig,
    DavidNetConfig,
    DigitNetConfig,
    LookaheadConfig,
    Network,
    Peek,
    RecordNetConfig,
)
from speedcore.store.runs import RunStore
from speedcore.training import loop
from tests.speedcore import toys

HEAD = 'dataset = "shapes"\nbase = "sprint"\n'


def tiny(**changes) -> Ladder:
    """Three rungs over a toy recipe."""
    fields = {
        "name": "tiny", "dataset": "toy", "base": toys.recipe(),
        "start": Rung(name="base", reported=Reported(accuracy=0.9, sd=0.01, n=5, seconds=10)),
        "rungs": (Rung(name="plain", what="no augmentation", without=("augment",), reported=Reported(seconds=5)),
                  Rung(name="short", what="one epoch", change={"epochs": 1}, reported=Reported(at_least=0.2))),
    }
    return Ladder(**{**fields, **changes})


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


# --- data ------------------------------------------------------------------------------------------------------------

def test_rungs_stand_on_the_one_before_or_on_the_one_they_name() -> None:
    ladder = tiny(rungs=(*tiny().rungs, Rung(name="other", on="base", change={"batch_size": 20})))
    found = ladder.recipes
    assert list(found) == ["base", "plain", "short", "other"]
    assert not found["plain"].augment.any and not found["short"].augment.any and found["other"].augment.any
    assert (found["short"].epochs, found["other"].epochs, found["other"].batch_size) == (1, 3, 20)
    assert found["short"].name == "tiny-short"
    assert [ladder.below(rung) for rung in ladder.steps] == [None, "base", "plain", "base"]
    some = ladder.chosen("short, base")
    assert [rung.name for rung in some] == ["base", "short"]
    assert ladder.nearest(ladder.rungs[1], some).name == "base" and ladder.nearest(ladder.start, some) is None
    with pytest.raises(RecipeError, match="no rung 'nosuch'; its rungs are base, plain"):
        ladder.chosen("plain,nosuch")


def test_mnist_fast_is_its_recipes_and_reports_what_was_printed() -> None:
    ladder = ladders.get("mnist-fast")
    assert [rung.name for rung in ladder.steps] == list("012345678")
    assert all(recipes.get(recipe.name, "mnist") == recipe for recipe in ladder.recipes.values())
    reported = {rung.name: rung.reported for rung in ladder.steps}
    assert reported["1"].mean == pytest.approx((0.9907 + 0.9911 + 0.9903) / 3) and reported["1"].count == 3
    assert (reported["8"].mean, reported["8"].spread, reported["8"].count) == (0.99041, 0.00066, 30)
    assert [r.seconds for r in reported.values()] == [172, 57.4, 30.3, 7.31, 4.66, 3.14, 2.31, 1.74, 0.762]
    assert [rung.name for rung in ladder.steps if ladder.recipes[rung.name].peeks] == list("1234")
    assert [bool(rung.note) for rung in ladder.steps] == [ladder.recipes[rung.name].peeks for rung in ladder.steps]


def test_a_ladder_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(RecipeError, match="no ladder 'nosuch'; built-in ladders are mnist-fast"):
        ladders.get("nosuch")


def test_the_documented_ladder_is_what_it_says(checkout: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (checkout / "docs" / "ladders.md").read_text(), re.S)
    ladder = ladders.get(str(file(tmp_path, example)))
    sprint = recipes.get("sprint", "shapes")
    found = ladder.recipes
    assert found["plain"].hash == sprint.hash
    assert found["cutout"].augment == sprint.augment.model_copy(update={"cutout": 8})
    assert found["no-smoothing"].label_smoothing == 0 and found["no-smoothing"].augment.cutout == 8
    assert found["shorter"].hash == sprint.changed(epochs=6).hash and ladder.steps[3].reported.seconds == 11.5


def test_every_field_of_a_ladder_file_is_described(checkout: Path) -> None:
    page = (checkout / "docs" / "ladders.md").read_text()
    named = [set(re.findall(r"^\| (`.*?`)(?=[ ,|])", part, re.M)) for part in page.split("## Your own")[1].split("Of a rung:")]
    head, rung = (set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.*?) \|", part, re.M))))
                  for part in page.split("## Your own")[1].split("Of a rung:"))
    assert named and head == set(Ladder.model_fields) - {"rungs"} | {"rung"}
    assert rung == set(Rung.model_fields)


@pytest.mark.parametrize(("text", "line", "words"), [
    (HEAD + '[[rung]]\nname = "a"\nchange = { epocks = 3 }\n', 5, ["epocks", "'a'"]),
    (HEAD + '[[rung]]\nname = "a"\n[rung.change.augment]\nshear = 3\n', 6, ["augment.shear"]),
    (HEAD + '[[rung]]\nname = "a"\ncolour = 3\n', 5, ["colour"]),
    (HEAD + 'tempo = 3\n[[rung]]\nname = "a"\nchange = { epochs = 3 }\n', 3, ["tempo", "clock"]),
    (HEAD + '\n[[rung]]\nname = "a"\nchange = { epochs = 12 }\n', 6, ["'a' changes nothing", "'base'"]),
    (HEAD + '[[rung]]\nname = "a"\n', 3, ["changes nothing"]),
    (HEAD + '[[rung]]\nname = "a"\nchange = { epochs = 3 }\n[[rung]]\nname = "b"\n[rung.change]\nmin_epochs = 5\n', 6,
     ["'b' does not fit", "min_epochs", "larger than epochs"]),
    (HEAD + '[[rung]]\nname = "a"\n[rung.change.optimizer]\nbetas = [0.9, 0.9]\n', 6, ["betas", "does not fit"]),
    (HEAD + '[[rung]]\nname = "a"\non = "z"\nchange = { epochs = 3 }\n', 5, ["'z'", "no rung below"]),
    (HEAD + '[[rung]]\nname = "a"\nchange = { epochs = 3 }\n[[rung]]\nname = "a"\nchange = { epochs = 4 }\n', 7, ["two rungs"]),
    (HEAD + '[[rung]]\nname = "a"\nwithout = ["network"]\n', 5, ["'network'"]),
    (HEAD + '[[rung]]\nname = "a"\nchange = { epochs = 3 }\nreported = { accuracy = 94.1 }\n', 6, ["accuracy", "1"]),
    (HEAD + '[[rung]]\nname = "a"\nchange = { epochs = 3 }\n[rung.reported]\ntime = 3\n', 7, ["time"]),
    (HEAD + 'clock = "sundial"\n[[rung]]\nname = "a"\nchange = { epochs = 3 }\n', 3, ["sundial", "dawnbench"]),
    (HEAD + '[start]\nname = "s"\nchange = { epochs = 3 }\n[[rung]]\nname = "a"\nchange = { epochs = 4 }\n', 5,
     ["the base itself"]),
    ('dataset = "shapes"\nbase = "nosuch"\n[[rung]]\nname = "a"\n', 2, ["nosuch", "sprint"]),
    ('base = "sprint"\n[[rung]]\nname = "a"\n', 1, ["dataset is missing"]),
    ('base = "sprint"\ndataset = "mnits"\n[[rung]]\nname = "a"\n', 2, ["unknown data set 'mnits'"]),
    (HEAD, 1, ["at least one [[rung]]"]),
    (HEAD + "rung = = 3", 3, ["not valid TOML"]),
])
def test_a_wrong_file_is_one_message_with_the_line(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    path = file(tmp_path, text)
    with pytest.raises(RecipeError) as raised:
        from_toml(path)
    message = str(raised.value)
    assert str(path) in message and f"line {line}" in message and all(word in message for word in words), message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="missing.toml does not exist"):
        ladders.get(str(tmp_path / "missing.toml"))


# --- scale -----------------------------------------------------------------------------------------------------------

def test_scales_cut_data_epochs_and_width() -> None:
    assert Scale.parse("1").whole and Scale.parse("0.5") == Scale(0.5, 0.5, 0.5)
    assert Scale.parse("data=0.2, width=0.5") == Scale(0.2, 1.0, 0.5)
    assert "20 % of the training images, 100 % of the epochs, 50 % of the channels" in Scale.parse("data=0.2,width=0.5").text
    data = toys.dataset(train=160)
    small = Scale(0.25, 0.5, 0.5)
    cut = small.dataset(data)
    assert len(cut.train) == 40 and len(cut.test) == 40 and "40 of 160" in cut.provenance.note
    assert cut.fingerprint != data.fingerprint == Scale(1, 0.5, 0.5).dataset(data).fingerprint
    recipe = small.recipe(toys.recipe(epochs=3))
    assert (recipe.epochs, recipe.min_epochs, recipe.network.widths) == (1.5, 1.0, (4, 4, 4))
    assert Scale(epochs=0.1).recipe(toys.recipe(epochs=3)).min_epochs == pytest.approx(0.3)


def test_averages_look_back_over_the_same_share_of_a_run_at_every_scale() -> None:
    recipe = toys.recipe(average=AverageConfig(decay=0.99), lookahead=LookaheadConfig(decay=0.95))
    # A quarter of the steps: what 0.99 leaves after four steps, one step leaves now.
    cut = Scale(data=0.5, epochs=0.5).recipe(recipe)
    assert cut.average.decay == pytest.approx(0.99**4) and cut.lookahead.decay == pytest.approx(0.95**4)
    assert (cut.average.every, cut.lookahead.power) == (recipe.average.every, recipe.lookahead.power)
    narrow = Scale(width=0.5).recipe(recipe)  # as many steps
    assert (narrow.average, narrow.lookahead) == (recipe.average, recipe.lookahead)
    share = toys.recipe(average=AverageConfig(power=2.0))  # a share of the run by itself
    assert Scale(epochs=0.5).recipe(share).average == share.average
    assert 0 < Scale(data=1e-3, epochs=1e-2).recipe(recipe).average.decay < 1e-5


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "half", "nan", "data=2", "size=0.5", "data"])
def test_an_impossible_scale_is_an_error(text: str) -> None:
    with pytest.raises(RecipeError, match=f"--scale '{text}' is no scale.*above 0 and at most 1"):
        Scale.parse(text)


def test_a_scale_that_leaves_nothing_names_the_rung(store) -> None:
    with pytest.raises(RecipeError, match="rung 'base'.*less than two steps.*larger --scale"):
        run_ladder(tiny(), toys.dataset(), store, "cpu", Scale(data=0.2))
    wider = tiny(rungs=(Rung(name="wider", change={"network": {"widths": (9, 8, 8)}}),))
    with pytest.raises(RecipeError, match="'base' and 'wider' are the same there"):
        run_ladder(wider, toys.dataset(), store, "cpu", Scale(width=0.25))


@pytest.mark.parametrize(("network", "narrow"), [
    (DavidNetConfig(width=0.5), DavidNetConfig(width=0.25)),
    (RecordNetConfig(widths=(9, 8, 1)), RecordNetConfig(widths=(4, 4, 1))),
    (DigitNetConfig(widths=(24, 32), hidden=100), DigitNetConfig(widths=(12, 16), hidden=50))])
def test_networks_are_narrowed(network, narrow) -> None:
    assert network.narrowed(0.5) == narrow


def test_every_network_can_be_narrowed() -> None:
    assert all(callable(getattr(part, "narrowed", None)) for part in Network.__origin__.__args__)


# --- running a ladder --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def climbed(tmp_path_factory) -> tuple[LadderResult, RunStore]:
    store = RunStore(tmp_path_factory.mktemp("climbed"))
    return run_ladder(tiny(), toys.dataset(official=True), store, "cpu", seeds=2), store


def test_a_climb_trains_each_rung_with_each_seed(climbed) -> None:
    found, store = climbed
    assert {name: [run.record.seed for run in runs] for name, runs in found.runs.items()} == {
        "base": [0, 1], "plain": [0, 1], "short": [0, 1]}
    assert [found.runs[name][0].record.steps for name in found.runs] == [12, 12, 4]
    assert found.runs["plain"][0].record.recipe.augment == Augment()
    (again,) = load_all(store, "tiny")
    assert again == found and list(load_all(store, "other")) == []


def test_runs_that_stand_are_not_trained_again_and_a_part_does_not_undo_the_whole(climbed, monkeypatch) -> None:
    found, store = climbed
    monkeypatch.setattr(loop, "train", lambda *_: pytest.fail("trained again"))
    again = run_ladder(tiny(), toys.dataset(official=True), store, "cpu", seeds=2)
    assert again == found
    part = run_ladder(tiny(), toys.dataset(official=True), store, "cpu", names="short", seeds=1)
    assert list(part.runs) == ["short"] and len(part.runs["short"]) == 1
    assert list(load_all(store)) == [found]


def test_what_did_not_fit_is_said(store) -> None:
    one = run_ladder(tiny(), toys.dataset(), store, "cpu", within=1e-9)
    assert [len(runs) for runs in one.runs.values()] == [1, 0, 0]
    assert len(one.left_out) == 2 and "'plain'" in one.left_out[0] and "continues" in one.left_out[0]
    asked = run_ladder(tiny(), toys.dataset(), store, "cpu", seeds=rounds.MOST_SEEDS, within=0.01)
    assert "left out" in asked.left_out[0]


# --- findings --------------------------------------------------------------------------------------------------------

def test_verdicts_by_hand() -> None:
    # Differences 1, 2, 3 points: mean 2, sd 1, Student's t(2) at 98 % reaches 6.9646 · 1/√3 = 4.021: from −2.021 to 6.021.
    wide = of_accuracy([(0.5, 0.51), (0.5, 0.52), (0.5, 0.53)])
    assert wide.value == pytest.approx(0.02) and wide.verdict == "cannot tell" and wide.pairs == 3
    assert (wide.interval.low, wide.interval.high) == (pytest.approx(-0.02021, abs=1e-5), pytest.approx(0.06021, abs=1e-5))
    assert of_accuracy([(0.5, 0.520), (0.5, 0.521), (0.5, 0.519)]).verdict == "helps"
    assert of_accuracy([(0.520, 0.5), (0.521, 0.5), (0.519, 0.5)]).verdict == "hurts"
    # Ratios ½, ½·1.02 and ½·1.01: less time is better, and the mean is geometric.
    faster = of_time([(10, 5), (10, 5.1), (10, 5.05)])
    assert faster.value == pytest.approx((0.5 * 0.51 * 0.505) ** (1 / 3)) and faster.verdict == "helps"
    assert of_time([(5, 10), (5.1, 10), (5.05, 10)]).verdict == "hurts"
    # Two pairs promise nothing, however far from no change they lie.
    assert (of_time([(10, 5), (10, 5.1)]).interval, of_time([(10, 5), (10, 5.1)]).verdict) == (None, "cannot tell")
    # A change of a share is one of at most a share, whatever Student's t says of three.
    assert of_accuracy([(0.9, 0.1), (0.9, 0.95), (0.9, 0.9)]).interval.low == -1
    single = of_time([(10, 5)])
    assert (single.value, single.interval, single.verdict) == (0.5, None, "cannot tell")
    assert of_time([]) is None and of_accuracy([]) is None


def test_each_rung_is_compared_with_the_one_below_it(climbed) -> None:
    found, _ = climbed
    base, plain, short = found.findings
    runs = found.runs
    assert (base.against, plain.against, short.against) == (None, "base", "plain") and base.time is None
    by_hand = [b.record.accuracy - a.record.accuracy for a, b in zip(runs["plain"], runs["short"], strict=True)]
    assert short.accuracy.value == pytest.approx(sum(by_hand) / 2) and short.accuracy.pairs == 2
    seconds = [(b.record.ledger["train"] / a.record.ledger["train"])
               for a, b in zip(runs["plain"], runs["short"], strict=True)]
    assert short.time.value == pytest.approx((seconds[0] * seconds[1]) ** 0.5)
    assert short.epochs == 1 and set(short.clocks) == {"article", "dawnbench", "everything"}
    assert "the source's ratio of times is 0.50" in plain.sentence and "2 pairs" in plain.sentence
    assert base.sentence.startswith("Rung base reaches ")


@pytest.mark.parametrize(("reported", "accuracies", "expected"), [
    (Reported(accuracy=0.90, sd=0.01), [0.919, 0.919], True), (Reported(accuracy=0.90, sd=0.01), [0.921, 0.921], False),
    (Reported(accuracies=(0.89, 0.91)), [0.875], True),       # sd of the two is .01414
    (Reported(at_least=0.9), [0.9], True), (Reported(at_least=0.9), [0.89], False),
    (Reported(), [0.9], None)])
def test_what_counts_as_reproduced(climbed, reported: Reported, accuracies: list[float], expected: bool | None) -> None:
    assert _reproduced(reported, accuracies, climbed[0])[0] is expected


def test_a_source_without_a_spread_is_judged_by_the_spread_within_all_rungs(climbed) -> None:
    found, _ = climbed
    rungs = [[run.record.accuracy for run in runs] for runs in found.runs.values()]
    assert all(len(rung) == 2 for rung in rungs)
    spread = (sum((a - b) ** 2 / 2 for a, b in rungs) / len(rungs)) ** 0.5
    for away, expected in ((1.9, True), (2.1, False)):
        judged, why = _reproduced(Reported(accuracy=0.5), [0.5 + away * spread], found)
        assert judged is expected and "our rungs'" in why
    single = replace(found, runs={name: runs[:1] for name, runs in found.runs.items()})
    assert _reproduced(Reported(accuracy=0.5), [0.5], single)[0] is None


def test_nothing_is_compared_with_a_source_of_another_size_or_on_other_data(climbed) -> None:
    found, _ = climbed
    exact = Reported(accuracy=0.9, sd=0.01)
    assert _reproduced(exact, [0.9], LadderResult(found.ladder, Scale(0.5), found.runs))[0] is None
    elsewhere = found.ladder.model_copy(update={"dataset": "mnist"})
    assert _reproduced(exact, [0.9], LadderResult(elsewhere, Scale(), found.runs)) == (
        None, "not compared: the source's data set is mnist")
    for runs in found.runs.values():
        assert all(run.record.data.official for run in runs)
    run = found.runs["base"][0]
    data = run.record.data.model_copy(update={"official": False})
    other = replace(run, record=run.record.model_copy(update={"data": data}))
    assert _reproduced(exact, [0.9], replace(found, runs={"base": (other,)}))[1].endswith("not the official files")


def test_a_rung_that_stops_by_the_test_set_is_marked(store, capsys) -> None:
    ladder = tiny(rungs=(Rung(name="stopping", what="stop early", change={"peek": Peek(stop_at=0.3).model_dump()}),))
    found = run_ladder(ladder, toys.dataset(), store, "cpu", seeds=1)
    base, stopping = found.findings
    assert not base.peeked and stopping.peeked and "says nothing about unseen images" in stopping.sentence
    from speedcore.cli.console import console

    printing.show(found, console(stderr=False))
    assert capsys.readouterr().out.count("†") == 2


# --- the command -----------------------------------------------------------------------------------------------------

@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        from speedcore.cli.app import app

        monkeypatch.setattr(sys, "argv", ["speedcore", *map(str, words)])
        status = run_app(app)
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return call


def test_a_ladder_over_shapes_end_to_end(cli, tmp_path: Path) -> None:
    path = file(tmp_path, 'dataset = "shapes:train=400,test=60"\nbase = "sprint"\n[start]\nname = "whole"\n[[rung]]\n'
                          'name = "half"\nwhat = "half the epochs"\nchange = { epochs = 6, min_epochs = 6 }\n')
    words = ("ladder", path, "--scale", "data=0.9,epochs=0.25,width=0.25", "--seeds", "2", "--runs", "here")
    status, out, err = cli(*words)
    assert status == 0, err
    assert "90 % of the training images, 25 % of the epochs, 25 % of the channels" in out
    assert "; 324 training images" in out  # of 360, a tenth is held out
    assert re.search(r"half +half the epochs +1\.5 ", out) and "cannot tell" in out and "- Rung whole reaches " in out
    assert err.count("[4/4]") == 1
    status, again, err = cli(*words)
    assert status == 0 and again == out and "[" not in err  # found, not trained
    (climbed,) = load_all(RunStore(tmp_path / "here"))
    assert climbed.scale == Scale(0.9, 0.25, 0.25) and len(climbed.runs["half"]) == 2


def test_the_list_names_ladders_and_rungs(cli) -> None:
    status, out, _ = cli("ladder", "--list")
    assert status == 0 and out.startswith("mnist-fast: ") and "rungs 0, 1, 2, 3, 4, 5, 6, 7, 8" in out
    assert cli("ladder")[1] == out


@pytest.mark.parametrize(("words", "said"), [
    (("nosuch",), "no ladder 'nosuch'"), (("mnist-fast", "--rungs", "9"), "no rung '9'"),
    (("mnist-fast", "--scale", "2"), "--scale '2'"), (("mnist-fast", "--within", "soon"), "--within 'soon'"),
    (("mnist-fast", "--dataset", "mnits"), "unknown data set"), (("mnist-fast", "--seeds", "0"), "seeds"),
    (("mnist-fast", "--dataset", "shapes:train=300,test=60", "--scale", "0.1"), "impossible: rung '0'")])
def test_mistakes_are_one_message(cli, words: tuple[str, ...], said: str) -> None:
    status, _, err = cli("ladder", *words)
    assert status == 2 and said in err and err.count("error: ") == 1


def test_shapes_scaled_keep_their_masks() -> None:
    cut = Scale(data=0.5).dataset(make_shapes(train=40, test=10))
    assert cut.train.masks is not None and len(cut.train.masks) == 20
