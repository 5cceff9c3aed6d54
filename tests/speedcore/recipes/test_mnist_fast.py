"""mnist-fast's nine recipes, against sizes, rates and steps worked out by hand, and the parts that they brought."""

from __future__ import annotations

import copy
import math
from itertools import islice

import pytest
import torch

from speedcore import recipes
from speedcore.clock import SOURCE_POLICIES
from speedcore.data.batches import Batches
from speedcore.data.streams import of_recipe
from speedcore.errors import RecipeError
from speedcore.networks import build, parameter_counts
from speedcore.recipe import AdadeltaConfig, Augment, AverageConfig, DigitNetConfig, Peek
from speedcore.recipe.schedules import interpolate
from speedcore.replicas.digitnet import SeededDropout
from speedcore.store.runs import RunStore
from speedcore.techniques.augment import Normalise
from speedcore.training import optimizers
from speedcore.training.loop import replay, steps_per_epoch, train
from speedcore.training.schedule import StepBudget
from speedcore.training.state import TrainState
from tests.speedcore import toys

# Filters and biases of both convolutions, then weights and biases of both linear layers.
BY_HAND = {
    0: (32 * 9 + 32) + (64 * 32 * 9 + 64) + (64 * 12 * 12 * 128 + 128) + (128 * 10 + 10),
    2: (32 * 9 + 32) + (64 * 32 * 9 + 64) + (64 * 5 * 5 * 128 + 128) + (128 * 10 + 10),
    7: (24 * 9 + 24) + (32 * 24 * 9 + 32) + (32 * 5 * 5 * 128 + 128) + (128 * 10 + 10),
    8: (24 * 25 + 24) + (32 * 24 * 9 + 32) + (32 * 5 * 5 * 256 + 256) + (256 * 10 + 10),
}


def step(number: int):
    return recipes.get(f"mnist-fast-{number}", "mnist")


def rates(number: int, images: int = 60_000) -> list[float]:
    """The rate of each training step."""
    recipe, step_budget = step(number), StepBudget(1)
    each = images // recipe.batch_size if recipe.drop_last else math.ceil(images / recipe.batch_size)
    step_budget = StepBudget(round(recipe.epochs * each))
    found = []
    while not step_budget.finished:
        found.append(recipe.optimizer.lr * interpolate(recipe.schedule.knots, step_budget.advance(), recipe.schedule.shape))
    return found


@pytest.mark.parametrize(("number", "size"), [(0, 1_199_882), (1, 1_199_882), (2, 225_034), (3, 225_034), (4, 225_034),
                                              (5, 225_034), (6, 225_034), (7, 111_002), (8, 215_194)])
def test_sizes_are_the_sources(number: int, size: int) -> None:
    found = parameter_counts(build(step(number).network, 1, (28, 28), 10))
    assert found == {"trainable": size, "frozen": 0, "buffers": 0}
    assert BY_HAND[max(n for n in BY_HAND if n <= number)] == size


def test_the_rate_falls_to_seven_tenths_after_each_epoch_and_not_a_step_earlier() -> None:
    found = rates(0)
    assert len(found) == 14 * 938  # 937 whole batches and one of 32
    for epoch in range(14):
        assert found[938 * epoch:938 * (epoch + 1)] == [pytest.approx(0.7**epoch, rel=1e-12)] * 938


def test_one_cycle_by_hand() -> None:
    found = rates(8)
    assert len(found) == 235
    # 30 % of 235 steps are 70.5; the first step is 1/70.5 of the way up half a cosine wave from .01/25.
    up = (1 - math.cos(math.pi / 70.5)) / 2
    assert found[0] == pytest.approx(0.0004 + 0.0096 * up)
    assert max(found) == pytest.approx(0.01, rel=1e-3) and found.index(max(found)) in (69, 70)
    # Half of the way down lies at 65 % of the steps.
    assert rates(6)[round(0.65 * 470) - 1] == pytest.approx((4.0 + 4.0 / 25e4) / 2, rel=0.01)
    assert found[-1] == pytest.approx(0.01 / 25 / 1e4)


