"""The range test leaves no trace, and its readings are those of a curve that can be worked out."""

from __future__ import annotations

import json
import random
from itertools import islice

import numpy as np
import pytest
import torch

from speedcore.data.batches import Batches
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.recipe import Augment, Recipe, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.studies import lr_finder
from speedcore.studies.lr_finder import RangeTest, drawing, range_test, save
from speedcore.techniques.augment import Normalise
from speedcore.training.state import TrainState
from tests.speedcore import toys


def trained(between) -> tuple[dict, list, list]:
    """Ten steps with `between` called after five: (weights, optimiser buffers, the labels seen)."""
    data, recipe = toys.dataset(), toys.recipe()
    state = TrainState(data, recipe, 0, torch.device("cpu"))
    stream, seen = iter(Batches(data.train, recipe.augment, 40, 0, Normalise.of(data))), []
    state.network.train()
    for step in range(10):
        if step == 5:
            between(data, recipe)
        images, labels = next(stream)
        seen += labels.tolist()
        state.step(images, labels, 0.5)
    return state.network.state_dict(), [v for part in state.optimizer._parts for v in part._velocity], seen


def test_a_run_with_a_range_test_in_between_is_the_run_without_to_the_bit() -> None:
    plain = trained(lambda data, recipe: None)
    interrupted = trained(lambda data, recipe: range_test(data, recipe, seed=0, steps=12))
    assert plain[2] == interrupted[2]
    assert all(torch.equal(a, b) for a, b in zip(plain[0].values(), interrupted[0].values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(plain[1], interrupted[1], strict=True))


def test_no_generator_moves() -> None:
    _ = torch.rand(3), np.random.rand(3), random.random()  # no generator is where a seed would put it
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), np.random.get_state()[2], random.getstate()
    range_test(toys.dataset(), toys.recipe(), steps=12)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all() and np.random.get_state()[2] == before[2]
    assert random.getstate() == before[3]


def test_the_same_seed_gives_the_same_curve() -> None:
    one, again, other = (range_test(toys.dataset(), toys.recipe(), seed=s, steps=12) for s in (0, 0, 1))
    assert one == again
    assert one.losses != other.losses


def test_rates_rise_geometrically_between_the_bounds() -> None:
    result = range_test(toys.dataset(), toys.recipe(optimizer=SGDConfig(lr=0.01)), steps=11, lowest=1e-3, highest=0.1)
    assert result.rates == pytest.approx([1e-5 * 100 ** (i / 10) for i in range(11)])
    assert result.peak == 0.01


class Quadratic:
    """Stands in for `Trainee`: loss w²/2 of one weight, plain gradient descent, so that beyond a rate of 2 it grows."""

    def __init__(self, dataset, recipe, seed, device):
        self.network = torch.nn.Linear(1, 1)
        self.normalise = Normalise.of(dataset)
        self.optimizer = type("Optimizer", (), {"lr": 1.0})
        self.w = 1.0

    def whiten(self, split) -> None: ...

    def step(self, images, labels, factor: float):
        loss = self.w**2 / 2
        self.w -= factor * self.w
        return torch.tensor(loss), None


def test_on_a_quadratic_the_readings_lie_where_theory_puts_them(monkeypatch) -> None:
    """Descent on w²/2 halves w at a rate of 0.5, ends it at 1, and diverges beyond 2."""
    monkeypatch.setattr(lr_finder, "TrainState", Quadratic)
    result = range_test(toys.dataset(), toys.recipe(), steps=200, lowest=1e-3, highest=100)
    assert 0.005 < result.steepest < 1
    assert result.highest is not None and 0.3 < result.highest < 20
    assert result.steepest < result.highest
    assert result.rates[-1] < 100  # it stopped once the loss exploded


def test_a_loss_that_never_turns_has_no_highest_rate(monkeypatch) -> None:
    monkeypatch.setattr(lr_finder, "TrainState", Quadratic)
    result = range_test(toys.dataset(), toys.recipe(), steps=50, lowest=1e-3, highest=0.5)
    assert result.highest is None
    assert len(result.rates) == 50


def test_a_real_network_falls_and_then_explodes() -> None:
    data = toys.dataset()
    result = range_test(data, toys.recipe(augment=Augment()), steps=60)
    assert min(result.losses) < result.losses[0]
    assert result.rates[0] <= result.steepest <= result.rates[-1]


def test_data_that_say_nothing_leave_a_curve_all_the_same() -> None:
    grey = Split(torch.full((40, 1, 16, 16), 7, dtype=torch.uint8), torch.arange(40) % 2)
    data = Dataset.make("grey", ("a", "b"), grey, grey, Provenance("made in a test", False))
    result = range_test(data, toys.recipe(batch_size=20), steps=10)
    assert len(result.losses) == len(result.rates) >= 1


def result_of(losses: list[float]) -> RangeTest:
    return RangeTest("toy", "toy", "abc", 0, tuple(10.0**i for i in range(len(losses))), tuple(losses), 1.0, 1.0, None)


@pytest.mark.parametrize("count", [1, 2, 20, 70, 200])
def test_the_drawing_shows_the_whole_curve(count: int) -> None:
    losses = [2.0 - i / count for i in range(count)]
    lines = drawing(result_of(losses), height=5, width=70)
    marks = [(x, y) for y, line in enumerate(lines[:5]) for x, mark in enumerate(line[10:]) if mark == "•"]
    columns = sorted(marks)
    assert len(columns) == min(count, 70)
    assert columns[0][1] == (0 if count > 1 else 4)    # the first loss is the highest: the top row
    assert columns[-1][1] == 4                          # the last is the lowest: the bottom row


def test_the_result_is_saved_beside_the_runs(store: RunStore) -> None:
    result, data, recipe = result_of([2.0, 1.0]), toys.dataset(), toys.recipe()
    path = save(result, data, recipe, store)
    assert path.parent.parent == store.root / "studies"
    content = json.loads(path.read_text())
    assert content["losses"] == [2.0, 1.0] and content["provenance"]["threads"] == 1
    assert Recipe.model_validate(content["recipe"]).hash == recipe.hash and content["fingerprint"] == data.fingerprint
    assert list(store) == []
    assert save(result, data, recipe, store) == path  # again, over the old one


def test_batches_of_the_test_are_its_own() -> None:
    data, recipe = toys.dataset(), toys.recipe()
    stream = iter(Batches(data.train, recipe.augment, 40, 0, Normalise.of(data)))
    first = next(stream)[1]
    range_test(data, recipe, steps=10)
    again = list(islice(iter(Batches(data.train, recipe.augment, 40, 0, Normalise.of(data))), 2))
    assert torch.equal(first, again[0][1]) and torch.equal(next(stream)[1], again[1][1])
