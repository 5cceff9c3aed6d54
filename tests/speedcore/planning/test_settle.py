"""A recipe that leaves its arithmetic to the machine is settled before anything is named after it."""

from __future__ import annotations

import pytest
import torch

from speedcore.machine import arithmetic
from speedcore.machine.arithmetic import Decision
from speedcore.planning.run import whole_key
from speedcore.store.runs import RunStore
from speedcore.training import settle as settling
from speedcore.training.loop import train
from speedcore.training.settle import settle, settled
from speedcore.training.state import TrainState
from tests.speedcore import toys

CPU = torch.device("cpu")
AUTO = toys.recipe(precision="auto", channels_last=True)


@pytest.fixture
def quickest(monkeypatch):
    """Decides races: quickest("bf16")."""
    def use(precision: str) -> None:
        seconds = {name: 0.1 if name == precision else 0.8 for name in ("fp32", "bf16")}
        monkeypatch.setattr(arithmetic, "decide", lambda device, what, lap: Decision(precision, seconds))
    return use


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_settled_is_the_recipe_that_names_that_arithmetic(quickest, precision: str) -> None:
    quickest(precision)
    found = settle(AUTO, toys.dataset(), CPU)
    assert found.recipe == AUTO.changed(precision=precision)
    assert found.recipe.hash in AUTO.hashes and AUTO.hash in AUTO.hashes
    assert f"trained in {precision}: on this processor" in found.why


def test_a_recipe_that_names_its_arithmetic_keeps_it_and_is_told_the_cost(quickest) -> None:
    quickest("fp32")
    fixed = AUTO.changed(precision="bf16")
    found = settle(fixed, toys.dataset(), CPU)
    assert found.recipe is fixed and settled(fixed, toys.dataset(), CPU) is fixed
    assert found.why == "trained in bf16, as the recipe says: on this processor that takes 8 × as long as fp32"


@pytest.mark.parametrize("wanted", ["amx", "winograd8"])
def test_ways_of_bf16_alone_become_the_quickest_of_fp32(quickest, wanted: str) -> None:
    recipe = AUTO.changed(convolutions=wanted)
    for precision, way in (("bf16", wanted), ("fp32", "auto")):
        quickest(precision)
        found = settled(recipe, toys.dataset(), CPU)
        assert (found.precision, found.convolutions) == (precision, way) and found.hash in recipe.hashes


def test_a_run_holds_what_it_came_to_and_is_named_after_it(quickest, tmp_path) -> None:
    quickest("fp32")
    data = toys.dataset()
    key = whole_key(data, AUTO, "with", 0)
    assert key == whole_key(data, AUTO.changed(precision="fp32"), "with", 0)
    assert key != whole_key(data, AUTO.changed(precision="bf16"), "with", 0)
    record = train(data, toys.job(AUTO, 2), RunStore(tmp_path)).record
    assert record.recipe.precision == "fp32" and record.recipe_hash == AUTO.changed(precision="fp32").hash
    assert record.provenance["arithmetic"] == "fp32"
    assert record.provenance["arithmetic_reason"] == "trained in fp32: on this processor bf16 takes 8 × as long"


def test_a_network_cannot_be_stepped_before_it_is_settled() -> None:
    with pytest.raises(ValueError, match="settle its precision first"):
        TrainState(toys.dataset(), AUTO, 0, CPU)


def test_a_real_race_times_the_recipes_own_network_and_leaves_no_trace(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path))
    before, raced = torch.get_rng_state(), []
    race = arithmetic.race
    monkeypatch.setattr(arithmetic, "race", lambda names, lap: raced.append(race(names, lap)) or raced[-1])
    found = settle(AUTO, toys.dataset(), CPU)
    again = settle(AUTO.changed(epochs=7), toys.dataset(name="other"), CPU)
    assert torch.equal(torch.get_rng_state(), before)
    assert len(raced) == 1 and set(raced[0].seconds) == {"fp32", "bf16"} and min(raced[0].seconds.values()) > 0
    assert found.recipe.precision == raced[0].precision == again.recipe.precision
    assert settling.Settled(found.recipe, found.why) == found
