"""Metrics worked out by hand on maps of a few cells, and what they must do by definition."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explain import metrics
from explain.attribution.geometry import Extent, upsample
from explain.metrics import Score, Shares, relevance_mass

WHOLE = Extent(0, 0, 4, 4)


def corner(n: int = 1) -> torch.Tensor:
    """4×4 masks, true on the upper left quarter."""
    masks = torch.zeros(n, 4, 4, dtype=torch.bool)
    masks[:, :2, :2] = True
    return masks


def test_mass_worked_out_by_hand():
    # At the image's own resolution nothing is interpolated: 3 of 3 + 1 positive units lie inside; −5 does not count.
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 1, 1] = 3, 1, -5
    assert relevance_mass(maps, corner()).tolist() == [0.75]


def test_mass_and_ceiling_of_a_coarse_map_worked_out_by_hand():
    # Two cells on four pixels weigh 1, 3/4, 1/4, 0 along an axis; the first cell has 7/4 of its 8/4 on pixels 0 and 1.
    only_first = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    assert relevance_mass(only_first, corner()).item() == pytest.approx((7 / 8) ** 2)
    assert Shares.of(corner(), (2, 2), WHOLE).ceiling().item() == pytest.approx((7 / 8) ** 2)


def test_dead_maps_and_empty_masks_are_counted_and_never_scored():
    maps = torch.stack([torch.ones(2, 2), -torch.ones(2, 2), torch.zeros(2, 2), torch.full((2, 2), math.nan), torch.ones(2, 2)])
    masks = corner(5)
    masks[4] = False
    shares = Shares.of(masks, (2, 2), WHOLE)
    mass = shares.mass(maps)
    assert mass.isnan().tolist() == [False, True, True, True, True]
    assert metrics.is_empty(maps).tolist() == [False, True, True, True, False]
    score = Score.of(mass, metrics.foreground_share(masks), shares.ceiling())
    assert (score.n, score.dead, score.empty) == (1, 3, 1)
    assert (score.mass, score.foreground, score.score) == pytest.approx((0.25, 0.25, 0))
    nothing = Score.of(mass[1:], metrics.foreground_share(masks)[1:], shares.ceiling()[1:])
    assert (nothing.n, nothing.mass, nothing.score) == (0, None, None)


def test_the_best_cell_alone_scores_one():
    masks = corner(3)
    shares = Shares.of(masks, (2, 2), WHOLE)
    best = torch.zeros(3, 2, 2)
    best[:, 0, 0] = 7
    assert Score.of(shares.mass(best), metrics.foreground_share(masks), shares.ceiling()).score == pytest.approx(1)


@given(st.integers(0, 10_000), st.sampled_from([(2, 3), (4, 4), (5, 1)]),
       st.sampled_from([WHOLE, Extent(-1, -1, 5, 5), Extent(0.5, 0.5, 3, 3.5)]))
def test_mass_is_that_of_the_drawn_out_map_and_below_its_ceiling(seed, grid, extent):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(4, *grid, generator=generator, dtype=torch.float64)
    masks = torch.rand(4, 4, 4, generator=generator) < 0.4
    shares = Shares.of(masks, grid, extent)
    mass, drawn = shares.mass(maps), upsample(maps.clamp_min(0), (4, 4), extent)
    for i in range(4):
        if mass[i].isnan():
            assert drawn[i].sum() == 0 or not masks[i].any()
        else:
            assert mass[i].item() == pytest.approx((drawn[i] * masks[i]).sum().item() / drawn[i].sum().item())
            assert 0 <= mass[i] <= shares.ceiling()[i] + 1e-12


def test_null_controls_by_definition():
    generator = torch.Generator().manual_seed(3)
    maps, masks = torch.rand(6, 2, 2, generator=generator), torch.rand(6, 4, 4, generator=generator) < 0.5
    scores, arrays = metrics.scores({"true": maps, "wrong_class": maps.flip(0)}, masks, WHOLE)
    assert set(scores) == {"true", "wrong_class", "uniform", "gaussian", "another_image"}
    # A uniform map is a map of ones.
    torch.testing.assert_close(arrays["uniform"], relevance_mass(torch.ones(6, 2, 2), masks))
    assert scores["uniform"].score == pytest.approx(0)
    y, x = torch.meshgrid(torch.arange(4) - 1.5, torch.arange(4) - 1.5, indexing="ij")
    bell = torch.exp(-(y**2 + x**2) / (2 * 5**2)).expand(6, 4, 4)
    torch.testing.assert_close(arrays["gaussian"], relevance_mass(bell, masks), rtol=1e-5, atol=1e-7)
    other = metrics.another_image(6)
    torch.testing.assert_close(arrays["another_image"], relevance_mass(maps[other], masks))
    assert metrics.wrong_class(torch.tensor([0, 1, 2]), 3).tolist() == [1, 2, 0]


@given(st.integers(2, 60))
def test_another_image_is_never_the_same_one_and_each_is_used_once(n):
    other = metrics.another_image(n)
    assert (other != torch.arange(n)).all()
    assert sorted(other.tolist()) == list(range(n))


def test_gini():
    maps = torch.stack([torch.ones(2, 2), torch.tensor([[0.0, 0.0], [0.0, 5.0]]), -torch.ones(2, 2)])
    even, single, dead = metrics.gini(maps).tolist()
    assert even == pytest.approx(0)
    assert single == pytest.approx(3 / 4)  # (cells − 1) ÷ cells
    assert math.isnan(dead)


def test_flip_consistency():
    maps = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))
    moved = torch.stack([maps[0].flip(-1), -maps[1].flip(-1), torch.ones(4, 4)])
    same, opposite, constant = metrics.flip_consistency(maps, moved, (8, 8), Extent(0, 0, 8, 8)).tolist()
    assert same == pytest.approx(1)
    assert opposite == pytest.approx(-1)
    assert math.isnan(constant)
