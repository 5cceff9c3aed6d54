"""The ladders of the records lead exactly from the published recipe to ours, and say what changes on the way."""

from __future__ import annotations

import pytest

from speedcore import ladders, recipes
from speedcore.recipe import AverageConfig, DavidNetConfig, MuonConfig, SGDConfig
from speedcore.recipe.between import Step, rungs_between
from speedcore.recipe.ladder import Ladder
from tests.speedcore import toys


@pytest.mark.parametrize(("name", "dataset", "base", "end"), [
    ("record", "cifar10", "airbench94-muon", "record"), ("record-fashion-mnist", "fashion-mnist", "airbench94-muon", "record"),
    ("airbench", "cifar10", "airbench94", "airbench94-muon")])
def test_a_ladder_leads_from_one_recipe_to_the_other(name: str, dataset: str, base: str, end: str) -> None:
    ladder = ladders.get(name)
    found = list(ladder.recipes.values())
    assert ladder.dataset == dataset
    assert found[0].hash == recipes.get(base, dataset).hash
    assert found[-1].hash == recipes.get(end, dataset).hash
    assert len({recipe.hash for recipe in found}) == len(found) > 2
    assert all(rung.what for rung in ladder.steps)


def test_smaller_batches_keep_the_rates_of_an_image() -> None:
    ladder = ladders.get("record-fashion-mnist")
    base, small = ladder.recipes[ladder.start.name], ladder.recipes["small-batches"]
    assert small.batch_size == recipes.get("record", "fashion-mnist").batch_size
    for rate in ("head_lr", "bias_lr", "decay"):
        an_image = getattr(base.optimizer, rate) / base.batch_size
        assert getattr(small.optimizer, rate) / small.batch_size == pytest.approx(an_image)
    assert small.optimizer.whiten_bias.lr / small.batch_size == pytest.approx(base.optimizer.whiten_bias.lr / base.batch_size)
    assert small.optimizer.lr == base.optimizer.lr  # a length relative to the filter: no matter of the batch


START = toys.recipe(name="start", epochs=4.0, min_epochs=1.0, label_smoothing=0.0)


def path(end, *steps: Step) -> Ladder:
    return Ladder(name="path", dataset="toy", base=START, rungs=rungs_between(START, end, steps))


def test_steps_that_change_nothing_are_passed_over_and_what_no_step_names_is_added() -> None:
    end = START.changed(epochs=2.0, label_smoothing=0.2, average=AverageConfig(decay=0.9),
                        network=START.network.model_copy(update={"activation": "silu", "logit_scale": 0.5}))
    ladder = path(end, Step("length", "{end.epochs:g} epochs for {start.epochs:g}", ("epochs",)),
                  Step("idle", "x", ("precision",)), Step("scale", "{told}", ("network.logit_scale",)))
    assert [rung.name for rung in ladder.rungs] == ["length", "scale", "label-smoothing", "average", "rest-of-network"]
    assert list(ladder.recipes.values())[-1].hash == end.hash
    told = {rung.name: rung.what for rung in ladder.rungs}
    assert told["length"] == "2 epochs for 4"
    assert told["scale"] == f"network logit scale 0.5 for {START.network.logit_scale:.6g}"
    assert told["label-smoothing"] == "label smoothing 0.2 for 0"
    assert told["average"] == f"average ({end.average.in_words()}) for none"


def test_what_only_a_plan_reads_is_no_rung_of_its_own() -> None:
    shorter = START.changed(epochs=2.0, min_epochs=2.0, label_smoothing=0.2)
    ladder = path(shorter, Step("length", "", ("epochs",)), Step("smooth", "", ("label_smoothing",)))
    assert ladder.rungs[0].change == {"epochs": 2.0, "min_epochs": 2.0}
    same = START.changed(min_epochs=2.0, label_smoothing=0.2)
    ladder = path(same, Step("smooth", "", ("label_smoothing",)))
    assert [rung.change for rung in ladder.rungs] == [{"label_smoothing": 0.2, "min_epochs": 2.0}]
    assert list(ladder.recipes.values())[-1].hash == same.hash


def test_another_kind_of_table_is_one_change() -> None:
    assert isinstance(START.optimizer, SGDConfig)
    end = START.changed(optimizer=MuonConfig(bias_lr=1.0, head_lr=2.0), network=DavidNetConfig(width=0.25))
    ladder = path(end, Step("muon", "", ("optimizer",)), Step("widths", "", ("network.widths",)))
    assert [rung.name for rung in ladder.rungs] == ["muon", "rest-of-network"]
    assert list(ladder.recipes.values())[-1].hash == end.hash
