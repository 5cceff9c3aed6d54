"""The airbench methods: rates against the published rule for summed losses, schedules at given steps, a bias that rests."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speedcore import recipes
from speedcore.clock import Ledger
from speedcore.data.batches import Batches
from speedcore.errors import RecipeError
from speedcore.networks import build, parameter_counts
from speedcore.recipe import Augment, DavidNetConfig, Recipe, RecordNetConfig, Schedule, SGDConfig, WhitenBias
from speedcore.recipe.schedules import interpolate
from speedcore.techniques.muon import orthogonalise
from speedcore.training import optimizers
from speedcore.training.loop import fit
from speedcore.training.state import TrainState
from tests.speedcore import toys

DATASETS = ("cifar10", "fashion-mnist", "mnist")


def first_step(recipe: Recipe) -> tuple[dict, dict, dict]:
    """(weights, gradients of a mean loss, weights after one step at the peak) of a small network, in fp64."""
    torch.manual_seed(0)
    network = build(RecordNetConfig(widths=(4, 4, 4)), 1, (16, 16), 3).double()
    optimizer = optimizers.make(recipe.optimizer, network)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    for p in trained.values():
        p.grad = torch.randn_like(p)
    before = {name: p.detach().clone() for name, p in trained.items()}
    gradients = {name: p.grad.clone() for name, p in trained.items()}
    optimizer.step(1.0)
    return before, gradients, {name: p.detach() for name, p in trained.items()}


def published_sgd(w: torch.Tensor, mean_gradient: torch.Tensor, batch: int, lr: float, decay: float) -> torch.Tensor:
    """First step of torch's Nesterov SGD (momentum .85) on a loss summed over the batch: v = g, then g + m·v."""
    gradient = batch * mean_gradient + decay / lr * w
    return w - lr * (gradient + 0.85 * gradient)


@pytest.mark.parametrize(("dataset", "batch"), [("cifar10", 1024), ("fashion-mnist", 1000), ("mnist", 1000)])
def test_airbench94_steps_as_published_for_a_summed_loss(dataset: str, batch: int) -> None:
    recipe = recipes.get("airbench94", dataset)
    assert recipe.batch_size == batch
    before, gradients, after = first_step(recipe)
    # 11.5 and .0153 for 1024 images, in units of a step without momentum: 1024 · (1 + 1 / .15) = 7850.67.
    lr, decay = 11.5 / 7850.666667, 0.0153 * batch / 7850.666667
    for name, w in before.items():
        rate = 64 * lr if "norm" in name else lr  # the whitening's bias does not get the biases' rate
        torch.testing.assert_close(after[name], published_sgd(w, gradients[name], batch, rate, decay), msg=name,
                                   rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("dataset", "batch"), [("cifar10", 2000), ("fashion-mnist", 1000), ("mnist", 1000)])
def test_airbench94_muon_steps_as_published_for_a_summed_loss(dataset: str, batch: int) -> None:
    recipe = recipes.get("airbench94-muon", dataset)
    assert recipe.batch_size == batch
    before, gradients, after = first_step(recipe)
    for name, w in before.items():
        if w.ndim == 4:
            scaled = w * len(w) ** 0.5 / w.norm()
            update = orthogonalise((1.6 * batch * gradients[name]).reshape(len(w), -1), 3).reshape(w.shape)
            # bf16 inside the iteration: the scale of the gradient may move its last bits.
            torch.testing.assert_close(after[name], scaled - 0.24 * update.double(), rtol=0, atol=0.01, msg=name)
        else:
            rate = 0.67 if "head" in name else 0.053
            torch.testing.assert_close(after[name], published_sgd(w, gradients[name], batch, rate, 2e-6 * batch), msg=name)


@pytest.mark.parametrize("dataset", DATASETS)
def test_what_the_methods_share(dataset: str) -> None:
    for name in ("airbench94", "airbench94-muon"):
        recipe = recipes.get(name, dataset)
        mirrored = dataset != "mnist"
        assert recipe.augment == Augment(crop=2, flip="alternating" if mirrored else "none")
        assert (recipe.tta.mirror, recipe.tta.count) == (mirrored, 6 if mirrored else 3)
        assert (recipe.label_smoothing, recipe.val_images) == (0.2, 0)
        assert recipe.network.norm_momentum == pytest.approx(1 - 0.6) and recipe.network.norm_eps == 1e-12
    assert (recipes.get("airbench94", dataset).epochs, recipes.get("airbench94-muon", dataset).epochs) == (9.9, 8)


@pytest.mark.parametrize(("progress", "factor"), [
    (0, 0.2), (0.115, 0.6), (0.23, 1), (0.615, 0.535), (1, 0.07)])
