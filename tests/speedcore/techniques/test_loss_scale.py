"""The loss scale by torch's own GradScaler, and without its waits."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speedcore.recipe import AdamConfig, MuonConfig, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.techniques.loss_scale import LossScale
from speedcore.training.loop import train
from speedcore.training.state import TrainState
from tests.simulated import simulated
from tests.simulated.accelerator import lines
from tests.speedcore import toys

# Gradients of six steps: good, overflown in one place, not a number, then good ones.
STEPS = ([0.5, 1.0], [torch.inf, 1.0], [0.25, torch.nan], [1.0, -1.0], [0.5, 0.5], [2.0, 0.25])


def updated(ours: bool, first: float = 2.0**10, patience: int = 2) -> tuple[list[list[float]], list[float]]:
    """Weights and factors after each step of SGD with momentum, by our scale or by torch's."""
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9, weight_decay=0.01)
    w.grad = torch.zeros(2)
    optimizer.step()  # makes the momentum
    scale = LossScale(torch.device("cpu"), first, patience)
    theirs = torch.amp.GradScaler("cpu", init_scale=first, growth_interval=patience)
    weights, factors = [], []
    for gradient in STEPS:
        optimizer.zero_grad()
        loss = (w * torch.tensor(gradient)).sum()
        if ours:
            scale.scaled(loss).backward()
            scale.unscale([w.grad])
            with scale.only_if_finite([w.data, optimizer.state[w]["momentum_buffer"]]):
                optimizer.step()
            factors.append(scale.factor.item())
        else:
            theirs.scale(loss).backward()
            theirs.step(optimizer)
            theirs.update()
            factors.append(theirs.get_scale())
        weights.append(w.tolist())
    return weights, factors


def test_steps_and_factors_are_those_of_torchs_scaler() -> None:
    (weights, factors), (expected, theirs) = updated(ours=True), updated(ours=False)
    assert weights == expected
    assert factors == theirs == [1024, 512, 256, 256, 512, 512]
    assert weights[0] == weights[1] == weights[2] != weights[3]  # two steps left out, momentum and decay too


def test_the_factor_keeps_within_its_bounds() -> None:
    scale = LossScale(torch.device("cpu"), first=2.0**24, patience=1)
    scale.unscale([torch.ones(2)])
    assert scale.factor == 2.0**24
    for _ in range(30):
        scale.unscale([torch.full((2,), torch.inf)])
    assert scale.factor == 1.0


def test_small_gradients_come_through_half_precision() -> None:
    """Without the scale they are zero in fp16."""
    for scaling, expected in ((None, 0.0), (LossScale(torch.device("cpu")), 2.0**-30)):
        w = nn.Parameter(torch.ones(1))
        loss = (w.half() * 2.0**-15).float().sum() * 2.0**-15
        (scaling.scaled(loss) if scaling else loss).backward()
        if scaling:
            scaling.unscale([w.grad])
        assert w.grad.item() == pytest.approx(expected, rel=1e-3)


def test_nothing_waits() -> None:
    with simulated("cuda") as gpu:
        scale, w = LossScale(gpu.device), torch.ones(3, device="cuda", requires_grad=True)
        with gpu.watched() as waits:
            for _ in range(3):
                scale.scaled(w.square().sum()).backward()
                scale.unscale([w.grad])
                with scale.only_if_finite([w.data]), torch.no_grad():
                    w -= 0.1 * w.grad
                w.grad = None
        assert lines(waits) == []


@pytest.mark.parametrize("optimizer", [SGDConfig(lr=0.05, weight_decay=0.01), MuonConfig(bias_lr=0.2, head_lr=2.0, decay=0.01),
                                       AdamConfig(lr=0.01)])
def test_a_step_that_overflows_changes_nothing(optimizer) -> None:
    data = toys.dataset()
    state = TrainState(data, toys.recipe(precision="fp16", optimizer=optimizer), 0, torch.device("cpu"))
    state.network.train()
    images, labels = data.train.images[:40], data.train.labels[:40]
    state.step(images, labels, factor=1.0)
    before = [t.detach().clone() for t in state.optimizer.tensors]
    assert len(before) >= 2 * sum(p.requires_grad for p in state.network.parameters())
    bias = next(p for p in state.network.parameters() if p.requires_grad)
    hook = bias.register_hook(lambda gradient: gradient * torch.inf)
    state.step(images, labels, factor=1.0)
    assert all(torch.equal(t, b) for t, b in zip(state.optimizer.tensors, before, strict=True))
    hook.remove()
    state.step(images, labels, factor=1.0)
    assert not any(torch.equal(t, b) for t, b in zip(state.optimizer.tensors, before, strict=True))


def test_a_run_in_fp16_learns(tmp_path) -> None:
    recipe = toys.recipe(precision="fp16", optimizer=MuonConfig(bias_lr=0.2, head_lr=2.0), channels_last=True)
    run = train(toys.dataset(), toys.job(recipe, steps=12), RunStore(tmp_path), "cpu")
    plain = train(toys.dataset(), toys.job(recipe.changed(precision="fp32"), steps=12), RunStore(tmp_path / "fp32"), "cpu")
    assert run.steps["loss"][-3:].mean() < 0.9 * run.steps["loss"][:3].mean()
    assert run.steps["loss"][0] == pytest.approx(plain.steps["loss"][0], rel=0.02)
