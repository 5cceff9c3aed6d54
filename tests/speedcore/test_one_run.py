"""One run: a recipe that is named goes to the loop without a plan, is priced at most once, and is found again."""

from __future__ import annotations

import math

import pytest
import torch

import speedcore
from speedcore import recipes
from speedcore.clock import POLICIES, Budget
from speedcore.errors import BudgetError
from speedcore.planning import costs, planned_runs
from speedcore.planning.costs import Throughput
from speedcore.planning.plan import make_plan
from speedcore.planning.request import AUTO, Request
from speedcore.planning.run import affordable_steps, whole_run
from speedcore.store.runs import RunStore
from tests.speedcore import toys

DATA = toys.dataset()
RECIPE = toys.recipe()  # twelve steps in three epochs


@pytest.fixture
def priced(monkeypatch) -> list[str]:
    """Names of the recipes that were timed; a step takes 0.1 s, a forward pass nothing."""
    names: list[str] = []

    def measure(dataset, recipe, device) -> Throughput:
        names.append(recipe.name)
        return Throughput(0.1, 0.0)

    monkeypatch.setattr(costs, "measure", measure)
    return names


def test_a_run_is_trained_once_and_differs_by_what_is_asked(store: RunStore, priced) -> None:
    run = speedcore.run(DATA, RECIPE, budget=100, seed=3, store=store)
    assert (run.record.seed, run.record.arm, run.record.steps, run.record.budget_seconds) == (3, "with", 12, 100)
    assert speedcore.run(DATA, RECIPE, budget=100, seed=3, store=store).record == run.record
    assert priced == ["toy"]
    other = speedcore.run(DATA, RECIPE, budget=100, seed=3, arm="without", store=store)
    assert other.record.arm == "without" and not other.record.recipe.augment.any
    assert len(list(store)) == 2


def test_a_named_recipe_needs_no_plan(store: RunStore, priced) -> None:
    speedcore.run(DATA, RECIPE, budget=100, store=store)
    assert not (store.root / "plans").exists()


def test_without_a_limit_nothing_is_priced(store: RunStore, priced) -> None:
    run = speedcore.run(DATA, RECIPE, budget=None, store=store)
    assert run.record.steps == 12 and priced == []
    assert whole_run(DATA, RECIPE, "with", 0, store).record == run.record


@pytest.mark.parametrize("arm", ["with", "without"])
def test_a_build_finds_a_run_that_was_made_alone(store: RunStore, priced, arm: str) -> None:
    """Twelve steps of 0.1 s fit into 100 s and into any plan."""
    alone = speedcore.run(DATA, RECIPE, budget=100, seed=1, arm=arm, store=store, device="cpu")
    request = Request(RECIPE, 100.0, within=None, seeds=2, device="cpu")
    pair = planned_runs.pair(make_plan([DATA], request, store).planned[0], request, 1)
    assert alone.record.key in [job.key for job in pair]


def test_a_budget_is_filled_as_far_as_it_is_planned() -> None:
    """96 % of a second are nine steps of 0.1 s."""
    cpu = torch.device("cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(costs, "measure", lambda *_: Throughput(0.1, 0.0))
        assert affordable_steps(DATA, RECIPE, Budget(1.0), cpu) == 9
        assert affordable_steps(DATA, RECIPE, Budget(1000.0), cpu) == 12
        # Three seconds of loading and 0.8 s around the steps count under the strict rule.
        loaded = toys.dataset(seconds={"load": 3.0})
        assert affordable_steps(loaded, RECIPE, Budget(4.8, POLICIES["everything"]), cpu) == math.floor(0.96 * (4.8 - 3.8) / 0.1)


def test_fewer_steps_than_the_floor_are_an_error_before_anything_is_trained(store: RunStore, priced) -> None:
    with pytest.raises(BudgetError, match="toy: 0.5 s hold only 4 steps of recipe 'toy' .*, fewer than the 6"):
        speedcore.run(DATA, RECIPE.changed(min_steps=6), budget=0.5, store=store)
    assert list(store) == []


def test_a_batch_larger_than_the_data_is_an_error(store: RunStore) -> None:
    with pytest.raises(BudgetError, match="every batch is larger than the training split.*batch_size"):
        speedcore.run(DATA, toys.recipe(batch_size=161), store=store)


def test_auto_is_the_recipe_that_a_build_would_choose(store: RunStore, priced, monkeypatch) -> None:
    """Of a hundred, forty, sixteen and eight steps, a budget of 5 s holds forty of 0.1 s."""
    epochs = dict(zip(AUTO, (25, 10, 4, 2), strict=True))
    monkeypatch.setattr(recipes, "BUILT_IN", {name: {"*": toys.recipe(name=name, epochs=count, min_epochs=1)}
                                              for name, count in epochs.items()})
    run = speedcore.run(DATA, budget=5, store=store)
    assert (run.record.recipe.name, run.record.planned_steps) == ("record", 40)
    timed = len(priced)
    assert speedcore.run(DATA, budget=5, store=store).record == run.record and len(priced) == timed
    assert speedcore.run(DATA, "record", budget=5, store=store).record == run.record
