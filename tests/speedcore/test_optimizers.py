"""Optimisers by hand, or against torch's where the definitions agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from speedcore import optimizers
from speedcore.optimizers import MomentumSGD, Muon, orthogonalise
from speedcore.recipe import SGD, Adam
from speedcore.recipe import Muon as MuonSpec

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


@pytest.mark.parametrize("nesterov", [False, True])
def test_rate_in_the_buffer_by_hand(nesterov: bool) -> None:
    w = torch.tensor([1.0], dtype=torch.float64)
    seen = stepped(MomentumSGD([w], 0.4, momentum=0.5, weight_decay=0.1, nesterov=nesterov, lr_in_buffer=True), w)
    # Rates 0.1 and 0.4; gradients with decay 0.5 + 0.1·w and −2 + 0.1·w.
    scaled = 0.1 * (0.5 + 0.1 * 1.0)                      # 0.06
    v = scaled
    first = 1.0 - (scaled + 0.5 * v if nesterov else v)   # 0.91 or 0.94
    scaled = 0.4 * (-2.0 + 0.1 * first)
    v = 0.5 * v + scaled                                  # the first gradient keeps its own small rate
    second = first - (scaled + 0.5 * v if nesterov else v)
    assert first == pytest.approx(0.91 if nesterov else 0.94)
    assert seen[:2] == pytest.approx([first, second], rel=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_rate_outside_the_buffer_is_torchs_sgd(nesterov: bool, decay: float) -> None:
    w, theirs = torch.tensor([1.0], dtype=torch.float64), nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    seen = stepped(MomentumSGD([w], 0.4, 0.9, decay, nesterov, lr_in_buffer=False), w)
    sgd = torch.optim.SGD([theirs], lr=1.0, momentum=0.9, weight_decay=decay, nesterov=nesterov)
    for value, gradient, factor in zip(seen, GRADIENTS, FACTORS, strict=True):
        theirs.grad = torch.full_like(theirs, gradient)
        sgd.param_groups[0]["lr"] = 0.4 * factor
        sgd.step()
        assert value == pytest.approx(theirs.item(), rel=1e-12)


def test_the_two_agree_at_a_constant_rate_and_not_at_a_changing_one() -> None:
    def run(inside: bool, factors) -> float:
        w = torch.tensor([1.0], dtype=torch.float64)
        optimizer = MomentumSGD([w], 0.4, 0.9, 0.1, True, inside)
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
    optimizer = optimizers.make(SGD(lr=0.1, momentum=0.0, weight_decay=0.2, nesterov=False, bias_lr=4.0), network)
    network.weight.grad, network.bias.grad = torch.ones_like(network.weight), torch.ones_like(network.bias)
    optimizer.step(1.0)
    assert optimizer.lr == 0.1
    assert network.weight.item() == pytest.approx(1 - 0.1 * (1 + 0.2))
    assert network.bias.item() == pytest.approx(1 - 0.4 * (1 + 0.05))


def test_adam_is_torchs() -> None:
    network, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(network.state_dict())
    ours = optimizers.make(Adam(lr=0.01, betas=(0.7, 0.9), weight_decay=0.1), network)
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


# --- Muon ------------------------------------------------------------------------------------------------------------

@given(st.integers(0, 10**6), st.integers(2, 32), st.integers(2, 64))
def test_orthogonalised_matrices_have_singular_values_near_one(seed: int, rows: int, columns: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    # A random matrix of that shape has singular values down to about |√rows − √columns|; where it is nearly singular
    # five steps of 3.4× cannot lift the smallest ones, so those are left out.
    before = torch.linalg.svdvals(matrix)
    large = before / before.norm() > 0.02
    after = torch.linalg.svdvals(orthogonalise(matrix, 5).float())
    assert after.max() < 1.3
    assert after[:int(large.sum())].min() > 0.6


def test_orthogonalising_keeps_singular_vectors_and_ignores_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(6, 4, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(5, 4, generator=generator))
    matrix = u @ torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.5])) @ v.T
    out = orthogonalise(matrix, 5).float()
    core = u.T @ out @ v
    assert (core - torch.diag(core.diagonal())).abs().max() < 0.05
    assert (core.diagonal() - 1).abs().max() < 0.4
    assert torch.equal(orthogonalise(128 * matrix, 5).float(), out)
    assert torch.equal(orthogonalise(matrix.T, 5).float(), out.T)


def test_a_muon_step_moves_unit_rows_by_its_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    filters = 7 * torch.randn(8, 3, 3, 3, generator=generator)
    gradient = torch.randn(8, 3, 3, 3, generator=generator)
    before = filters.clone()
    filters.grad = gradient.clone()
    Muon([filters], lr=0.2, momentum=0.6, newton_schulz_steps=5).step(0.5)
    scaled = before * 8**0.5 / before.norm()  # unit mean square norm over the eight rows
    moved = (scaled - filters).reshape(8, -1)
    # Nesterov's first direction g + m·g, orthogonalised, times rate × factor = 0.1.
    direction = orthogonalise((gradient + 0.6 * gradient).reshape(8, -1), 5).float()
    torch.testing.assert_close(moved, 0.1 * direction, atol=1e-4, rtol=0)
    values = torch.linalg.svdvals(moved)
    assert 0.06 < values.min() and values.max() < 0.13


def test_muon_takes_filters_and_leaves_heads_and_biases_to_sgd() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    spec = MuonSpec(lr=0.24, bias_lr=2.0, head_lr=4.0, decay=0.1, sgd_momentum=0.0)
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
    optimizer = optimizers.make(SGD(lr=1.0), network)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step(1.0)
    assert torch.equal(network.weight, before)
