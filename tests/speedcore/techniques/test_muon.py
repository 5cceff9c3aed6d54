"""Muon and its Newton–Schulz iteration, by hand and against the iteration as it is defined."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speedcore.techniques.muon import Muon, Padded, orthogonalise

# Filters of a small network: wide and tall as matrices, one of them in channels_last.
SHAPES = ((8, 3, 3, 3), (16, 8, 3, 3), (32, 2, 3, 3), (16, 16, 3, 3), (16, 8, 1, 1))


def filters(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    made = [scale * torch.randn(shape, generator=generator) for shape in SHAPES]
    return [t.to(memory_format=torch.channels_last) if i % 2 else t for i, t in enumerate(made)]


def published(matrix: torch.Tensor, iterations: int) -> torch.Tensor:
    """Jordan's iteration, line by line, in the type of `matrix`."""
    x = matrix / (matrix.norm() + 1e-7)
    if len(x) > x.shape[1]:
        return published(matrix.T, iterations).T
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


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


@pytest.mark.parametrize("shape", [(8, 27), (16, 72), (32, 18), (5, 5)])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_each_arithmetic_follows_the_definition(shape: tuple[int, int], iterations: int) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    exact = published(matrix.double(), iterations)
    for dtype, error in ((torch.float64, 1e-6), (torch.float32, 1e-4), (torch.float16, 0.05), (torch.bfloat16, 0.3)):
        found = orthogonalise(matrix, iterations, dtype)
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact, atol=error, rtol=0)
        batch = orthogonalise(torch.stack([matrix, 3 * matrix]), iterations, dtype)
        torch.testing.assert_close(batch.double(), exact.expand(2, *shape), atol=error, rtol=0)
    # Runs in bf16 on a processor can be trained again to the bit, whichever version of this code trained them.
    assert torch.equal(orthogonalise(matrix, iterations), published(matrix.bfloat16(), iterations))


def test_half_precision_takes_gradients_smaller_than_its_smallest_number() -> None:
    matrix = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    tiny = orthogonalise(2.0**-17 * matrix, 5, torch.float16).float()
    torch.testing.assert_close(tiny, orthogonalise(matrix, 5, torch.float16).float(), atol=0.02, rtol=0)


def test_padded_filters_come_back_as_they_were_and_are_no_larger_than_they_must_be() -> None:
    given = filters(0)
    padded = Padded(given)
    batch = padded.pack(given)
    assert batch.shape == (5, 18, 144)  # the tall (32, 18) lies on its side
    assert torch.equal(batch[0, :8, :27], given[0].reshape(8, 27))
    assert torch.equal(batch[1, :16, :72], given[1].reshape(16, 72))
    assert torch.equal(batch[2, :18, :32], given[2].reshape(32, 18).T)
    assert batch.count_nonzero() == sum(t.count_nonzero() for t in given)
    for before, after in zip(given, padded.unpack(batch, torch.float32), strict=True):
        assert torch.equal(before, after)
        assert before.stride() == after.stride()  # else multiplying lists of them would be a launch each
    spread = padded.spread(torch.arange(5.0))
    assert [t.unique().tolist() for t in spread] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


def test_filters_whose_gradients_lie_otherwise_in_memory_are_packed_all_the_same() -> None:
    given = filters(0)
    other = [t.contiguous() if t.is_contiguous(memory_format=torch.channels_last) else t.to(memory_format=torch.channels_last)
             for t in given]
    assert [t.stride() for t in other] != [t.stride() for t in given]
    assert torch.equal(Padded(given).pack(given), Padded(given).pack(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_filters_stepped_together_are_stepped_as_one_by_one(dtype: torch.dtype) -> None:
    """In one batch, as on a GPU, beside one after the other: the same up to rounding, over several steps."""
    together, alone = filters(0), filters(0)
    steppers = [Muon(some, 0.2, 0.6, 3, dtype, together=how) for some, how in ((together, True), (alone, False))]
    for seed in (1, 2, 3):
        for some, stepper in zip((together, alone), steppers, strict=True):
            for p, gradient in zip(some, filters(seed, scale=0.01), strict=True):
                p.grad = gradient
            stepper.step(0.5)
            assert all(p.grad is None for p in some)
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 if dtype == torch.float32 else 0.02, rtol=0)


def test_a_network_without_filters_has_nothing_to_step() -> None:
    Muon([], 0.2, 0.6, 3).step(1.0)
