"""Winograd's convolutions in 8 bits: a convolution's sums but for rounding, the same on every machine; where they are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore.kernels import build, select, winograd, winograd8
from speedcore.recipe import RecordNetConfig
from speedcore.store.runs import RunStore
from speedcore.training.loop import replay, train
from tests.speedcore import toys
from tests.speedcore.kernels.test_winograd import WIDE, relative_error

pytestmark = pytest.mark.skipif(winograd8.library() is None, reason="no C compiler on this machine")
SIZES = [(3, 32, 64, (15, 15)), (2, 64, 24, (31, 31)), (40, 48, 32, (7, 7)), (70, 32, 130, (3, 3)), (2, 72, 32, (9, 14)),
         (1, 32, 32, (1, 1)), (3, 18, 40, (14, 14)), (2, 16, 16, (5, 2))]


def leaves(n: int, ins: int, outs: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as they come out of GELU, and filters."""
    torch.manual_seed(0)
    image = F.gelu(torch.randn(n, ins, *size)).bfloat16().to(memory_format=torch.channels_last)
    return image.requires_grad_(), (torch.randn(outs, ins, 3, 3) / (9 * ins) ** 0.5).requires_grad_()


def all_three(backend, x: torch.Tensor, w: torch.Tensor, pooled: bool = False) -> list[torch.Tensor]:
    """Result, gradient of the images, gradient of the filters."""
    y = backend(x, w, pooled)
    towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, (x, w), towards)]


@pytest.mark.parametrize(("n", "ins", "outs", "size"), SIZES)
def test_result_and_gradients_are_a_convolutions_but_for_rounding(n: int, ins: int, outs: int, size: tuple[int, int]) -> None:
    x, w = leaves(n, ins, outs, size)
    direct = all_three(lambda x, w, pooled: F.conv2d(x.float(), w, padding=1), x, w)
    for found, expected in zip(all_three(winograd8.convolve, x, w), direct, strict=True):
        assert found.shape == expected.shape and relative_error(found, expected) < 0.07
    if min(size) > 1:
        assert relative_error(winograd8.convolve(x, w, True), F.max_pool2d(direct[0], 2)) < 0.05
    else:
        with pytest.raises(ValueError, match="1×1 cells"):
            winograd8.convolve(x, w, True)


@pytest.mark.parametrize(("n", "ins", "outs", "size"), SIZES[:3])
def test_pooled_gradients_go_to_the_largest_result(n: int, ins: int, outs: int, size: tuple[int, int]) -> None:
    """What was largest after rounding may differ from what is: against a convolution that chose the same, they agree."""
    x, w = leaves(n, ins, outs, size)
    whole = winograd8.convolve(x, w).detach().float()
    chosen = F.max_pool2d(whole, 2, return_indices=True)[1]

    def same_choice(x, w, pooled):
        return F.conv2d(x.float(), w, padding=1).flatten(2).gather(2, chosen.flatten(2)).view(chosen.shape)

    for found, expected in zip(all_three(winograd8.convolve, x, w, True), all_three(same_choice, x, w, True), strict=True):
        assert relative_error(found, expected) < 0.07


def test_scales_are_of_each_tile_so_that_a_loud_image_leaves_a_quiet_one_alone() -> None:
    x, w = leaves(2, 32, 32, (8, 8))
    loud = x.detach().clone()
    loud[0] *= 1e4
    quiet = winograd8.convolve(x.detach(), w)[1]
    assert torch.equal(winograd8.convolve(loud, w)[1], quiet)


