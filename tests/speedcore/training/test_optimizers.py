"""Optimisers by hand, or against torch's where the definitions agree."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speedcore.recipe import AdamConfig, MuonConfig, SGDConfig
from speedcore.training import optimizers
from speedcore.training.optimizers import MomentumSGD

GRADIENTS = (0.5, -2.0, 1.0)
FACTORS = (0.25, 1.0, 0.5)


def stepped(optimizer, w: torch.Tensor) -> list[float]:
    """Values of the parameter `w` after each step with GRADIENTS at FACTORS."""
    values = []
    for gradient, factor in zip(GRADIENTS, FACTORS, strict=True):
        w.grad = torch.full_like(w, gradient)
        optimizer.step(factor)
        assert w.grad is None
        values.append(w.item())
    return values


def test_rate_in_the_buffer_by_hand() -> None:
    w = torch.tensor([1.0], dtype=torch.float64)
    seen = stepped(MomentumSGD([w], 0.4, momentum=0.5, weight_decay=0.1, lr_in_buffer=True), w)
    # Rates 0.1 and 0.4; gradients with decay 0.5 + 0.1·w and −2 + 0.1·w.
    scaled = 0.1 * (0.5 + 0.1 * 1.0)                      # 0.06
    v = scaled
    first = 1.0 - (scaled + 0.5 * v)                      # 0.91
    scaled = 0.4 * (-2.0 + 0.1 * first)
    v = 0.5 * v + scaled                                  # the first gradient keeps its own small rate
    second = first - (scaled + 0.5 * v)
    assert first == pytest.approx(0.91)
    assert seen[:2] == pytest.approx([first, second], rel=1e-12)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rate_outside_the_buffer_is_torchs_sgd(decay: float) -> None:
    w, theirs = torch.tensor([1.0], dtype=torch.float64), nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    seen = stepped(MomentumSGD([w], 0.4, 0.9, decay, lr_in_buffer=False), w)
    sgd = torch.optim.SGD([theirs], lr=1.0, momentum=0.9, weight_decay=decay, nesterov=True)
    for value, gradient, factor in zip(seen, GRADIENTS, FACTORS, strict=True):
        theirs.grad = torch.full_like(theirs, gradient)
        sgd.param_groups[0]["lr"] = 0.4 * factor
        sgd.step()
        assert value == pytest.approx(theirs.item(), rel=1e-12)


def test_the_two_agree_at_a_constant_rate_and_not_at_a_changing_one() -> None:
    def run(inside: bool, factors) -> float:
        w = torch.tensor([1.0], dtype=torch.float64)
        optimizer = MomentumSGD([w], 0.4, 0.9, 0.1, inside)
        for gradient, factor in zip(GRADIENTS, factors, strict=True):
            w.grad = torch.full_like(w, gradient)
            optimizer.step(factor)
        return w.item()

    assert run(True, (0.5,) * 3) == pytest.approx(run(False, (0.5,) * 3), rel=1e-12)
    assert run(True, FACTORS) != pytest.approx(run(False, FACTORS), rel=1e-3)


def test_biases_have_their_own_rate_and_less_decay() -> None:
    """Rate × 4, decay / 4: what one step takes of the value itself stays the same."""
    network = nn.Linear(1, 1).double()
    with torch.no_grad():
        network.weight.fill_(1.0)
        network.bias.fill_(1.0)
    optimizer = optimizers.make(SGDConfig(lr=0.1, momentum=0.0, weight_decay=0.2, bias_lr=4.0), network)
    network.weight.grad, network.bias.grad = torch.ones_like(network.weight), torch.ones_like(network.bias)
    optimizer.step(1.0)
    assert optimizer.lr == 0.1
    assert network.weight.item() == pytest.approx(1 - 0.1 * (1 + 0.2))
    assert network.bias.item() == pytest.approx(1 - 0.4 * (1 + 0.05))


def test_adam_is_torchs() -> None:
    network, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(network.state_dict())
    ours = optimizers.make(AdamConfig(lr=0.01, betas=(0.7, 0.9), weight_decay=0.1), network)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.7, 0.9), weight_decay=0.1)
    for factor in FACTORS:
        x = torch.randn(4, 3)
        for model in (network, theirs):
            model(x).square().sum().backward()
        adam.param_groups[0]["lr"] = 0.01 * factor
        adam.step()
        adam.zero_grad()
        ours.step(factor)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), theirs.parameters(), strict=True))


def test_muon_takes_filters_and_leaves_heads_and_biases_to_sgd() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    spec = MuonConfig(lr=0.24, bias_lr=2.0, head_lr=4.0, decay=0.1, sgd_momentum=0.0)
    bias, head = network[0].bias.detach().clone(), network[2].weight.detach().clone()
    optimizer = optimizers.make(spec, network)
    for p in network.parameters():
        p.grad = torch.zeros_like(p) if p.ndim != 4 else torch.randn_like(p)
    optimizer.step(1.0)
    # Without gradients only the decay acts: the share `decay` of each weight at the peak rate.
    torch.testing.assert_close(network[0].bias.detach(), 0.9 * bias)
    torch.testing.assert_close(network[2].weight.detach(), 0.9 * head)


def test_frozen_parameters_are_nobodys() -> None:
    network = nn.Linear(2, 2)
    network.weight.requires_grad_(False)
    before = network.weight.clone()
    optimizer = optimizers.make(SGDConfig(lr=1.0), network)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step(1.0)
    assert torch.equal(network.weight, before)
