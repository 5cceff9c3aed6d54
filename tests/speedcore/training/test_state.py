"""What a trainee learns of the data before and after its steps is of all classes, in whatever order images come."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.networks.modes import eval_mode
from speedcore.training.state import TrainState
from tests.speedcore import toys


@pytest.fixture
def sorted_images() -> Dataset:
    """As class folders come: six thousand flat images, then six thousand of noise."""
    noisy, draw = torch.arange(12_000) // 6_000, torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12_000, 1, 16, 16), generator=draw, dtype=torch.uint8)
    images[:6_000] = images[:6_000, :, :1, :1].clone()
    return Dataset.make("sorted", ("flat", "noise"), Split(images, noisy), Split(images[::300], noisy[::300]),
                        Provenance("made in a test", False))


def test_whitening_is_by_images_of_all_classes(sorted_images) -> None:
    state = TrainState(sorted_images, toys.recipe(), 0, torch.device("cpu"))
    state.whiten(sorted_images.train)
    x = state.normalise(sorted_images.test.images)
    # Filters that had seen flat images alone would make hundreds of what noise is.
    assert state.network.whiten(x).square().mean() < 10


def test_statistics_are_those_of_images_of_all_classes(sorted_images) -> None:
    state = TrainState(sorted_images, toys.recipe(batch_size=250, bn_recalibration_images=5_000), 0, torch.device("cpu"))
    state.recalibrate_batch_norm(sorted_images.train)
    norm, seen = next(layer for layer in state.network.modules() if isinstance(layer, nn.BatchNorm2d)), []
    norm.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.no_grad(), eval_mode(state.network):
        for images in sorted_images.train.images.split(1000):
            state.network(state.normalise(images))
    maps = torch.cat(seen)
    torch.testing.assert_close(norm.running_var, maps.var((0, 2, 3)), rtol=0.1, atol=0)
    assert ((norm.running_mean - maps.mean((0, 2, 3))).abs() < 0.1 * norm.running_var.sqrt()).all()
