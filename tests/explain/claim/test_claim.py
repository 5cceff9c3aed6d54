"""The claim as it is run: arms, pairs, outcomes and their families, at a tiny size and on values made by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from explain import explain_run
from explain.claim import claim as registered
from explain.claim.claim import arms
from explain.claim.preregistration import Outcome, preregistration
from explain.claim.verdicts import ClaimRecord, DatasetRecord, load_all, null_differences, rows, verdicts
from explain.models import ExplainError
from explain.studies import measuring
from explain.studies.__main__ import app
from explain.studies.measuring import value
from speedcore.data import Split, make_shapes
from speedcore.errors import Notice
from speedcore.recipe import Augment, TTAConfig
from speedcore.store import records as sealed
from speedcore.store.runs import RunStore
from tests.explain.conftest import RECIPE

PLAN = preregistration()
TINY = """base = "sprint"
dataset = "shapes"
epochs = 2
min_epochs = 1
batch_size = 50
val_images = 0
[network]
kind = "recordnet"
widths = [4, 4]
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="module")
def shapes_as_registered():
    return replace(make_shapes(100, 40), name="shapes")


@pytest.fixture(scope="module")
def photographs(shapes_as_registered):
    """Images of which nobody knows what the object is."""
    d = shapes_as_registered
    return replace(d, name="cifar10", train=Split(d.train.images, d.train.labels), test=Split(d.test.images, d.test.labels))


@pytest.fixture(scope="module")
def done(recipe, shapes_as_registered, tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("claim"))
    found = registered.study(PLAN, [shapes_as_registered], store, recipe, seeds=1, images_per_class=1)
    assert found.left_out == ()
    return store, found.record, found.path


def test_arms_are_none_the_recipe_and_its_registered_parts() -> None:
    made = arms(PLAN, "shapes", RECIPE, parts=True)
    assert list(made) == ["none", "with", "crop", "flip", "cutout", "all"]
    assert not made["none"].augment.any and made["with"] == RECIPE
    assert made["crop"].augment == Augment(crop=2) and made["all"].augment == Augment(crop=2, flip="random", cutout=8)
    assert {r.changed(augment={}, tta={}).hash for r in made.values()} == {RECIPE.changed(augment={}, tta={}).hash}
    assert list(arms(PLAN, "mnist", RECIPE, parts=True)) == ["none", "with", "crop", "cutout", "all"]
    assert list(arms(PLAN, "shapes", RECIPE, parts=False)) == ["none", "with"]


def test_every_registered_outcome_is_measured_once(done, monkeypatch, recipe, shapes_as_registered) -> None:
    store, record, path = done
    one, logical = record.datasets["shapes"], PLAN.claims["logical"]
    assert set(one.values) == {o.name for o in (logical.primary, *logical.secondary)}
    assert list(one.values["mass"]) == ["with", "crop", "flip", "cutout", "all"] and list(one.values["rank"]) == ["with"]
    assert len(set(key for keys in one.runs.values() for key in keys)) == 6
    steps = {store.find(key).record.steps for keys in one.runs.values() for key in keys}
    assert len(steps) == 1 and one.recipe.tta == TTAConfig()
    without, augmented = (store.find(one.runs[arm][0]) for arm in ("none", "with"))
    explained = [explain_run(run, shapes_as_registered, store.root, images_per_class=1) for run in (without, augmented)]
    assert one.values["mass"]["with"][0] == tuple(e.record.layers["middle"].score.score for e in explained)
    assert sealed.read(path, ClaimRecord) == record
    monkeypatch.setattr("explain.studies.measuring._measure", None)  # measuring or training anything again would fail
    monkeypatch.setattr("speedcore.training.loop.train", None)
    again = registered.study(PLAN, [shapes_as_registered], store, recipe, seeds=1, images_per_class=1)
    assert (again.record.datasets, again.path) == (record.datasets, path)
    # What was measured stays on record, whatever less is asked for later.
    less = registered.study(PLAN, [shapes_as_registered], store, recipe, seeds=1, parts=False, match=False, images_per_class=1)
    assert (less.record.datasets, less.path) == (record.datasets, path)