def test_one_cycle_is_torchs_from_the_peak_on_and_a_step_ahead_before() -> None:
    ours = rates(8)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.01, betas=(0.7, 0.9))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=235, cycle_momentum=False)
    theirs = []
    for _ in ours:
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert ours[71:] == pytest.approx(theirs[71:], rel=1e-9)
    assert max(abs(a - b) for a, b in zip(ours[:71], theirs[:71], strict=True)) < 0.013 * 0.01
    assert optimizer.param_groups[0]["betas"] == step(8).optimizer.betas == (0.7, 0.9)


def test_adadelta_by_hand() -> None:
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    stepper = optimizers.make(AdadeltaConfig(lr=2.0), network)
    assert stepper.lr == 2.0
    weight, squares, deltas = 1.0, 0.0, 0.0
    for gradient, factor in ((0.5, 1.0), (-0.25, 0.5)):
        network.weight.grad = torch.tensor([[gradient]])
        stepper.step(factor)
        squares = 0.9 * squares + 0.1 * gradient**2
        delta = math.sqrt(deltas + 1e-6) / math.sqrt(squares + 1e-6) * gradient
        deltas = 0.9 * deltas + 0.1 * delta**2
        weight -= 2.0 * factor * delta
        assert network.weight.item() == pytest.approx(weight, rel=1e-6)
        assert network.weight.grad is None


def test_pooling_before_the_activation_is_the_same_function() -> None:
    images = torch.randn(3, 1, 28, 28)
    after, before = (build(DigitNetConfig(pool_first=first), 1, (28, 28), 10).eval() for first in (False, True))
    before.load_state_dict(after.state_dict())
    assert torch.equal(after(images), before(images))


def test_the_first_network_has_no_second_activation() -> None:
    for number, least in ((0, False), (2, True)):
        network = build(step(number).network, 1, (28, 28), 10)
        seen = network.second(network.first(torch.randn(4, 1, 28, 28)))
        assert (seen.min().item() >= 0) is least


def test_images_too_small_for_the_network_are_an_error() -> None:
    with pytest.raises(RecipeError, match="8×8"):
        build(DigitNetConfig(), 1, (8, 8), 10)


