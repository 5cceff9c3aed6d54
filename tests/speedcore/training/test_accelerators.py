"""Training on GPUs that are not there: every part of the built-in recipes, to a saved run, without a wait where it counts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from speedcore import recipes
from speedcore.data import streams
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.machine.queue import synchroniser
from speedcore.networks.layers import whitening_filters
from speedcore.recipe import Augment, AverageConfig, LookaheadConfig, MuonConfig, Peek, Recipe, SGDConfig, TTAConfig
from speedcore.store.runs import Run, RunStore
from speedcore.techniques.augment import Normalise, sample
from speedcore.training import evaluate
from speedcore.training.loop import train
from speedcore.training.seeding import seeded
from speedcore.training.state import TrainState
from tests.simulated import simulated
from tests.simulated.accelerator import lines
from tests.speedcore import toys

KINDS = ("cuda", "mps")


@pytest.fixture(scope="module")
def compiler() -> None:
    """torch's own optimisers import its compiler on first use."""
    import torch._dynamo  # noqa: F401


def small(recipe: Recipe) -> Recipe:
    """`recipe` with few channels and small batches, in fp32 where the machine decides."""
    widest, ghost = max(getattr(recipe.network, "widths", (64,))), getattr(recipe.network, "ghost", 1)
    return recipe.changed(network=recipe.network.narrowed(8 / widest).model_dump(), batch_size=2 * ghost if ghost > 1 else 16,
                          precision="fp32" if recipe.precision == "auto" else recipe.precision, epochs=1, min_epochs=0.1,
                          val_images=min(recipe.val_images, 6), bn_recalibration_images=min(recipe.bn_recalibration_images, 16))


