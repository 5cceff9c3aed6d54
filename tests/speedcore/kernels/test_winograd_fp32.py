"""Winograd's convolutions, norm and GELU in fp32: what torch has in fp64 but for rounding; where they are taken."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore import kernels
from speedcore.kernels import build, layers, normgelu, winograd_fp32
from speedcore.machine import processor
from speedcore.networks.recordnet import FrozenScaleNorm, RecordNet
from speedcore.recipe import RecordNetConfig
from speedcore.store.runs import RunStore
from speedcore.training.loop import replay, train
from speedcore.training.state import TrainState
from tests.speedcore import toys
from tests.speedcore.kernels.test_winograd import relative_error

pytestmark = pytest.mark.skipif(winograd_fp32.library() is None, reason="no C compiler on this machine")
CPU = torch.device("cpu")
LAST = {"memory_format": torch.channels_last}
ALL = ("avx2", "fma", "asimd", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16")


def leaves(n: int, ins: int, outs: int, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x, w = torch.randn(n, ins, *size).to(**LAST), torch.randn(outs, ins, 3, 3) / (9 * ins) ** 0.5
    return x.requires_grad_(), w.requires_grad_()


def gradients(y: torch.Tensor, *of: torch.Tensor) -> list[torch.Tensor]:
    towards = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, of, towards.to(y.dtype))]


@pytest.mark.parametrize(("n", "ins", "outs", "size"), [
    (3, 32, 64, (15, 15)), (2, 64, 24, (31, 31)), (40, 48, 32, (7, 7)), (7, 16, 130, (3, 3)), (2, 70, 33, (9, 14)),
    (1, 16, 16, (1, 1)), (3, 18, 40, (14, 14)), (1, 16, 16, (5, 2)), (0, 16, 16, (8, 8))])
@pytest.mark.parametrize("pooled", [False, True])
def test_result_and_gradients_are_those_in_fp64(n: int, ins: int, outs: int, size: tuple[int, int], pooled: bool) -> None:
    x, w = leaves(n, ins, outs, size)
    if pooled and min(size) < 2:
        with pytest.raises(ValueError, match="1×1 cells"):
            winograd_fp32.convolve(x, w, True)
        return
    exact_x, exact_w = (leaf.detach().double().requires_grad_() for leaf in (x, w))
    y = F.conv2d(exact_x, exact_w, padding=1)
    found = gradients(winograd_fp32.convolve(x, w, pooled), x, w)
    if pooled:  # where two differ by less than fp32 rounds, either may be the largest: as was chosen here
        chosen = F.max_pool2d(winograd_fp32.convolve(x, w).detach(), 2, return_indices=True)[1] if n else torch.empty(
            0, outs, size[0] // 2, size[1] // 2, dtype=torch.long)
        y = y.flatten(2).gather(2, chosen.flatten(2)).view(chosen.shape)
    for here, there in zip(found, gradients(y, exact_x, exact_w), strict=True):
        assert here.shape == there.shape and here.dtype == torch.float32
        assert n == 0 or relative_error(here, there) < 3e-6


def test_neither_threads_nor_the_order_of_memory_matter() -> None:
    x, w = leaves(41, 24, 48, (7, 9))
    whole, threads = gradients(winograd_fp32.convolve(x, w, True), x, w), torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        others = gradients(winograd_fp32.convolve(x, w, True), x, w)
    finally:
        torch.set_num_threads(threads)
    plain = gradients(winograd_fp32.convolve(x.contiguous(), w, True), x, w)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(whole, others, plain, strict=True))


def test_what_needs_no_gradient_gets_none_and_a_second_derivative_is_an_error() -> None:
    x, w = leaves(3, 16, 24, (9, 9))
    whole = gradients(winograd_fp32.convolve(x, w, True), x, w)
    assert torch.equal(gradients(winograd_fp32.convolve(x.detach(), w, True), w)[1], whole[2])
    assert torch.equal(gradients(winograd_fp32.convolve(x, w.detach(), True), x)[1], whole[1])
    [first] = torch.autograd.grad(winograd_fp32.convolve(x, w).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_vectors_of_sixteen_give_the_same_but_for_the_order_of_sums(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a processor with AVX-512 compiles, as far as it is no instruction of its own."""
    x, w = leaves(5, 25, 57, (13, 9))
    norm = nn.BatchNorm2d(57)
    here = [gradients(F.gelu(norm(winograd_fp32.convolve(x, w))), x, w), gradients(winograd_fp32.convolve(x, w, True), x, w)]
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_FLAGS", (*build._FLAGS, "-O1", "-DSIXTEEN"))
    for library in (winograd_fp32.library, normgelu.library):
        library.cache_clear()
    try:
        assert winograd_fp32.least_channels() == 16
        there = [gradients(normgelu.norm_gelu(norm, winograd_fp32.convolve(x, w)), x, w),
                 gradients(winograd_fp32.convolve(x, w, True), x, w)]
    finally:
        for library in (winograd_fp32.library, normgelu.library):
            library.cache_clear()
    for one, other in zip(here, there, strict=True):
        assert all(relative_error(a, b) < 1e-5 for a, b in zip(one, other, strict=True))