def test_dropout_drops_whole_channels_scales_the_rest_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    dropout = SeededDropout(0.25)
    before = torch.random.get_rng_state()
    seen = dropout(torch.ones(40, 50, 2, 3))
    assert torch.equal(before, torch.random.get_rng_state())
    channels = seen.flatten(2)
    assert (channels == channels[..., :1]).all()
    assert channels.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert (channels[..., 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    again = copy.deepcopy(dropout)
    assert torch.equal(again(torch.ones(40, 50, 2, 3)), seen)
    assert not torch.equal(dropout(torch.ones(40, 50, 2, 3)), seen)
    assert torch.equal(dropout.eval()(torch.ones(2, 3)), torch.ones(2, 3))


# --- order, last batch, loader ---------------------------------------------------------------------------------------

def labels(stream, count: int) -> list[list[int]]:
    return [target.tolist() for _, target in islice(stream, count)]


def test_a_fixed_order_is_one_shuffle_for_all_epochs_and_seeds() -> None:
    split = toys.dataset(train=50, classes=4).train
    split = type(split)(split.images, torch.arange(50))
    epochs = [labels(Batches(split, Augment(), 20, seed, Normalise((0.5,), (0.5,)), order="fixed", drop_last=False), 6)
              for seed in (0, 1)]
    assert epochs[0] == epochs[1] and epochs[0][:3] == epochs[0][3:]
    assert [len(batch) for batch in epochs[0][:3]] == [20, 20, 10]
    flat = sum(epochs[0][:3], [])
    assert sorted(flat) == list(range(50)) != flat


def test_what_an_epoch_holds() -> None:
    data = toys.dataset(train=50)
    assert steps_per_epoch(data, toys.recipe(batch_size=20)) == 2
    assert steps_per_epoch(data, toys.recipe(batch_size=20, drop_last=False)) == 3
    assert [step(n).drop_last for n in range(9)] == [False] * 3 + [True] * 2 + [False] * 4
    assert [step(n).order for n in range(9)] == ["shuffled"] * 3 + ["fixed"] * 6
    assert [step(n).data for n in range(9)] == ["loader"] * 3 + ["device"] * 6


def test_the_loader_brings_the_same_images_normalised() -> None:
    data = toys.dataset(train=25, size=8)
    normalise = Normalise.of(data)
    recipe = toys.recipe(batch_size=10, augment=Augment(), order="fixed", drop_last=False)
    plain = list(islice(of_recipe(recipe, data.train, 0, normalise), 3))
    loaded = list(islice(of_recipe(recipe.changed(data="loader"), data.train, 0, normalise), 3))
    for (images, target), (brought, same) in zip(plain, loaded, strict=True):
        assert torch.equal(target, same)
        torch.testing.assert_close(brought, normalise(images), rtol=0, atol=1e-5)
    shuffled = of_recipe(recipe.changed(data="loader", order="shuffled", augment=Augment(crop=2, flip="random")), data.train,
                         0, normalise)
    first, again = (list(islice(shuffled, 6)) for _ in range(2))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert sum((target.tolist() for _, target in first[:3]), []) != sum((target.tolist() for _, target in first[3:]), [])


# --- peeks -----------------------------------------------------------------------------------------------------------

def test_a_run_stops_once_the_test_set_shows_enough_and_says_so(store, tmp_path) -> None:
    data, recipe = toys.dataset(), toys.recipe(epochs=30, augment=Augment(), peek=Peek(stop_at=0.5))
    run = train(data, toys.job(recipe, steps=120, key="peeking"), store)
    record = run.record
    assert record.peeked
    *earlier, last = record.peeks
    assert all(look.accuracy < 0.5 for look in earlier) and last.accuracy >= 0.5
    assert [look.step for look in record.peeks] == [4 * (i + 1) for i in range(len(record.peeks))]
    assert record.steps == last.step < record.planned_steps == 120
    assert record.metrics.test_accuracy == last.accuracy
    assert replay(run, data, RunStore(tmp_path)).record.weights_sha256 == record.weights_sha256
    assert (run.predictions["logits"].argmax(1) == run.predictions["labels"]).mean() == pytest.approx(last.accuracy)


def test_a_look_that_decides_nothing_changes_nothing_but_the_time(store) -> None:
    data = toys.dataset()
    plain = train(data, toys.job(toys.recipe(), steps=8, key="plain"), store).record
    looked = train(data, toys.job(toys.recipe(peek=Peek()), steps=8, key="looked"), store).record
    assert looked.weights_sha256 == plain.weights_sha256 and not looked.peeked and not plain.peeks
    assert [look.step for look in looked.peeks] == [4, 8]
    assert looked.peeks[-1].accuracy == looked.metrics.test_accuracy


def test_only_steps_one_to_four_are_marked() -> None:
    assert [step(n).peeks for n in range(9)] == [False] + [True] * 4 + [False] * 4
    assert step(8).peek is None and step(5).peek == Peek()


def test_contradictions_are_errors() -> None:
    with pytest.raises(RecipeError, match="peek"):
        toys.recipe().changed(peek=Peek(), average=AverageConfig())
    with pytest.raises(RecipeError, match="drop_last"):
        toys.recipe().changed(data="precomputed", drop_last=False)


def test_the_sources_clock_counts_building_training_and_tests() -> None:
    ledger = {"load": 1.0, "prepare": 2.0, "build": 4.0, "warm_up": 8.0, "train": 16.0, "validate": 32.0, "test": 64.0}
    assert SOURCE_POLICIES["mnist-fast"].seconds(ledger) == 4 + 16 + 64


def test_a_digit_recipe_trains_to_the_bit_twice(store) -> None:
    data = toys.dataset(size=16)
    recipe = step(0).changed(batch_size=40, epochs=1, network=DigitNetConfig(widths=(4, 6), hidden=8, dropout=(0.25, 0.5)))
    runs = []
    for number in range(2):
        torch.rand(number + 1)  # whatever drew before must not matter
        runs.append(train(data, toys.job(recipe, steps=4, key=f"twice-{number}"), store).record.weights_sha256)
    assert runs[0] == runs[1]
    other = TrainState(data, recipe, 1, torch.device("cpu"))
    assert not torch.equal(other.network.head.weight, TrainState(data, recipe, 0, torch.device("cpu")).network.head.weight)