def features(fields: dict, path: tuple = ()) -> Iterator[tuple]:
    """What a recipe uses, name by name: options by their value, numbers by whether they are zero."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from features(value, (*path, name))
        else:
            yield (*path, name, value if isinstance(value, str | bool) or value is None else bool(value))


def covering() -> list[tuple[str, str]]:
    """Built-in recipes, as few as will do, that use together whatever any of them uses."""
    used = {(name, data): set(features(recipes.get(name, data).model_dump(exclude={"name", "description", "schedule"})))
            for name in recipes.names() for data in ("cifar10", "fashion-mnist", "mnist")}
    left, chosen = set().union(*used.values()), []
    while left:
        best = max(used, key=lambda key: len(used[key] & left))
        chosen.append(best)
        left -= used[best]
    return chosen


def toy(name: str):
    grey = "mnist" in name
    return toys.dataset(train=64, test=16, channels=1 if grey else 3, size=28 if grey else 32)


def trained(recipe: Recipe, data, path, device: str, steps: int = 3) -> Run:
    return train(data, toys.job(recipe, steps), RunStore(path), device)


@pytest.mark.parametrize(("name", "data", "kind"), [
    *((name, data, "cuda") for name, data in covering()),
    # Each network once.
    *((name, data, "mps") for name, data in {recipes.get(*key).network.kind: key for key in covering()}.values())])
@pytest.mark.usefixtures("compiler")
def test_a_built_in_recipe_trains_there_as_on_the_processor(tmp_path, name: str, data: str, kind: str) -> None:
    recipe = small(recipes.get(name, data))
    with simulated(kind) as gpu:
        run = trained(recipe, toy(data), tmp_path / "gpu", kind)
    assert run.record.device == kind
    assert Run.open(run.path).predictions["logits"].shape == (16, 4)
    assert gpu.woken <= {0}  # other GPUs are left to those that work on them
    host = trained(recipe.changed(convolutions="torch"), toy(data), tmp_path / "cpu", "cpu")
    assert run.steps["lr"].tolist() == host.steps["lr"].tolist()
    # The same draws, batches and weights; filters are stepped in one batch, in whose arithmetic a few digits differ.
    # Whitening filters that are found in fp32 differ where directions are all but equal.
    exact = "bf16" not in recipe.precision and kind == "cuda"
    np.testing.assert_allclose(run.steps["loss"], host.steps["loss"], rtol=2e-3 if exact else 0.05)
    assert run.record.metrics.test_accuracy == pytest.approx(host.record.metrics.test_accuracy, abs=2 / 16)


# Everything a run may do beside its steps, in as few recipes as hold it.
OPTIONS = {
    "average, views, looks": {"average": AverageConfig(decay=0.9, every=2), "tta": TTAConfig(mirror=True, shifts=True),
                              "val_images": 16},
    "lookahead, precise norms, muon in bf16": {"lookahead": LookaheadConfig(decay=0.9, every=2), "bn_recalibration_images": 40,
                                               "optimizer": MuonConfig(bias_lr=0.2, head_lr=2.0), "precision": "bf16",
                                               "channels_last": True},
    "peeks, bf16": {"peek": Peek(), "precision": "bf16"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["device", "precomputed", "loader"])
@pytest.mark.parametrize("options", OPTIONS)
def test_every_way_of_data_serves_every_option(tmp_path, options: str, mode: str, kind: str) -> None:
    recipe = toys.recipe(data=mode, batch_size=16, loader={"worker": False} if mode == "loader" else None, **OPTIONS[options])
    with simulated(kind) as gpu:
        run = trained(recipe, toys.dataset(train=64, test=12), tmp_path, kind, steps=5)
    assert gpu.woken <= {0}
    found = Run.open(run.path)
    assert found.record.steps == 5 and found.predictions["logits"].shape == (12, 4)
    assert ("tta_logits" in found.predictions) == recipe.tta.any
    assert len(found.record.peeks) == (1 if recipe.peek else 0)
    assert found.record.data.validation_images == (6 if recipe.val_images else 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["device", "precomputed", "loader"])
@pytest.mark.parametrize("optimizer", [MuonConfig(bias_lr=0.2, head_lr=2.0), SGDConfig(lr=0.05)], ids=["muon", "sgd"])
def test_a_step_waits_for_nothing(tmp_path, mode: str, kind: str, optimizer) -> None:
    """Neither the making of a batch, across the turn of an epoch, nor forward, backward and update."""
    recipe = toys.recipe(data=mode, optimizer=optimizer, batch_size=16, precision="bf16", channels_last=True,
                         loader={"worker": False} if mode == "loader" else None,
                         augment=Augment(crop=2, flip="alternating", cutout=4, groups=0 if mode == "loader" else 5))
    data = toys.dataset(train=40)  # two batches an epoch
    with simulated(kind) as gpu:
        state = TrainState(data, recipe, 0, torch.device(kind))
        batches = streams.of_recipe(recipe, data.train.to(kind), 0, Normalise.of(data))
        if mode == "precomputed":
            batches = PrecomputedEpochs(batches, 7, tmp_path)
        stream = iter(batches)
        state.network.train()
        state.step(*next(stream), factor=0.1)
        with gpu.watched() as waits:
            for _ in range(5):
                loss, accuracy = state.step(*next(stream), factor=0.1)
        assert lines(waits) == []
        assert gpu.holds(loss) and gpu.holds(accuracy)


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_looked_at_again_travel_once(tmp_path, kind: str) -> None:
    recipe = toys.recipe(val_images=16, peek=Peek(), tta=TTAConfig(mirror=True), batch_size=14)

    def travelled(steps: int) -> int:
        with simulated(kind) as gpu:
            trained(recipe, toys.dataset(train=64, test=12), tmp_path / f"{kind}{steps}", kind, steps)
        return sum(wait.what in ("copy to the device", "tensor(device=...)", "copy_ between host and device")
                   for wait in gpu.waits)

    # Four steps an epoch: five epochs bring more looks than two do, and not one more journey.
    assert travelled(8) == travelled(20)


def test_a_score_is_fetched_at_once_and_exact() -> None:
    logits, labels = torch.randn(1000, 10), torch.randint(0, 10, (1000,))
    right = int((logits.argmax(1) == labels).sum())
    for kind in KINDS:
        with simulated(kind) as gpu:
            there, answers = logits.to(kind), labels.to(kind)
            with gpu.watched() as waits:
                accuracy, loss = evaluate.score(there, answers)
        assert len(waits) == 1
        assert accuracy == right / 1000
        assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-6)


def test_whitening_is_the_same_where_there_is_no_float64() -> None:
    images = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = whitening_filters(images.split(10), (2, 2), 5e-4)
    with simulated("mps"):
        found = whitening_filters(images.to("mps").split(10), (2, 2), 5e-4).cpu()
    # Eigenvectors have either sign.
    torch.testing.assert_close(found.abs(), expected.abs(), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_choices_are_drawn_without_a_wait(kind: str) -> None:
    augment = Augment(crop=2, flip="random", groups=5)
    with simulated(kind) as gpu:
        generator = torch.Generator(kind).manual_seed(1)
        with gpu.watched() as waits:
            drawn = sample(augment, 33, (16, 16), 0, generator)
        assert lines(waits) == []
        assert len(drawn.top) == 33


@pytest.mark.parametrize("kind", KINDS)
def test_seeding_for_a_while_leaves_every_generator_as_it_was(kind: str) -> None:
    with simulated(kind) as gpu:
        host, there = torch.default_generator.get_state(), gpu.state()
        draws = []
        for _ in range(2):
            with seeded(3, kind):
                draws.append((torch.rand(2).tolist(), torch.rand(2, device=kind).tolist()))
        assert draws[0] == draws[1]
        assert torch.equal(torch.default_generator.get_state(), host)
        assert torch.equal(gpu.state(), there)
        with seeded(3):
            assert torch.rand(2).tolist() == draws[0][0]
        assert gpu.woken == {0}


@pytest.mark.parametrize("kind", KINDS)
def test_the_queue_is_waited_for(kind: str) -> None:
    with simulated(kind) as gpu:
        synchroniser(torch.device(kind))()
        synchroniser(torch.device("cpu"))()
    assert [wait.what for wait in gpu.waits] == ["synchronize"]