def test_too_few_channels_are_refused() -> None:
    x, w = leaves(1, 3, 16, (8, 8))
    with pytest.raises(ValueError, match="3 → 16 channels"):
        winograd_fp32.convolve(x, w)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_no_number_stays_none_and_stays_with_its_image(value: float) -> None:
    x, w = leaves(2, 16, 16, (8, 8))
    with torch.no_grad():
        x[0, 3, 4, 4] = value
    y = winograd_fp32.convolve(x, w)
    assert not y[0, :, 3:6, 3:6].isfinite().any() and y[1].isfinite().all()


@pytest.mark.parametrize("channels", [16, 18, 64])
@pytest.mark.parametrize("training", [True, False])
def test_norm_and_gelu_are_torchs_in_fp64(channels: int, training: bool) -> None:
    """A mean of a hundred times the deviation takes nothing from the variance."""
    torch.manual_seed(0)
    norm = FrozenScaleNorm(channels, 0.4, 1e-5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2).requires_grad_()
        norm.bias.normal_()
        norm.running_mean.fill_(100)
    norm.train(training)
    exact = copy.deepcopy(norm).double()
    x = (torch.randn(50, channels, 9, 11) + 100).to(**LAST).requires_grad_()
    there = x.detach().double().requires_grad_()
    found = gradients(normgelu.norm_gelu(norm, x), x, norm.weight, norm.bias)
    expected = gradients(F.gelu(exact(there)), there, exact.weight, exact.bias)
    for here, other in zip([*found, norm.running_mean, norm.running_var], [*expected, exact.running_mean, exact.running_var],
                           strict=True):
        assert relative_error(here, other) < 3e-5  # fp32 holds 100 to 4e-6
    assert norm.num_batches_tracked == exact.num_batches_tracked


def test_gelu_holds_from_end_to_end_of_what_fp32_can_say() -> None:
    values = torch.cat([torch.linspace(-14, 14, 28001), torch.tensor([-3e38, -1e3, -20, -0.0, 1e-38, 30, 3e38])])
    x = values.view(1, 1, 1, -1).expand(1, 16, 1, -1).clone(**LAST).requires_grad_()
    y = normgelu.bias_gelu(x, torch.zeros(16))
    y.sum().backward()
    z = values.double().clamp(-30, 30).requires_grad_()  # beyond, torch's own derivative overflows
    F.gelu(z).sum().backward()
    assert torch.allclose(y[0, 3, 0].double(), F.gelu(values.double()), rtol=5e-7, atol=1e-6)
    assert torch.allclose(x.grad[0, 3, 0].double(), z.grad, rtol=5e-7, atol=5e-7)
    assert normgelu.bias_gelu(torch.full((1, 16, 1, 1), torch.nan), torch.zeros(16)).isnan().all()


def network(**fields) -> RecordNet:
    torch.manual_seed(0)
    described = RecordNetConfig(widths=(32, 64, 64)).model_dump(exclude={"kind"}) | fields
    return RecordNet(3, (32, 32), 10, **described)


@pytest.mark.parametrize("fields", [{}, {"depth": 3},
                                    {"whiten_kernel": 4, "whiten_stride": 2, "widths": (16, 64)}])
