"""Colour: one scale for all, none where there is no evidence."""

from __future__ import annotations

import numpy as np
import pytest

from explain.attribution.geometry import Extent
from explain.inspector.overlay import Scale, brightness, heat, overlay, pixels

GREY = np.full((2, 1, 4, 4), 128, np.uint8)


def test_scale_ends_at_a_percentile_of_all_positive_values():
    first, second = (np.arange(*ends, dtype=np.float32).reshape(1, -1, 1) for ends in ((-50, 51), (51, 101)))
    # Positive are 1..100, of both: their 95th percentile, by linear interpolation, is 1 + 0.95 · 99.
    assert Scale.of([first, second]).limit == pytest.approx(95.05)
    assert Scale.of([-first[:, :40], first[:, :40] * 0 + np.nan]).limit == pytest.approx(np.percentile(np.arange(11, 51), 95))
    assert Scale.of([np.full((1, 2, 2), -1.0)]).limit == 1


def test_same_value_has_same_colour_in_every_image_and_a_map_is_never_stretched_to_its_own_maximum():
    maps = np.stack([np.full((2, 2), 0.1), np.array([[0.1, 0.1], [0.1, 1.0]])]).astype(np.float32)
    shown = overlay(GREY, maps, Scale(1.0, ""))
    assert np.array_equal(shown[0, 0, 0], shown[1, 0, 0])
    assert not np.array_equal(shown[0, 3, 3], shown[1, 3, 3])
    alone = overlay(GREY[:1], maps[:1], Scale(1.0, ""))
    assert np.array_equal(alone[0], shown[0])


@pytest.mark.parametrize("values", [[0.0, 0.0], [-3.0, -1.0], [np.nan, np.nan], [5.0, np.nan], [5.0, np.inf]])
def test_dead_maps_leave_the_image_grey(values):
    shown = overlay(GREY, np.tile(np.array(values, np.float32), (2, 2, 1)), Scale(1.0, ""))
    assert (shown == shown[0, 0, 0, 0]).all()


def test_colours_are_those_of_the_legend():
    scale = Scale(2.0, "")
    full = overlay(np.zeros((1, 1, 1, 1), np.uint8), np.full((1, 1, 1), 9.0, np.float32), scale, strength=1.0)
    assert np.array_equal(full[0, 0, 0], scale.bar()[0, -1])


def test_heat_is_the_positive_part_drawn_out_where_the_cells_are():
    drawn = heat(np.array([[[-8.0, 8.0]]], np.float32), (1, 8), Extent(0, 0, 1, 4))
    assert drawn.tolist() == [[[0, 2, 6, 8, 8, 8, 8, 8]]]


def test_colour_images_are_laid_under_by_brightness():
    red = np.zeros((1, 3, 1, 1), np.uint8)
    red[:, 0] = 255
    assert brightness(red).item() == pytest.approx(0.299)
    assert overlay(red, np.zeros((1, 1, 1), np.float32), Scale(1.0, ""))[0, 0, 0].tolist() == pytest.approx(
        [round(255 * (0.12 + 0.68 * 0.299))] * 3)
    assert pixels(red)[0, 0, 0].tolist() == [255, 0, 0]
    assert pixels(GREY)[0, 0, 0].tolist() == [128, 128, 128]