def test_null_controls_stand_beside_the_outcomes(done, shapes_as_registered) -> None:
    store, record, _ = done
    one, logical = record.datasets["shapes"], PLAN.claims["logical"]
    assert set(one.nulls) == {o.name for o in (logical.primary, *logical.secondary)} - {"mass, accuracy matched"}
    explained = [explain_run(store.find(one.runs[arm][0]), shapes_as_registered, store.root, images_per_class=1)
                 for arm in ("none", "with")]
    for control in ("wrong_class", "another_image"):
        pair = tuple(e.record.layers["middle"].controls[control].score for e in explained)
        assert one.nulls["mass"][control] == (pair,)
        assert null_differences(one, logical.primary)[control] == ([] if None in pair else [pair[1] - pair[0]])
    # Ranks of another image's map, by hand: the fixed cycle of ten images.
    from explain.attribution.masks import foreground
    from explain.attribution.methods import heatmaps
    from explain.metrics import another_image, relevance_rank
    from explain.selection import first_of_each_class
    from speedcore.techniques.augment import Normalise

    run, rows_ = store.find(one.runs["with"][0]), first_of_each_class(shapes_as_registered.test.labels, 1)
    images = Normalise.of(run.record.data)(shapes_as_registered.test.images[rows_])
    place = explained[1].record.layers["middle"]
    maps = heatmaps(run.network(), images, shapes_as_registered.test.labels[rows_], [place.module])[place.module][:, 0]
    ranks = relevance_rank(maps[another_image(10)], foreground(shapes_as_registered, rows_).masks, place.extent)
    assert one.nulls["rank"]["another_image"][0][1] == pytest.approx(float(ranks.nanmean()), abs=1e-6)


def test_matched_checkpoints_differ_by_less_than_was_registered(done) -> None:
    store, record, _ = done
    one = record.datasets["shapes"]
    accuracy = [store.find(one.runs[arm][0]).record.plain_accuracy for arm in ("none", "with")]
    ((without, augmented),) = one.values["mass, accuracy matched"]["with"]
    found = [run.record for run in store if run.record.arm.endswith("-matched")]
    if abs(accuracy[0] - accuracy[1]) <= PLAN.pairs.accuracy_match:
        assert not found and (without, augmented) == one.values["mass"]["with"][0]
    else:
        better = "with" if accuracy[1] > accuracy[0] else "none"
        assert {r.arm for r in found} == {f"{better}-matched"} and 1 <= len(found) <= 4
        hits = [r for r in found if abs(r.plain_accuracy - min(accuracy)) <= PLAN.pairs.accuracy_match]
        assert (None in (without, augmented)) == (not hits)
        assert max(r.recipe.epochs for r in found) < one.recipe.epochs


