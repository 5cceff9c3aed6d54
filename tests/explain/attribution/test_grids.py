"""Which axes of a layer's output are rows and columns: derived from the network, never guessed from a shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from explain.attribution.geometry import Extent, extents
from explain.attribution.layers import Grid, candidate_layers, find_layers
from explain.attribution.methods import heatmaps
from explain.models import ExplainError

IMAGES = torch.randn(3, 2, 12, 8, generator=torch.Generator().manual_seed(0))
LAST, TURNED = Grid(channels=3, rows=1, columns=2), Grid(channels=1, rows=3, columns=2)


class Axes(nn.Module):
    """A convolution to 4×4 pixels a cell, then the axes in another order; `size`: the only one that is taken, if any."""

    def __init__(self, order: tuple[int, ...], channels: int = 5, size: tuple[int, int] | None = None):
        super().__init__()
        self.stem, self.turned, self.head = nn.Conv2d(2, channels, 4, 4), nn.Identity(), nn.Linear(channels, 3)
        self.order, self.size = order, size

    def forward(self, x):
        assert self.size in (None, tuple(x.shape[2:])), "wrong size"
        out = self.turned(self.stem(x).permute(self.order))
        return self.head(out.permute(*map(self.order.index, range(4))).mean((2, 3)))


@pytest.mark.parametrize("method", ["grad-cam", "hirescam"])
@pytest.mark.parametrize(("order", "channels", "grid"), [
    ((0, 1, 2, 3), 5, Grid()), ((0, 2, 3, 1), 5, LAST), ((0, 1, 3, 2), 5, TURNED),
    ((0, 2, 3, 1), 3, LAST), ((0, 2, 3, 1), 2, LAST)])  # as many channels as rows, or as columns
def test_maps_are_the_same_in_whatever_order_the_axes_are(order, channels, grid, method):
    torch.manual_seed(1)
    model = Axes(order, channels)
    assert find_layers(model, IMAGES, ["turned"])["turned"].grid == grid
    assert candidate_layers(model, IMAGES) == {"stem": (channels, 3, 2), "turned": (channels, 3, 2)}
    maps = heatmaps(model, IMAGES, torch.tensor([0, 1, 2]), ["stem", "turned"], method)
    assert maps["turned"].shape == (3, 1, 3, 2)
    torch.testing.assert_close(maps["turned"], maps["stem"])
    assert extents(model, IMAGES[:1], ["turned"]) == {"turned": Extent(0, 0, 12, 8)}


@pytest.mark.parametrize(("order", "channels", "grid"), [((0, 2, 3, 1), 2, LAST), ((0, 1, 3, 2), 5, TURNED)])
def test_equal_sides_do_not_hide_that_axes_are_in_another_order(order, channels, grid):
    model, images = Axes(order, channels), torch.randn(2, 2, 8, 8)  # the shapes are those of the convolution, too
    assert find_layers(model, images, ["turned"])["turned"].grid == grid
    maps = heatmaps(model, images, 1, ["stem", "turned"])
    torch.testing.assert_close(maps["turned"], maps["stem"])


def test_a_layer_is_read_and_put_back_whole():
    output = torch.randn(2, 3, 4, 5)
    for grid in (Grid(), LAST, TURNED):
        assert torch.equal(grid.output(grid.cells(output)), output)
        assert grid.cells(output).shape[1:] == grid.shape(output.shape)


class Attention(nn.Module):
    """Maps of tokens by tokens look like images of channels: (N, heads, T, T)."""

    def __init__(self):
        super().__init__()
        self.stem, self.drop, self.head = nn.Conv2d(2, 4, 2, 2), nn.Dropout(0.1), nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.stem(x).flatten(2).transpose(1, 2)
        heads = tokens.unflatten(2, (2, 2)).transpose(1, 2)
        mixed = self.drop((heads @ heads.transpose(2, 3)).softmax(3)) @ heads
        return self.head(mixed.transpose(1, 2).flatten(2).mean(1))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.tokens, self.head = nn.Conv2d(2, 4, 2, 2), nn.Identity(), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.tokens(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize(("model", "layer", "says"), [
    (Attention(), "drop", r"layer 'drop', \(3, 2, 24, 24\), .*cannot be told: no axis of it follows the image's height alone"),
    (Axes((0, 2, 3, 1), size=(12, 8)), "turned", r"'turned', \(3, 3, 2, 5\), .*cannot be told: no convolution returned that "
                                                 r"shape, and the model takes no image of another size, which would tell"),
    (Tokens(), "tokens", r"no spatial map: its output is of shape \(3, 24, 4\)")])
def test_what_cannot_be_read_with_certainty_is_refused_and_no_candidate(model, layer, says):
    with pytest.raises(ExplainError, match=says) as caught:
        heatmaps(model, IMAGES, 0, [layer])
    assert "choose a layer that explain.candidate_layers lists, or a method that explains the image" in str(caught.value)
    assert list(candidate_layers(model, IMAGES)) == ["stem"]
    assert heatmaps(model, IMAGES, 0, ["stem"])["stem"].any()


def test_a_model_of_one_size_is_read_as_far_as_convolutions_tell():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
            self.head = nn.Linear(5 * 6 * 4, 3)

        def forward(self, x):
            assert x.shape[2:] == (12, 8)
            return self.head(self.body(x).flatten(1))

    assert candidate_layers(Fixed(), IMAGES) == {
        "body.0": (5, 12, 8), "body.1": (5, 12, 8), "body.2": (5, 6, 4), "body": (5, 6, 4)}


def test_a_head_of_one_size_does_not_keep_the_layers_before_it_from_being_read():
    class FixedHead(Axes):
        def __init__(self):
            super().__init__((0, 2, 3, 1))
            self.head = nn.Linear(5 * 3 * 2, 3)

        def forward(self, x):
            return self.head(self.turned(self.stem(x).permute(self.order)).flatten(1))

    assert heatmaps(FixedHead(), IMAGES, 0, ["turned"])["turned"].shape == (3, 1, 3, 2)


def test_what_follows_a_pooling_to_one_size_is_read_like_it():
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.AdaptiveAvgPool2d((3, 2)), nn.Dropout(0.5), nn.Flatten(), nn.Linear(30, 3))
    assert candidate_layers(model, IMAGES) == {"0": (5, 10, 6), "1": (5, 3, 2), "2": (5, 3, 2)}
