"""Convolutions on a processor's matrix unit: a direct convolution's but for the order of sums; where they are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore.kernels import amx, build, select
from speedcore.machine import processor
from speedcore.recipe import RecordNetConfig
from speedcore.store.runs import RunStore
from speedcore.training.loop import replay, train
from tests.speedcore import toys
from tests.speedcore.kernels.test_winograd import WIDE, relative_error
from tests.speedcore.kernels.test_winograd8 import all_three, leaves

unit = pytest.mark.skipif(not amx.is_available(), reason="this processor has no matrix unit")
# More and fewer than 32 images, 16 and 32 channels, odd and even sides.
SIZES = [(3, 32, 64, (15, 15)), (2, 64, 24, (31, 31)), (40, 48, 32, (7, 7)), (70, 32, 130, (3, 3)), (2, 72, 32, (9, 14)),
         (33, 18, 40, (14, 14)), (2, 16, 16, (5, 2)), (1, 3, 5, (4, 3))]


def direct(x: torch.Tensor, w: torch.Tensor, pooled: bool) -> torch.Tensor:
    """In fp32, of weights as they are in bf16; results are rounded before the largest is looked for."""
    y = F.conv2d(x.float(), w + (w.bfloat16().float() - w).detach(), padding=1).bfloat16()
    return F.max_pool2d(y.float(), 2).bfloat16() if pooled else y


@unit
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(("n", "ins", "outs", "size"), SIZES)
def test_result_and_gradients_are_a_direct_convolutions(n: int, ins: int, outs: int, size: tuple[int, int], pooled: bool) -> None:
    x, w = leaves(n, ins, outs, size)
    for found, expected in zip(all_three(amx.convolve, x, w, pooled), all_three(direct, x, w, pooled), strict=True):
        assert found.shape == expected.shape and relative_error(found, expected) < 3e-3  # bf16 has eight bits


@unit
def test_gradients_of_filters_are_added_up_in_fp32() -> None:
    x, w = leaves(64, 32, 32, (7, 7))
    assert relative_error(all_three(amx.convolve, x, w)[2], all_three(direct, x, w)[2]) < 1e-5


@unit
def test_neither_threads_nor_bands_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for pooled in (False, True):
        x, w = leaves(70, 40, 48, (9, 7))
        whole, threads = all_three(amx.convolve, x, w, pooled), torch.get_num_threads()
        try:
            torch.set_num_threads(threads + 1)
            others = all_three(amx.convolve, x, w, pooled)
        finally:
            torch.set_num_threads(threads)
        monkeypatch.setattr(amx, "_ROOM_BYTES", 1)
        for result, of_x, of_filters in (others, all_three(amx.convolve, x, w, pooled)):
            assert torch.equal(result, whole[0]) and torch.equal(of_x, whole[1])
            assert relative_error(of_filters, whole[2]) < 1e-5
        monkeypatch.undo()


@unit
def test_no_images_give_no_results_and_nothing_to_pool_is_an_error() -> None:
    _, w = leaves(1, 32, 48, (7, 7))
    none = torch.empty(0, 32, 7, 7, dtype=torch.bfloat16)
    assert amx.convolve(none, w, True).shape == (0, 48, 3, 3)
    amx.convolve(none, w).sum().backward()
    assert not w.grad.any()
    with pytest.raises(ValueError, match="1×5 cells"):
        amx.convolve(torch.zeros(2, 32, 1, 5, dtype=torch.bfloat16), w, True)


@unit
def test_a_first_layer_needs_no_gradient_of_its_images_and_a_frozen_one_none_of_its_filters() -> None:
    x, w = leaves(3, 32, 64, (15, 15))
    whole = all_three(amx.convolve, x, w, True)
    towards = torch.randn(whole[0].shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert torch.equal(torch.autograd.grad(amx.convolve(x.detach(), w, True), w, towards)[0], whole[2])
    assert torch.equal(torch.autograd.grad(amx.convolve(x, w.detach(), True), x, towards)[0], whole[1])


@unit
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none_and_stays_with_its_image(value: float) -> None:
    x, w = leaves(2, 32, 32, (8, 8))
    with torch.no_grad():
        x[0, 3, 4, 4] = value
    y = amx.convolve(x, w)
    assert not y[0, :, 3:6, 3:6].isfinite().any() and y[0, :, 0].isfinite().all() and y[1].isfinite().all()


def test_without_the_unit_it_compiles_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_FLAGS", ("-O1", "-fopenmp", "-shared", "-fPIC"))
    monkeypatch.setattr(build, "_march", lambda: ())
    monkeypatch.setattr(processor, "features", lambda: select._MATRIX_UNIT)
    for cached in (amx.library, amx.is_available):
        cached.cache_clear()
    try:
        assert not amx.is_available()
        with pytest.raises(RuntimeError, match="no matrix unit"):
            amx.convolve(*leaves(1, 32, 32, (3, 3)))
        network = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False))
        assert select.use(network, "amx", "bf16", torch.device("cpu")) == "torch" and type(network[0]) is nn.Conv2d
    finally:
        for cached in (amx.library, amx.is_available):
            cached.cache_clear()


@unit
def test_a_run_says_that_it_went_this_way_and_is_replayed_to_the_bit(store: RunStore, tmp_path: Path) -> None:
    data, tiles = toys.dataset(), WIDE.changed(convolutions="amx", network=RecordNetConfig(widths=(32, 32, 32)).model_dump())
    run = train(data, toys.job(tiles, steps=8), store)
    assert run.record.provenance["convolutions"] == "amx"
    assert replay(run, data, RunStore(tmp_path / "again")).record.weights_sha256 == run.record.weights_sha256
    other = train(data, toys.job(tiles.changed(convolutions="torch"), steps=8, key="torch"), store)
    assert abs(other.record.metrics.train_loss - run.record.metrics.train_loss) < 0.1
