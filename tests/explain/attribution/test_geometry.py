"""Where cells lie, and maps upsampled to pixels, against arithmetic and torch's own interpolation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from explain.attribution.geometry import Extent, extents, upsample
from speedcore.networks import build
from speedcore.recipe import DavidNetConfig, RecordNetConfig


@pytest.mark.parametrize(("grid", "size"), [((14, 14), (28, 28)), ((3, 5), (32, 28)), ((1, 1), (4, 4)), ((4, 4), (4, 4))])
def test_stretched_maps_are_torchs_bilinear_interpolation(grid, size):
    maps = torch.randn(3, *grid, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(upsample(maps, size), expected)


def test_a_map_that_tiles_a_part_of_the_image_is_drawn_there():
    # Two cells of two pixels each, over pixels 0..4 of 8: centres 1 and 3, and what lies beyond takes the last cell.
    drawn = upsample(torch.tensor([[0.0, 8.0]]), (1, 8), Extent(0, 0, 1, 4))
    torch.testing.assert_close(drawn, torch.tensor([[0.0, 2.0, 6.0, 8.0, 8.0, 8.0, 8.0, 8.0]]))


def test_extents_follow_strides_and_padding():
    image = torch.zeros(1, 1, 28, 28)
    # 28 → 14 → 7 → 3 by pooling in twos: the last stage's cells are 8 pixels wide and leave out the last four.
    record = extents(build(RecordNetConfig(widths=(2, 2, 2), whiten_kernel=3), 1, (28, 28), 2), image, ["stages.0", "stages.2"])
    assert record == {"stages.0": Extent(0, 0, 28, 28), "stages.2": Extent(0, 0, 24, 24)}
    # An unpadded 2×2 convolution on 32 pixels: 31 positions from 0.5 to 31.5, of which pooling takes 30.
    record = extents(build(RecordNetConfig(widths=(2, 2, 2)), 3, (32, 32), 2), torch.zeros(1, 3, 32, 32), ["stages.0"])
    assert record == {"stages.0": Extent(0.5, 0.5, 30.5, 30.5)}
    # Padded to 32×32 before the first layer: two pixels outside the image on each side.
    david = extents(build(DavidNetConfig(width=0.05), 1, (28, 28), 2), image, ["layer1", "layer3"])
    assert david == {"layer1": Extent(-2, -2, 30, 30), "layer3": Extent(-2, -2, 30, 30)}


def test_what_strides_do_not_explain_is_stretched_and_says_so():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.short = nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 1, 2)

        def forward(self, x):
            return self.main(x) + self.short(x)

    model = nn.Sequential(Branches())
    assert extents(model, torch.zeros(1, 1, 8, 6), ["0"]) == {"0": Extent(0, 0, 8, 6, exact=False)}
