"""The claim as it is run: arms, pairs, outcomes and their families, at a tiny size and on values made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from explain import explain_run
from explain.models import ExplainError
from explain.preregistration import Outcome, preregistration
from explain.studies import claim as registered
from explain.studies.__main__ import app
from explain.studies.claim import ClaimRecord, DatasetRecord, arms, verdicts
from explain.studies.measuring import value
from speedcore import executors
from speedcore.data import Split, make_shapes
from speedcore.recipe import Augment, Views
from speedcore.runs import RunStore
from tests.explain.conftest import RECIPE

PLAN = preregistration()
TINY = """base = "sprint"
dataset = "shapes"
epochs = 2
min_epochs = 1
batch_size = 50
validation = 0
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
    return store, *registered.study(PLAN, [shapes_as_registered], store, recipe, seeds=1, images_per_class=1)


def test_arms_are_none_the_recipe_and_its_registered_parts() -> None:
    made = arms(PLAN, "shapes", RECIPE, parts=True)
    assert list(made) == ["none", "with", "crop", "flip", "cutout", "all"]
    assert not made["none"].augment.any and made["with"] == RECIPE
    assert made["crop"].augment == Augment(crop=2) and made["all"].augment == Augment(crop=2, flip="random", cutout=8)
    assert {r.changed(augment={}, test_time={}).hash for r in made.values()} == {RECIPE.changed(augment={}, test_time={}).hash}
    assert list(arms(PLAN, "mnist", RECIPE, parts=True)) == ["none", "with", "crop", "cutout", "all"]
    assert list(arms(PLAN, "shapes", RECIPE, parts=False)) == ["none", "with"]


def test_every_registered_outcome_is_measured_once(done, monkeypatch, recipe, shapes_as_registered) -> None:
    store, record, path = done
    one, logical = record.datasets["shapes"], PLAN.claims["logical"]
    assert set(one.values) == {o.name for o in (logical.primary, *logical.secondary)}
    assert list(one.values["mass"]) == ["with", "crop", "flip", "cutout", "all"] and list(one.values["rank"]) == ["with"]
    assert len(set(key for keys in one.runs.values() for key in keys)) == 6
    steps = {store.find(key).record.steps for keys in one.runs.values() for key in keys}
    assert len(steps) == 1 and one.recipe.test_time == Views()
    without, augmented = (store.find(one.runs[arm][0]) for arm in ("none", "with"))
    explained = [explain_run(run, shapes_as_registered, store.root, images_per_class=1) for run in (without, augmented)]
    assert one.values["mass"]["with"][0] == tuple(e.record.layers["middle"].score.score for e in explained)
    assert ClaimRecord.model_validate_json(path.read_text()) == record
    monkeypatch.setattr("explain.studies.measuring._measure", None)  # measuring or training anything again would fail
    monkeypatch.setattr("speedcore.training.train", None)
    again, same = registered.study(PLAN, [shapes_as_registered], store, recipe, seeds=1, images_per_class=1)
    assert (again.datasets, same) == (record.datasets, path)


def test_matched_checkpoints_differ_by_less_than_was_registered(done) -> None:
    store, record, _ = done
    one = record.datasets["shapes"]
    accuracy = [store.find(one.runs[arm][0]).record.metrics.test_accuracy for arm in ("none", "with")]
    ((without, augmented),) = one.values["mass, accuracy matched"]["with"]
    found = [run.record for run in store if run.record.arm.endswith("-matched")]
    if abs(accuracy[0] - accuracy[1]) <= PLAN.pairs.accuracy_match:
        assert not found and (without, augmented) == one.values["mass"]["with"][0]
    else:
        better = "with" if accuracy[1] > accuracy[0] else "none"
        assert {r.arm for r in found} == {f"{better}-matched"} and 1 <= len(found) <= 4
        hits = [r for r in found if abs(r.metrics.test_accuracy - min(accuracy)) <= PLAN.pairs.accuracy_match]
        assert (None in (without, augmented)) == (not hits)
        assert max(r.recipe.epochs for r in found) < one.recipe.epochs


def test_photographs_are_asked_for_stability_alone(photographs, recipe, tmp_path) -> None:
    store = RunStore(tmp_path)
    record, _ = registered.study(PLAN, [photographs], store, recipe, seeds=1, parts=False, match=False, images_per_class=1)
    one = record.datasets["cifar10"]
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
    rows = registered.rows([found])
    assert len(rows) == 2 + 10 + 3 and rows[-1]["data set"] == "mnist" and rows[-1]["what"] == "crop"


def test_what_is_not_registered_cannot_be_claimed(shapes_as_registered, tmp_path) -> None:
    with pytest.raises(ExplainError, match="cats is not in the preregistration"):
        registered.study(PLAN, [replace(shapes_as_registered, name="cats")], RunStore(tmp_path))
    outcome = CliRunner().invoke(app, ["claim", "--datasets", "shapes,cats", "--runs", str(tmp_path)])
    assert outcome.exit_code != 0 and "cats is not in the preregistration" in str(outcome.exception)


def test_from_the_command_line(recipe, shapes_as_registered, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("speedcore.data.loading.load", lambda name, data=None: shapes_as_registered)
    outcome = CliRunner().invoke(app, ["claim", "--datasets", "shapes", "--recipe", recipe, "--seeds", "1", "--no-parts",
                                       "--no-match", "--images-per-class", "1", "--runs", str(tmp_path), "--device", "cpu"])
    assert outcome.exit_code == 0, outcome.output
    assert "not testable" in outcome.output and "with 1 these verdicts are exploratory" in outcome.output


def test_runs_of_equal_arms_are_trained_once(recipe, shapes_as_registered, tmp_path, monkeypatch) -> None:
    """Where the recipe's augmentation is one of the parts, the part's runs are its runs."""
    trained = []
    monkeypatch.setattr(executors, "whole_run", lambda d, recipe, arm, *_: trained.append(arm) or _Stop.at(4, trained))
    work = registered._Work(PLAN, replace(shapes_as_registered, name="mnist"), RECIPE.changed(augment=Augment(crop=2)),
                            RunStore(tmp_path), "cpu", 1, None)
    with pytest.raises(_Stop):
        registered._dataset(work, 1, parts=True, match=False)
    assert trained == ["none", "with", "with", "cutout"]


class _Stop(Exception):
    @classmethod
    def at(cls, count: int, seen: list) -> None:
        if len(seen) == count:
            raise cls