def test_nothing_depends_on_threads_or_on_what_fits_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = leaves(41, 32, 48, (7, 7))
    whole, threads = all_three(winograd8.convolve, x, w), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert all(torch.equal(*pair) for pair in zip(whole, all_three(winograd8.convolve, x, w), strict=True))
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(winograd8, "_ROOM_BYTES", 1)
    monkeypatch.setattr(winograd8, "_PLANES_BYTES", 36 * 4 * 80 * 4)  # four images
    result, of_x, of_filters = all_three(winograd8.convolve, x, w)
    assert torch.equal(result, whole[0]) and torch.equal(of_x, whole[1])
    assert relative_error(of_filters, whole[2]) < 0.02  # rounded to bf16 and added up in another order
    assert winograd8.convolve(torch.empty(0, 32, 7, 7, dtype=torch.bfloat16), w).shape == (0, 48, 7, 7)


def test_a_first_layer_needs_no_gradient_of_its_images_and_a_frozen_one_none_of_its_filters() -> None:
    x, w = leaves(3, 32, 64, (15, 15))
    for pooled in (False, True):
        whole = all_three(winograd8.convolve, x, w, pooled)
        towards = torch.randn(whole[0].shape, generator=torch.Generator().manual_seed(1)).bfloat16()
        assert torch.equal(torch.autograd.grad(winograd8.convolve(x.detach(), w, pooled), w, towards)[0], whole[2])
        assert torch.equal(torch.autograd.grad(winograd8.convolve(x, w.detach(), pooled), x, towards)[0], whole[1])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none(value: float) -> None:
    x, w = leaves(2, 32, 32, (8, 8))
    with torch.no_grad():
        x[0, 3, 4, 4] = value
    y = winograd8.convolve(x, w)
    y.sum().backward()
    assert not y[0, :, 3:6, 3:6].isfinite().any() and y[1].isfinite().all()
    assert not w.grad.isfinite().all()
    assert not winograd8.convolve(torch.zeros(1, 32, 8, 8).bfloat16(), w).any()


def test_a_processor_without_the_instruction_gets_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Products of whole numbers have no rounding; all else is the same arithmetic, as long as no multiplication is fused."""
    x, w = leaves(3, 20, 24, (9, 9))
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path))
    found = []
    for flags in (("-march=native",), ()):
        monkeypatch.setattr(build, "_FLAGS", ("-O1", "-ffp-contract=off", "-fopenmp", "-shared", "-fPIC"))
        monkeypatch.setattr(build, "_march", lambda flags=flags: flags)
        winograd8.library.cache_clear()
        found.append((all_three(winograd8.convolve, x, w, True), winograd8.is_available()))
    winograd8.library.cache_clear()
    (here, _), (plain, quick) = found
    assert not quick and all(torch.equal(*pair) for pair in zip(here, plain, strict=True))


def test_layers_and_stages_take_it_where_the_machine_is_quick_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for quick, backend in ((True, winograd8.convolve), (False, winograd.convolve)):
        monkeypatch.setattr(winograd8, "is_available", lambda quick=quick: quick)
        monkeypatch.setattr(select, "available", lambda _, quick=quick: ("winograd8",) if quick else ())
        network = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False))
        wanted = "winograd8" if quick else "winograd"
        assert select.use(network, "winograd8", "bf16", torch.device("cpu")) == wanted
        x = torch.randn(2, 32, 8, 8).bfloat16()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(network(x), backend(x, network[0].weight))


def test_a_run_says_that_it_convolved_in_8_bits_and_is_replayed_to_the_bit(
        store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd8, "is_available", lambda: True)
    monkeypatch.setattr(select, "available", lambda _: ("winograd8",))
    data = toys.dataset()
    eight = WIDE.changed(convolutions="winograd8", network=RecordNetConfig(widths=(32, 32, 32)).model_dump())
    run = train(data, toys.job(eight, steps=8), store)
    assert run.record.provenance["convolutions"] == "winograd8"
    assert replay(run, data, RunStore(tmp_path / "again")).record.weights_sha256 == run.record.weights_sha256
    other = train(data, toys.job(WIDE, steps=8, key="sixteen"), store)
    assert other.record.weights_sha256 != run.record.weights_sha256
    assert abs(other.record.metrics.train_loss - run.record.metrics.train_loss) < 0.1
