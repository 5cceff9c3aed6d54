"""What travels to the page comes back: exactly for images, within half a step for maps and measures."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from explain.inspector.packing import LEVELS, NONE, REACH, levels, packed, predicted, steps


@given(arrays.arrays(np.uint8, (2, 3, 4, 5)))
def test_predicted_images_are_summed_back(images):
    back = predicted(images)
    for axis in (-2, -1):
        back = np.cumsum(back, axis=axis, dtype=np.uint8)
    back[:, [0, 2]] += back[:, 1:2]
    assert np.array_equal(back, images)


def test_packed_names_places_in_one_deflated_text():
    places, text = packed({"a": np.uint8([1, 2, 3]), "b": np.uint16([[258]])})
    assert places == {"a": [0, 3], "b": [3, 2]}
    assert zlib.decompress(base64.b64decode(text)) == bytes([1, 2, 3, 2, 1])


def test_levels_keep_the_positive_part_and_the_dead_dead():
    maps = np.linspace(-1, 8, 901).reshape(1, 1, -1)
    found = levels(maps, 2.0)
    back = REACH * 2.0 * (found / LEVELS) ** 2
    expected = np.clip(maps, 0, 8)
    assert (found[maps <= 0] == 0).all() and (found[maps > 0] > 0).all()
    assert np.abs(back - expected).max() <= 8.0 / LEVELS  # half of the widest step, at the top
    assert np.abs(back - expected)[maps <= 2].max() <= 2.0 * 0.021  # 2 % of the limit, below the limit
    assert levels(np.full((1, 1, 2), 1e-9), 1.0).all()
    assert not levels(np.array([[[1.0, np.nan]], [[np.inf, 1.0]], [[-1.0, 0.0]]]), 1.0).any()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1)])
def test_steps_keep_measures_and_what_has_none(low, high):
    values = np.array([low, 0.123, high, np.nan])
    found = steps(values, low, high)
    assert found[-1] == NONE and found[0] == 0 and found[2] == NONE - 1
    assert found[1] / (NONE - 1) * (high - low) + low == pytest.approx(0.123, abs=2e-5)
