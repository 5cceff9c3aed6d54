"""Winograd's convolutions: the sums of direct ones but for rounding, both ways, and what happens without a compiler."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore.kernels import layers, select, winograd
from speedcore.recipe import RecordNetConfig
from speedcore.store.runs import RunStore
from speedcore.training.loop import replay, train
from tests.speedcore import toys

needs_library = pytest.mark.skipif(winograd.library() is None, reason="no C compiler on this machine")
CPU = torch.device("cpu")
WIDE = toys.recipe(network=RecordNetConfig(widths=(32, 32, 32)), precision="bf16", channels_last=True, convolutions="winograd")


def both_ways(n: int, ins: int, outs: int, size: tuple[int, int], dtype: torch.dtype = torch.float32):
    """(result, gradient of the images, gradient of the filters) by the short way, and by a direct convolution in fp32."""
    torch.manual_seed(0)
    image, towards = torch.randn(n, ins, *size).bfloat16(), torch.randn(n, outs, *size).bfloat16()
    filters = (torch.randn(outs, ins, 3, 3) / (9 * ins)**0.5).to(dtype)
    found = []
    for short in (True, False):
        x = image.clone().to(memory_format=torch.channels_last) if short else image.float()
        w = filters.clone() if short else filters.float()
        x.requires_grad_(), w.requires_grad_()
        y = winograd.convolve(x, w) if short else F.conv2d(x, w, padding=1)
        y.backward(towards.to(y.dtype))
        found.append((y.detach(), x.grad, w.grad))
    return found


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected).pow(2).mean() / expected.double().pow(2).mean()).sqrt().item()


@needs_library
@pytest.mark.parametrize(("n", "ins", "outs", "size"), [
    (3, 32, 64, (15, 15)), (2, 64, 32, (31, 31)), (4, 48, 32, (7, 7)), (4, 32, 32, (3, 3)), (2, 32, 32, (9, 14)),
    (2, 32, 48, (4, 8)), (1, 32, 32, (1, 1)), (3, 18, 40, (14, 14)), (2, 24, 16, (31, 31))])
def test_result_and_gradients_are_a_convolutions_but_for_rounding(n: int, ins: int, outs: int, size: tuple[int, int]) -> None:
    for found, expected in zip(*both_ways(n, ins, outs, size), strict=True):
        assert found.shape == expected.shape and relative_error(found, expected) < 0.02


@needs_library
def test_filters_in_bf16_get_gradients_in_bf16() -> None:
    (_, _, gradient), (_, _, expected) = both_ways(2, 32, 32, (8, 8), torch.bfloat16)
    assert gradient.dtype == torch.bfloat16 and relative_error(gradient, expected) < 0.02


@needs_library
def test_a_filter_of_one_tap_passes_the_image_through() -> None:
    """The points and their weights must cancel, each pixel land where it was."""
    image = torch.randint(-4, 5, (1, 32, 8, 8)).bfloat16().to(memory_format=torch.channels_last)
    passing = torch.zeros(32, 32, 3, 3)
    passing[:, :, 1, 1] = torch.eye(32)
    assert (winograd.convolve(image, passing).float() - image.float()).abs().max() < 0.2


@needs_library
def test_batches_larger_than_the_cache_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = both_ways(5, 32, 32, (7, 7))[0]
    monkeypatch.setattr(winograd, "_PLANES_BYTES", 36 * 4 * 64 * 2 * 2)  # two images
    parts = [(rows.stop - rows.start, tiles.shape) for rows, tiles, _ in winograd._parts(torch.empty(5, 32, 7, 7), 32)]
    assert parts == [(1, (36, 4, 32)), (2, (36, 8, 32)), (2, (36, 8, 32))]
    for one, other in zip(whole, both_ways(5, 32, 32, (7, 7))[0], strict=True):
        assert relative_error(one, other.float()) < 0.02
    empty = winograd.convolve(torch.empty(0, 32, 7, 7, dtype=torch.bfloat16), torch.ones(32, 32, 3, 3))
    assert empty.shape == (0, 32, 7, 7)


@needs_library
def test_only_layers_that_fit_are_changed_and_only_in_bf16() -> None:
    network = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.Conv2d(32, 32, 3, padding=1, bias=False),
                            nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, 32, 3, 2, 1, bias=False),
                            nn.Conv2d(32, 24, 3, padding=1, bias=False), nn.Conv2d(32, 32, 1, bias=False))
    names = list(network.state_dict())
    assert select.use(network, "winograd", "bf16", CPU) == "winograd"
    assert [type(layer) is layers.Conv3x3 for layer in network] == [False, True, False, False, False, False]
    assert list(network.state_dict()) == names and type(copy.deepcopy(network)[1]) is layers.Conv3x3
    layer, x = network[1], torch.randn(2, 32, 8, 8)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, padding=1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), winograd.convolve(x.bfloat16(), layer.weight))
    assert select.use(nn.Sequential(nn.Linear(3, 3)), "winograd", "bf16", CPU) == "torch"


@needs_library
def test_a_run_says_how_it_convolved_and_is_replayed_to_the_bit(store: RunStore, tmp_path: Path) -> None:
    data = toys.dataset()
    run = train(data, toys.job(WIDE, steps=8), store)
    assert run.record.provenance["convolutions"] == "winograd"
    assert replay(run, data, RunStore(tmp_path / "again")).record.weights_sha256 == run.record.weights_sha256
    direct = train(data, toys.job(WIDE.changed(convolutions="torch"), steps=8, key="torch"), store)
    assert direct.record.provenance["convolutions"] == "torch"
    assert direct.record.weights_sha256 != run.record.weights_sha256
    assert abs(direct.record.metrics.train_loss - run.record.metrics.train_loss) < 0.1
