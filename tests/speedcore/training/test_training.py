"""The loop: same seed, same bits; limits kept, rates annealed to the end, everything on record."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speedcore.clock import POLICIES, Budget, Ledger, Phase
from speedcore.data.batches import Batches
from speedcore.errors import BudgetError, DataError
from speedcore.networks import build
from speedcore.recipe import Augment, AverageConfig, MuonConfig, Schedule, TTAConfig
from speedcore.recipe.schedules import interpolate
from speedcore.store.runs import RunStore
from speedcore.training import loop
from speedcore.training.loop import full_steps, hold_out, replay, steps_per_epoch, train
from speedcore.training.state import TrainState, warm_up
from tests.speedcore import toys

MUON = toys.recipe(optimizer=MuonConfig(lr=0.1, bias_lr=1.0, head_lr=1.0, decay=1e-3), precision="bf16", channels_last=True,
                   label_smoothing=0.1, average=AverageConfig(decay=0.9, every=2))


# --- same seed, same bits --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("recipe", [toys.recipe(), MUON], ids=["sgd", "muon"])
def test_a_seed_gives_the_same_weights_to_the_bit_and_another_seed_does_not(store: RunStore, recipe) -> None:
    data = toys.dataset()
    one, again, other = (train(data, toys.job(recipe, 10, seed, key=key), store)
                         for key, seed in (("one", 0), ("again", 0), ("other", 1)))
    assert one.record.weights_sha256 == again.record.weights_sha256 != other.record.weights_sha256
    assert all(torch.equal(a, b) for a, b in zip(one.weights().values(), again.weights().values(), strict=True))
    assert (one.steps["loss"] == again.steps["loss"]).all()
    assert (one.predictions["logits"] == again.predictions["logits"]).all()


IN_A_PROCESS = """
import sys
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
torch.manual_seed(12345)  # whatever state the process is in
from speedcore.store.runs import RunStore
from speedcore.training.loop import train
from tests.speedcore import toys
from tests.speedcore.training import test_training
print(train(toys.dataset(), toys.job(test_training.MUON, 10), RunStore(sys.argv[1])).record.weights_sha256)
"""


def test_another_process_gives_the_same_bits(store: RunStore, checkout: Path) -> None:
    theirs = subprocess.run([sys.executable, "-c", IN_A_PROCESS, str(store.root / "theirs"), str(checkout)],
                            capture_output=True, text=True, check=True, timeout=120).stdout.strip()
    assert theirs == train(toys.dataset(), toys.job(MUON, 10), store).record.weights_sha256


def test_training_leaves_the_global_generator_alone(store: RunStore) -> None:
    torch.rand(3)  # the generator is not where a seed would put it
    before = torch.get_rng_state()
    train(toys.dataset(), toys.job(toys.recipe(), 3), store)
    assert torch.equal(torch.get_rng_state(), before)


def test_both_arms_start_from_the_same_weights_and_see_the_same_order() -> None:
    data, recipe = toys.dataset(), toys.recipe()
    with_, without = (TrainState(data, r, 3, torch.device("cpu")) for r in (recipe, recipe.without_augmentation()))
    assert all(torch.equal(a, b) for a, b in zip(with_.network.state_dict().values(), without.network.state_dict().values(),
                                                 strict=True))
    torch.manual_seed(3)
    plainly = build(recipe.network, 1, (16, 16), 4).state_dict()
    assert all(torch.equal(a, b) for a, b in zip(with_.network.state_dict().values(), plainly.values(), strict=True))


def test_a_deeper_budget_of_seeds_does_not_change_earlier_ones(store: RunStore) -> None:
    """A run depends on its own seed only, not on what was trained before it in the same process."""
    data = toys.dataset()
    alone = train(data, toys.job(toys.recipe(), 5, seed=1, key="alone"), store)
    train(data, toys.job(toys.recipe(), 5, seed=0, key="before"), store)
    after = train(data, toys.job(toys.recipe(), 5, seed=1, key="after"), store)
    assert alone.record.weights_sha256 == after.record.weights_sha256


# --- what is on record -----------------------------------------------------------------------------------------------

def test_the_logged_rate_is_the_planned_schedule(store: RunStore) -> None:
    recipe = toys.recipe(schedule=Schedule(knots=((0, 0), (0.3, 1), (1, 0.1)), shape="cosine"))
    run = train(toys.dataset(), toys.job(recipe, 20), store)
    planned = [0.05 * interpolate(recipe.schedule.knots, (i + 1) / 20, "cosine") for i in range(20)]
    assert run.steps["lr"].tolist() == pytest.approx(planned, rel=1e-9)
    assert run.record.final_factor == recipe.schedule.floor == 0.1
    assert run.record.final_lr == pytest.approx(0.005)
    assert run.record.replans == ()


def test_the_ledger_is_the_everything_clock_and_carries_what_loading_took(store: RunStore) -> None:
    data = toys.dataset(seconds={"provision": 2.0, "load": 3.0})
    record = train(data, toys.job(toys.recipe(val_images=16, tta=TTAConfig(mirror=True)), 6), store).record
    assert set(record.ledger) >= {"provision", "load", "prepare", "build", "warm_up", "train", "validate", "test", "tta", "save"}
    assert (record.ledger["provision"], record.ledger["load"]) == (2.0, 3.0)
    assert record.clocks["everything"] == pytest.approx(sum(record.ledger.values()))
    assert record.clocks["article"] == record.ledger["train"]
    assert record.clocks["dawnbench"] == pytest.approx(record.ledger["train"] + record.ledger["prepare"])


def test_the_record_says_what_was_trained_on_what(store: RunStore) -> None:
    data = toys.dataset()
    record = train(data, toys.job(toys.recipe(val_images=16), 9, seed=5), store).record
    assert (record.seed, record.steps, record.planned_steps, record.steps_per_epoch) == (5, 9, 9, 3)  # 144 of 160 in 40s
    assert record.epochs == 3.0
    assert (record.data.train_images, record.data.validation_images, record.data.test_images) == (144, 16, 40)
    assert record.data.fingerprint == data.fingerprint and record.data.mean == data.mean
    assert record.recipe_hash == toys.recipe(val_images=16).hash
    assert record.budget_seconds is None and record.limit_seconds is None
    assert record.provenance["threads"] == 1 and record.device == "cpu"


def test_accuracy_with_views_is_the_one_that_counts_where_there_are_views(store: RunStore) -> None:
    data = toys.dataset()
    run = train(data, toys.job(toys.recipe(tta=TTAConfig(mirror=True, shifts=True)), 8), store)
    joined = torch.from_numpy(run.predictions["tta_logits"]).argmax(1)
    assert run.record.accuracy == run.record.metrics.tta_accuracy == (joined == data.test.labels).double().mean().item()
    plain = train(data, toys.job(toys.recipe(), 8, key="plain"), store)
    assert plain.record.metrics.tta_accuracy is None and "tta_logits" not in plain.predictions
    assert plain.record.accuracy == plain.record.metrics.test_accuracy


def test_it_learns(store: RunStore) -> None:
    recipe = toys.recipe(optimizer=MUON.optimizer, augment=Augment(crop=1))  # a flip would change the class here
    run = train(toys.dataset(), toys.job(recipe, 60), store)
    assert run.record.accuracy > 0.9
    assert run.steps["loss"][-5:].mean() < 0.5 * run.steps["loss"][:5].mean()


def test_validation_points_are_spread_over_the_run(store: RunStore) -> None:
    run = train(toys.dataset(), toys.job(toys.recipe(val_images=16), 24), store)
    assert run.epochs["step"].tolist() == [3, 6, 9, 12, 15, 18, 21, 24]  # at least eight, the last at the end
    assert run.epochs["progress"][-1] == 1
    assert ((0 <= run.epochs["validation_accuracy"]) & (run.epochs["validation_accuracy"] <= 1)).all()
    means = [run.steps["loss"][i - 3:i].mean() for i in range(3, 25, 3)]
    assert run.epochs["train_loss"].tolist() == pytest.approx(means)
    assert run.record.metrics.validation_accuracy == run.epochs["validation_accuracy"][-1]


def test_the_tested_weights_are_the_averaged_ones(store: RunStore) -> None:
    averaged, last = (train(toys.dataset(), toys.job(toys.recipe(average=average), 10, key=key), store)
                      for key, average in (("averaged", AverageConfig(decay=0.9, every=1)), ("last", None)))
    assert (averaged.steps["loss"] == last.steps["loss"]).all()  # the average looks on, it does not steer
    assert averaged.record.weights_sha256 != last.record.weights_sha256


@given(st.integers(2, 300), st.integers(0, 100))
@settings(max_examples=20)
def test_held_out_images_are_apart_and_the_same_in_every_run(n: int, count: int) -> None:
    split = toys.dataset(train=max(n, 4)).train
    train_part, held = hold_out(split, count)
    again, held_again = hold_out(split, count)
    everything = torch.arange(len(train_part))
    images = train_part.take(everything).images
    assert torch.equal(images, again.take(everything).images)
    expected = min(count, len(split) // 10)
    assert len(held or ()) == expected and len(train_part) == len(split) - expected
    if held is not None:
        assert torch.equal(held.labels, held_again.labels)
        keys = {image.numpy().tobytes() for image in images} | {image.numpy().tobytes() for image in held.images}
        assert len(keys) == len(split)


def test_steps_are_whole_batches_of_what_is_not_held_out() -> None:
    data = toys.dataset(train=163)
    assert steps_per_epoch(data, toys.recipe()) == 4
    assert steps_per_epoch(data, toys.recipe(val_images=1000)) == (163 - 16) // 40
    assert full_steps(data, toys.recipe(epochs=2.6)) == 10
    assert full_steps(data, toys.recipe(epochs=0.01, min_epochs=0.01)) == 1


# --- budgets ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def by_hand(monkeypatch) -> toys.FakeClock:
    """A clock by hand: a step takes 0.8 to 1.2 s, the logits of an image 0.1 s, and nothing else takes any time."""
    clock, chance = toys.FakeClock(), random.Random(0)
    step, logits = TrainState.step, TrainState.logits
    monkeypatch.setattr(TrainState, "step", lambda *a, **k: (clock.go(chance.uniform(0.8, 1.2)), step(*a, **k))[1])
    monkeypatch.setattr(TrainState, "logits", lambda *a, **k: (clock.go(0.1 * len(a[1])), logits(*a, **k))[1])
    return clock


@pytest.mark.parametrize("stretch", [False, True])
def test_a_tight_limit_is_kept_and_the_rate_annealed_to_the_end(store: RunStore, by_hand, stretch: bool) -> None:
    """A hundred seconds for some hundred steps, where a thousand times as many were planned, or half."""
    recipe = toys.recipe(schedule=Schedule(knots=((0, 0), (0.2, 1), (1, 0.05))), val_images=16)
    job = toys.job(recipe, 50 if stretch else 100_000, limit=100.0, full_steps=100_000, stretch=stretch)
    record = train(toys.dataset(), job, store, clock=by_hand).record
    assert 90 <= record.clocks["article"] <= 100
    assert record.ledger["validate"] >= 8 * 1.6
    assert record.final_factor == recipe.schedule.floor
    assert record.replans[0].steps_before == record.planned_steps
    assert record.replans[-1].steps_after == record.steps
    reason = "faster than planned: more steps" if stretch else "slower than planned: fewer steps"
    assert reason in {change.reason for change in record.replans}


def test_a_strict_clock_holds_validation_and_tests_as_well(store: RunStore, by_hand) -> None:
    """Loading 50 s, validations of 1.6 s, two rounds of tests of 4 s, and training in what is left of 300 s."""
    recipe = toys.recipe(tta=TTAConfig(mirror=True), val_images=16)
    job = toys.job(recipe, 100_000, limit=300.0, policy="everything")
    record = train(toys.dataset(seconds={"load": 50.0}), job, store, clock=by_hand).record
    assert 0.9 * 300 <= record.clocks["everything"] <= 300
    assert record.ledger["test"] == pytest.approx(4) and record.ledger["tta"] == pytest.approx(4)
    assert record.clocks["article"] <= 300 - 50 - 8 - record.ledger["validate"]
    assert record.final_factor == recipe.schedule.floor


def test_a_strict_clock_is_kept_on_a_real_clock(store: RunStore) -> None:
    """The limit is what this machine takes for a few steps and everything around them, three times: seconds differ by ten."""
    data = toys.dataset(test=2000, seconds={"load": 0.5})
    recipe = toys.recipe(tta=TTAConfig(mirror=True, shifts=True), val_images=16)
    few = train(data, toys.job(recipe, 5, key="few", policy="everything"), store).record
    limit = 3 * few.clocks["everything"]
    record = train(data, toys.job(recipe, 100_000, limit=limit, policy="everything"), store).record
    assert record.clocks["everything"] <= limit
    assert record.ledger["test"] + record.ledger["tta"] > 0
    assert record.clocks["article"] < limit - 0.5
    assert record.final_factor == recipe.schedule.floor


@pytest.mark.parametrize(("limit", "policy", "steps"), [(1e-9, "everything", 5), (2.0, "everything", 5), (10, "article", 0)])
def test_a_budget_too_small_for_one_step_is_an_error_that_leaves_nothing(store: RunStore, limit, policy, steps) -> None:
    data = toys.dataset(seconds={"load": 2.0})
    with pytest.raises(BudgetError, match="too small for one step of recipe 'toy'.*--budget"):
        train(data, toys.job(toys.recipe(data="precomputed"), steps, limit=limit, policy=policy), store)
    assert not store.root.exists() or list(store.root.iterdir()) == []


def test_a_batch_larger_than_the_data_is_an_error(store: RunStore) -> None:
    with pytest.raises(DataError, match="batch of 500.*160"):
        train(toys.dataset(), toys.job(toys.recipe(batch_size=500), 3), store)


def test_a_replanned_run_is_replayed_to_the_bit(store: RunStore, tmp_path: Path) -> None:
    data = toys.dataset()
    job = toys.job(toys.recipe(average=AverageConfig(every=3), val_images=16), 1000, limit=0.7)
    recorded = train(data, job, store)
    assert recorded.record.replans
    again = replay(recorded, data, RunStore(tmp_path / "again"))
    assert again.record.weights_sha256 == recorded.record.weights_sha256
    assert again.record.steps == recorded.record.steps
    assert again.record.replans == recorded.record.replans
    assert (again.steps["lr"] == recorded.steps["lr"]).all()


def test_a_replay_of_another_seed_would_differ(store: RunStore, tmp_path: Path) -> None:
    recorded = train(toys.dataset(), toys.job(toys.recipe(), 6), store)
    forged = type(recorded)(recorded.path, recorded.record.model_copy(update={"seed": 1}))
    assert replay(forged, toys.dataset(), RunStore(tmp_path)).record.weights_sha256 != recorded.record.weights_sha256


def test_only_training_is_charged_to_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock by hand: a step takes 1 s, a validation 10 s."""
    clock, data, recipe = toys.FakeClock(), toys.dataset(), toys.recipe(val_images=16)
    train_state = TrainState(data, recipe, 0, torch.device("cpu"))
    step, logits = train_state.step, train_state.logits
    monkeypatch.setattr(train_state, "step", lambda *a: (clock.go(1.0), step(*a))[1])
    monkeypatch.setattr(train_state, "logits", lambda *a: (clock.go(10.0), logits(*a))[1])
    ledger, listener = Ledger(clock=clock), toys.Listener()
    split, validation = hold_out(data.train, 16)
    batches = Batches(split, recipe.augment, 40, 0, train_state.normalise)
    job = toys.job(recipe, 60, limit=40.0)
    budget, history = loop.fit(train_state, batches, split, validation, job, ledger, listener)
    events = listener.events
    assert ledger.seconds() == {"train": budget.done, "validate": 10 * len(history.validations)}
    assert 36 <= budget.done <= 40 and budget.progress == 1.0
    assert [event.seconds for event in events] == list(range(1, budget.done + 1))
    assert events[-1].step == events[-1].steps == budget.done and events[0].limit == 40
    assert not train_state.network.training


def test_warming_up_changes_nothing() -> None:
    data, recipe = toys.dataset(), MUON
    train_state = TrainState(data, recipe, 0, torch.device("cpu"))
    before = {name: t.clone() for name, t in train_state.network.state_dict().items()}
    velocities = [v.clone() for part in train_state.optimizer._parts for v in part._velocity]
    warm_up(train_state, Batches(data.train, recipe.augment, 40, 0, train_state.normalise))
    assert all(torch.equal(before[name], t) for name, t in train_state.network.state_dict().items())
    after = [v for part in train_state.optimizer._parts for v in part._velocity]
    assert all(torch.equal(a, b) for a, b in zip(velocities, after, strict=True))


def test_budgets_default_to_the_articles_clock() -> None:
    ledger = Ledger(carried={"load": 5.0}, clock=toys.FakeClock())
    assert Budget(10).policy == POLICIES["article"] and Budget(10).left(ledger) == 10
    assert Budget(math.inf).left(ledger) == math.inf
    assert POLICIES["everything"].counts(Phase.TEST) and not POLICIES["article"].counts(Phase.TEST)