def test_a_network_is_the_same_network_on_either_way(fields: dict) -> None:
    plain, x = network(**fields), torch.randn(16, 3, 32, 32)
    plain.prepare([x])
    short = copy.deepcopy(plain)
    assert kernels.use(short, "winograd", "fp32", CPU) == "winograd" and type(short) is layers.FusedRecordNet
    assert list(short.state_dict()) == list(plain.state_dict())
    exact = copy.deepcopy(plain).double()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(short(x), plain(x))  # another precision than it was made for
    assert torch.equal(copy.deepcopy(short).double()(x.double()), copy.deepcopy(plain).double()(x.double()))
    for net in (plain, short):
        net.load_state_dict(exact.state_dict())
    found, expected = short(x), exact(x.double())
    assert relative_error(found, expected) < 1e-4
    found.square().mean().backward()
    expected.square().mean().backward()
    for here, there in zip(short.parameters(), exact.parameters(), strict=True):
        if there.grad is not None:  # two that fp32 holds for nearly equal may change places
            assert F.cosine_similarity(here.grad.double().flatten(), there.grad.flatten(), 0) > 0.999
    for name, buffer in exact.named_buffers():
        assert torch.allclose(short.get_buffer(name).double(), buffer.double(), rtol=1e-4, atol=1e-5), name


def test_maps_too_small_to_gain_convolve_directly() -> None:
    net, x = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False)), torch.randn(2, 16, 2, 9)
    assert kernels.use(net, "winograd", "fp32", CPU) == "winograd"
    assert torch.equal(net(x), F.conv2d(x, net[0].weight, padding=1))


@pytest.mark.parametrize(("has", "precision", "expected"), [
    (("avx2", "fma"), "fp32", ("winograd",)), (("avx2", "fma"), "bf16", ()), (("asimd",), "fp32", ("winograd",)),
    ((), "fp32", ()), (ALL, "fp32", ("winograd",)), (ALL, "bf16", ("amx", "winograd8", "winograd")),
    (ALL[:8], "bf16", ("winograd8", "winograd")), (ALL[:7], "bf16", ("winograd8",)), (("asimd", "bf16"), "bf16", ("winograd",))])
def test_what_is_quick_is_asked_of_the_processor_before_anything_is_compiled(
        has: tuple[str, ...], precision: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset(has))
    monkeypatch.setattr(build, "load", lambda *_: pytest.fail("compiled"))
    assert kernels.available(precision) == expected
    if not expected:
        assert kernels.use(nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False)), "auto", precision, CPU) == "torch"


@pytest.mark.parametrize(("cap", "below"), [("avx2", ()), ("avx512", ("winograd8", "winograd"))])
def test_a_cap_takes_away_what_is_above_it(cap: str, below: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_features", lambda: frozenset(ALL))
    monkeypatch.setenv("SPEEDCORE_ISA", cap)
    assert kernels.available("bf16") == below


def test_a_gpu_keeps_its_own_kernels() -> None:
    net = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False))
    assert kernels.use(net, "winograd", "fp32", torch.device("cuda")) == "torch" and type(net[0]) is nn.Conv2d


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_run_in_fp32_says_how_it_convolved_and_is_replayed_to_the_bit(
        channels_last: bool, store: RunStore, tmp_path: Path) -> None:
    recipe = toys.recipe(network=RecordNetConfig(widths=(32, 32, 32)), channels_last=channels_last, convolutions="winograd")
    data = toys.dataset()
    run = train(data, toys.job(recipe, steps=8), store)
    assert run.record.provenance["convolutions"] == "winograd"
    assert replay(run, data, RunStore(tmp_path / "again")).record.weights_sha256 == run.record.weights_sha256
    direct = train(data, toys.job(recipe.changed(convolutions="torch"), steps=8, key="torch"), store)
    assert direct.record.provenance["convolutions"] == "torch"
    assert abs(direct.record.metrics.train_loss - run.record.metrics.train_loss) < 1e-3


def test_a_recipe_in_fp32_that_convolves_directly_is_left_alone() -> None:
    state = TrainState(toys.dataset(), toys.recipe(network=RecordNetConfig(widths=(32, 32, 32)), channels_last=True), 0, CPU)
    assert state.convolutions == "torch" and type(state.network) is RecordNet