def test_measures_of_many_passes_take_fewer_images(done, shapes_as_registered, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(measuring, "_FEW", {"deletion": 2, "occlusion_agreement": 1})
    run, images = done[0].find(done[1].datasets["shapes"].runs["none"][0]), {}
    for measure, better in (("deletion", "lower"), ("occlusion_agreement", "higher"), ("flip_consistency", "higher")):
        outcome = Outcome(name=measure, measure=measure, better=better, bound=0.1)
        value(run, (run, run), shapes_as_registered, outcome, RunStore(tmp_path), "cpu", 3)
        (kept_,) = (tmp_path / "studies").glob(f"outcome-*-{measure}-*/result.json")
        images[measure] = sealed.read(kept_, measuring.Kept).images
    # A class of which there are fewer gives all that it has.
    of_a_class = shapes_as_registered.test.labels.bincount()
    assert images == {measure: of_a_class.clamp(max=most).sum().item() for measure, most in
                      (("deletion", 2), ("occlusion_agreement", 1), ("flip_consistency", 3))}
    assert images["occlusion_agreement"] < images["deletion"] < images["flip_consistency"]


def test_photographs_are_asked_for_stability_alone(photographs, recipe, tmp_path) -> None:
    store = RunStore(tmp_path)
    record = registered.study(PLAN, [photographs], store, recipe, seeds=1, parts=False, match=False, images_per_class=1).record
    one = record.datasets["cifar10"]
    assert {name: set(controls) for name, controls in one.nulls.items()} == {
        "occlusion": {"wrong_class", "another_image"}, "flip": {"wrong_class", "another_image"},
        "deletion": {"another_image"}, "insertion": {"another_image"}}
    assert set(one.values) == {"occlusion", "flip", "deletion", "insertion"}
    run = store.find(one.runs["none"][0])
    explained = explain_run(run, photographs, store.root, images_per_class=1)
    assert one.values["flip"]["with"][0][0] == pytest.approx(explained.record.layers["middle"].flip_consistency)
    assert all(0 <= v <= 1 for name in ("deletion", "insertion") for v in one.values[name]["with"][0] if v is not None)
    (found,) = verdicts(record)
    assert found.kind == "stability" and found.primary["cifar10"].verdict == "not testable"
    outcome = Outcome(name="x", measure="relevance_rank", better="higher", bound=0.1)
    with pytest.raises(ExplainError, match="no object masks"):
        value(run, (run, run), photographs, outcome, store, "cpu", 1)
    with pytest.raises(ExplainError, match="not the outcome of a single run"):
        value(run, (run, run), photographs, outcome.model_copy(update={"measure": "seed_consistency"}), store, "cpu", 1)


def hand_made() -> ClaimRecord:
    """Ten pairs on two data sets: all in favour of the claim by a tenth on one, within a hundredth on the other."""
    up, same = tuple((0.2, 0.3 + i / 1000) for i in range(10)), tuple((0.2, 0.2 + (-1) ** i / 100) for i in range(10))
    logical = PLAN.claims["logical"]

    def one(pairs, parts) -> DatasetRecord:
        values = {o.name: {"with": pairs} for o in (logical.primary, *logical.secondary)}
        values["mass"] |= {part: pairs for part in parts}
        values["pointing"] = {"with": (*pairs[:8], (None, 0.1), (0.1, None))}
        return DatasetRecord(recipe=RECIPE, runs={}, values=values)

    return ClaimRecord(preregistration=PLAN, images_per_class=100, device="cpu", provenance={},
                       datasets={"shapes": one(up, ("crop", "flip")), "mnist": one(same, ("crop",))})


def test_verdicts_are_corrected_within_their_families() -> None:
    (found,) = verdicts(hand_made())
    shapes, mnist = found.primary["shapes"], found.primary["mnist"]
    # Ten that agree: 2/1024, doubled for two data sets; the equivalence of the other one: 1/1024, doubled.
    assert (shapes.verdict, shapes.p_holm, shapes.n) == ("supported", 4 / 1024, 10)
    assert (mnist.verdict, mnist.p_equivalence_holm) == ("equivalent within bounds", 2 / 1024)
    # Five secondary outcomes of one data set, the one with eight pairs the largest p: 2/256.
    of_shapes = found.secondary["shapes"]
    assert len(of_shapes) == 5 and of_shapes["pointing"].n == 8 and of_shapes["pointing"].p_holm == 10 / 1024
    assert of_shapes["rank"].p_holm == 10 / 1024 and of_shapes["rank"].bound == 0.03
    # Three parts on two data sets are one family.
    assert list(found.parts) == ["shapes: crop", "shapes: flip", "mnist: crop"]
    assert found.parts["shapes: flip"].p_holm == 6 / 1024
    made = rows([found])
    assert len(made) == 2 + 10 + 3 and made[-1]["data set"] == "mnist" and made[-1]["what"] == "crop"


def test_what_is_not_registered_cannot_be_claimed(shapes_as_registered, tmp_path) -> None:
    with pytest.raises(ExplainError, match="cats is not in the preregistration"):
        registered.study(PLAN, [replace(shapes_as_registered, name="cats")], RunStore(tmp_path))
    outcome = CliRunner().invoke(app, ["claim", "--datasets", "shapes,cats", "--runs", str(tmp_path)])
    assert outcome.exit_code != 0 and "cats is not in the preregistration" in str(outcome.exception)


def test_from_the_command_line(recipe, shapes_as_registered, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("speedcore.data.loading.load", lambda name, data=None, offline=False: shapes_as_registered)
    words = ["claim", "--datasets", "shapes", "--recipe", f"shapes={recipe}", "--epochs", "shapes=1", "--parts", "none",
             "--no-match", "--images-per-class", "1", "--runs", str(tmp_path), "--device", "cpu"]
    outcome = CliRunner().invoke(app, [*words, "--seeds", "1"])
    assert outcome.exit_code == 0, outcome.output
    assert "not testable" in outcome.output and "with other numbers the verdicts are exploratory" in outcome.output
    assert {run.record.epochs for run in RunStore(tmp_path)} == {1}
    # A second pair no longer fits into no time at all; the first one stands and is shown.
    outcome = CliRunner().invoke(app, [*words, "--seeds", "2", "--within", "0.001s"])
    assert outcome.exit_code == 0 and "shapes: 1 of 2 pairs stand; the others were left out" in outcome.output
    assert len(list(RunStore(tmp_path))) == 2


@pytest.mark.parametrize(("words", "says"), [
    (["--epochs", "often"], "--epochs 'often': write a number of epochs"),
    (["--epochs", "mnist=2"], "'mnist' is none of the data sets shapes"),
    (["--recipe", "shapes=dash"], "augments nothing on shapes"),
    (["--parts", "crop,blur"], "'blur' is no registered part"),
    (["--within", "soon"], "--within 'soon' is not a duration"),
])
def test_bad_options_give_one_clear_message(words, says, shapes_as_registered, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("speedcore.data.loading.load", lambda name, data=None, offline=False: shapes_as_registered)
    outcome = CliRunner().invoke(app, ["claim", "--datasets", "shapes", "--runs", str(tmp_path), *words])
    assert outcome.exit_code != 0 and says in str(outcome.exception)


class Told:
    """A stand-in for training: says what was asked for, in order, and how long it took."""

    def __init__(self, monkeypatch, accuracy=lambda arm, seed: 0.9):
        self.order: list[tuple] = []
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(registered, "whole_run", self._run)
        monkeypatch.setattr(registered, "value", lambda run, *_: run.record.plain_accuracy)
        monkeypatch.setattr(registered, "nulls", lambda run, *_: {})
        self.accuracy = accuracy

    def _run(self, dataset, recipe, arm, seed, *_):
        self.order.append((dataset.name, arm, seed))
        record = SimpleNamespace(key=f"{dataset.name}-{arm}-{seed}", seed=seed, ledger={"train": 10.0, "load": 500.0},
                                 plain_accuracy=self.accuracy(arm, seed))
        return SimpleNamespace(record=record)


def test_what_decides_comes_first_and_seeds_are_outermost(shapes_as_registered, tmp_path, monkeypatch) -> None:
    told = Told(monkeypatch, lambda arm, seed: {"none": 0.8, "with": 0.9}.get(arm, 0.8))
    sets = [shapes_as_registered, replace(shapes_as_registered, name="mnist")]
    # One recipe for both: on digits its own augmentation is one of the parts, whose runs are then its runs.
    monkeypatch.setattr("speedcore.recipes.get", lambda name, dataset: RECIPE.changed(augment=Augment(crop=2)))
    found = registered.study(PLAN, sets, RunStore(tmp_path), seeds=2, parts=["cutout", "flip", "crop"])
    primary = [(name, arm, seed) for seed in (0, 1) for name in ("shapes", "mnist") for arm in ("none", "with")]
    matched = [(name, "with-matched", seed) for seed in (0, 1) for name in ("shapes", "mnist")]
    parts = [(name, arm, seed) for seed in (0, 1) for name, arms in
             (("shapes", ("cutout", "flip", "with")), ("mnist", ("cutout", "with"))) for arm in arms]
    assert told.order == primary + matched + parts
    values = found.record.datasets["mnist"].values["mass"]
    assert list(values) == ["with", "cutout", "crop"] and values["with"] == ((0.8, 0.9), (0.8, 0.9))
    assert found.record.datasets["shapes"].accuracies["with"] == (0.9, 0.9)


def test_what_no_longer_fits_is_left_out_and_said(shapes_as_registered, tmp_path, monkeypatch) -> None:
    told = Told(monkeypatch)
    left = iter([25.0, 19.0])  # asked before the second pair and before the third: a pair of runs takes 20 s by their ledgers
    monkeypatch.setattr(registered, "Stopwatch", lambda: SimpleNamespace(seconds=lambda: 20.0))
    found = registered.study(PLAN, [shapes_as_registered], RunStore(tmp_path), seeds=4, parts=False, match=False,
                             seconds_left=lambda: next(left))
    assert told.order == [("shapes", arm, seed) for seed in (0, 1) for arm in ("none", "with")]
    assert found.left_out == ("shapes: 2 of 4 pairs stand; the others were left out because the time ran out, and the same "
                              "command continues.",)
    assert found.record.datasets["shapes"].values["mass"]["with"] == ((0.9, 0.9), (0.9, 0.9)) and not found.record.planned
    # Later more time is given, and then less: nothing that was measured goes from the record.
    more = registered.study(PLAN, [shapes_as_registered], RunStore(tmp_path), seeds=4, parts=False, match=False)
    assert len(more.record.datasets["shapes"].runs["with"]) == 4 and more.left_out == () and more.path == found.path
    less = registered.study(PLAN, [shapes_as_registered], RunStore(tmp_path), seeds=1, parts=False, match=False)
    assert less.record.datasets == more.record.datasets
    # What stands says how long the next one will take, loading the data aside: 10 s a run.
    monkeypatch.setattr(registered._Work, "_stands", lambda self, what, seed: seed == 0)
    for seconds, pairs in ((19.0, 1), (21.0, 2)):
        told.order.clear()
        registered.study(PLAN, [shapes_as_registered], RunStore(tmp_path), seeds=2, parts=False, match=False,
                         seconds_left=lambda seconds=seconds: seconds)
        assert len(told.order) == 2 * pairs


def test_a_study_that_another_contains_is_not_shown_twice(shapes_as_registered, tmp_path, monkeypatch) -> None:
    Told(monkeypatch)
    sets, store = [shapes_as_registered, replace(shapes_as_registered, name="mnist")], RunStore(tmp_path)
    small = registered.study(PLAN, sets[:1], store, seeds=1, parts=False, match=False).record
    large = registered.study(PLAN, sets, store, seeds=2, parts=False, match=False).record
    assert list(load_all(store)) == [large]
    longer = registered.study(PLAN, sets[:1], store, seeds=3, parts=False, match=False).record
    found = list(load_all(store))
    assert sorted(len(r.datasets) for r in found) == [1, 2] and longer in found and small not in found
    assert list(load_all(RunStore(tmp_path / "nothing"))) == []
    (next((tmp_path / "studies").glob("claim-*")) / "result.json").write_text("{}")
    with pytest.warns(Notice, match="result.json is damaged.*left out"):
        assert len(list(load_all(store))) == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", ["training", "measuring", "keeping"])
def test_a_kill_at_any_point_loses_nothing_that_was_finished(at, recipe, shapes_as_registered, tmp_path, monkeypatch) -> None:
    store = RunStore(tmp_path)
    options = {"seeds": 2, "parts": False, "match": False, "images_per_class": 1}
    place = {"training": "speedcore.training.loop.train", "measuring": "explain.studies.measuring._measure",
             "keeping": "speedcore.store.records.write"}[at]
    module, name = place.rsplit(".", 1)
    real, calls = getattr(sys.modules[module], name), []

    def killed_the_second_time(*args, **more):
        if at != "keeping" or args[0].parent.name.startswith("claim-"):  # outcomes are written too
            calls.append(args)
        if len(calls) == 2:
            raise Killed
        return real(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(place, killed_the_second_time)
        with pytest.raises(Killed):
            registered.study(PLAN, [shapes_as_registered], store, recipe, **options)
    standing = {run.record.key: (run.path / "run.json").stat().st_mtime_ns for run in store}
    assert standing
    found = registered.study(PLAN, [shapes_as_registered], store, recipe, **options)
    assert len(found.record.datasets["shapes"].values["mass"]["with"]) == 2
    assert {key: (store.path_of(key) / "run.json").stat().st_mtime_ns for key in standing} == standing