def test_airbench94s_schedule(progress: float, factor: float) -> None:
    recipe = recipes.get("airbench94", "cifar10")
    assert interpolate(recipe.schedule.knots, progress) == pytest.approx(factor)
    # The whitening's bias follows it for 3 of 9.9 epochs and is let go at full height.
    own = recipe.optimizer.whiten_bias.schedule
    assert own.end == pytest.approx(3 / 9.9)
    assert interpolate(own.knots, progress) == pytest.approx(factor if progress < 3 / 9.9 else 0)
    assert interpolate(own.knots, 0.3) == pytest.approx(1 - 0.93 * 0.07 / 0.77)


@pytest.mark.parametrize(("step", "factor", "own"), [(0, 1, 1), (50, 0.75, 1 / 3), (75, 0.625, 0), (100, 0.5, 0), (200, 0, 0)])
def test_muons_schedules_at_steps_of_two_hundred(step: int, factor: float, own: float) -> None:
    """25 steps an epoch: the rate falls to 0 over 200 steps, the whitening bias's over 75."""
    recipe = recipes.get("airbench94-muon", "cifar10")
    assert interpolate(recipe.schedule.knots, step / 200) == pytest.approx(factor)
    assert interpolate(recipe.optimizer.whiten_bias.schedule.knots, step / 200) == pytest.approx(own)


def test_heads_start_as_published() -> None:
    """Muon's weights have unit deviation and logits are divided by 256; airbench94 has torch's own draw, and 9."""
    torch.manual_seed(0)
    for name, scale in (("airbench94-muon", 1.0), ("airbench94", nn.Linear(256, 10).weight.std().item())):
        network = build(recipes.get(name, "cifar10").network, 3, (32, 32), 10)
        assert network.head.weight.std().item() == pytest.approx(scale, rel=0.05)
        assert network.logit_scale == pytest.approx(1 / 256 if "muon" in name else 1 / 9)
        assert all(m.eps == 1e-12 for m in network.modules() if isinstance(m, nn.BatchNorm2d))


# --- a whitening bias with a span of its own -------------------------------------------------------------------------

OWN = WhitenBias(lr=0.3, schedule=Schedule(knots=((0, 1), (0.5, 0.5), (0.5, 0), (1, 0))))


@pytest.mark.parametrize(("progress", "rate"), [(None, 0.3 * 0.1), (0.25, 0.3 * 0.75), (0.6, 0)])
def test_the_own_schedule_is_followed_where_progress_is_known(progress: float | None, rate: float) -> None:
    network = build(RecordNetConfig(widths=(4, 4, 4)), 1, (16, 16), 3).double()
    optimizer = optimizers.make(SGDConfig(lr=0.1, momentum=0, weight_decay=0.0, bias_lr=8, whiten_bias=OWN), network)
    for p in network.parameters():
        p.grad = torch.ones_like(p) if p.requires_grad else None
    before = network.whiten.bias.detach().clone()
    optimizer.step(0.1, progress)
    torch.testing.assert_close(before - network.whiten.bias.detach(), torch.full_like(before, rate))
    assert network.stages[0].norm1.bias[0].item() == pytest.approx(-0.1 * 8 * 0.1)


def test_its_decay_takes_the_same_share_as_of_other_weights() -> None:
    network = build(RecordNetConfig(widths=(4, 4, 4)), 1, (16, 16), 3).double()
    with torch.no_grad():
        network.whiten.bias.fill_(1.0)
    optimizer = optimizers.make(SGDConfig(lr=0.1, momentum=0, weight_decay=0.2, whiten_bias=OWN), network)
    for p in network.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    optimizer.step(1.0, 0.0)
    torch.testing.assert_close(network.whiten.bias.detach(), torch.full_like(network.whiten.bias, 1 - 0.1 * 0.2).detach())


def test_a_bias_at_rest_is_frozen_and_counted_all_the_same(store) -> None:
    dataset = toys.dataset()
    recipe = toys.recipe(optimizer=SGDConfig(lr=0.05, whiten_bias=OWN), epochs=2)
    state = TrainState(dataset, recipe, 0, torch.device("cpu"))
    state.whiten(dataset.train)
    counted, seen = parameter_counts(state.network), []
    step = state.step

    def watched(*words):
        seen.append((state.network.whiten.bias.requires_grad, state.network.whiten.bias.detach().clone()))
        return step(*words)

    state.step = watched
    batches = Batches(dataset.train, recipe.augment, recipe.batch_size, 0, state.normalise)
    fit(state, batches, dataset.train, None, toys.job(recipe, 8), Ledger(), None)
    # Progress 1/8 .. 8/8: at 4/8 the schedule is at rest.
    assert [trained for trained, _ in seen] == [True] * 4 + [False] * 4
    moved = [not torch.equal(a, b) for (_, a), (_, b) in zip(seen, seen[1:], strict=False)]
    assert moved == [True] * 3 + [False] * 4
    assert state.parameters == counted


def test_a_network_without_whitening_cannot_have_it() -> None:
    network = build(DavidNetConfig(width=1 / 16), 1, (32, 32), 10)
    with pytest.raises(RecipeError, match="whiten_bias.*davidnet.*recordnet"):
        optimizers.make(SGDConfig(lr=0.1, whiten_bias=OWN), network)
