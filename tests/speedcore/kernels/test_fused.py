"""The fused way through RecordNet: what the layers one by one give, both ways, but for rounding; and where it is not taken."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore.kernels import build, layers, normgelu, select, winograd
from speedcore.networks.recordnet import FrozenScaleNorm, RecordNet, Stage
from speedcore.recipe import RecordNetConfig
from speedcore.training.state import TrainState
from tests.speedcore import toys
from tests.speedcore.kernels.test_winograd import relative_error

pytestmark = pytest.mark.skipif(winograd.library() is None, reason="no C compiler on this machine")
CHANNELS_LAST = {"memory_format": torch.channels_last}


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).bfloat16().to(**CHANNELS_LAST)


def network(**fields) -> RecordNet:
    torch.manual_seed(0)
    described = RecordNetConfig(widths=(32, 64, 64)).model_dump(exclude={"kind"}) | fields
    return RecordNet(3, (32, 32), 10, **described).to(**CHANNELS_LAST)


@pytest.mark.parametrize("channels", [16, 18, 24, 64])
@pytest.mark.parametrize("training", [True, False])
def test_norm_and_gelu_are_torchs_in_double_but_for_rounding(channels: int, training: bool) -> None:
    norm = FrozenScaleNorm(channels, 0.4, 1e-5)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2).requires_grad_()
        norm.bias.normal_()
        norm.running_mean.normal_()
    norm.train(training)
    exact = copy.deepcopy(norm).double()
    x, towards = 2 * image(50, channels, 9, 11) + 1, image(50, channels, 9, 11, seed=1)
    here, there = x.clone(**CHANNELS_LAST).requires_grad_(), x.double().requires_grad_()
    y, z = normgelu.norm_gelu(norm, here), F.gelu(exact(there))
    y.backward(towards)
    z.backward(towards.double())
    assert y.dtype == here.grad.dtype == torch.bfloat16
    for found, expected in ((y, z), (here.grad, there.grad)):
        assert relative_error(found, expected) < 2e-3  # bf16 has eight bits
    for found, expected in ((norm.weight.grad, exact.weight.grad), (norm.bias.grad, exact.bias.grad),
                            (norm.running_mean, exact.running_mean), (norm.running_var, exact.running_var)):
        assert relative_error(found, expected) < 1e-5
    assert norm.num_batches_tracked == exact.num_batches_tracked


def test_gelu_holds_from_end_to_end_of_what_bf16_can_say() -> None:
    values = torch.tensor([-3e38, -1e3, -20, -9, -5, -1, -1e-3, -0.0, 1e-38, 0.3, 2, 8, 30, 3e38]).bfloat16()
    x = values.view(1, 1, 1, -1).expand(1, 16, 1, -1).clone(**CHANNELS_LAST).requires_grad_()
    y = normgelu.bias_gelu(x, torch.zeros(16))
    y.float().sum().backward()
    assert torch.allclose(y[0, 0, 0].float(), F.gelu(values.double()).float(), rtol=8e-3, atol=1e-6)
    z = values.double().clamp(-30, 30).requires_grad_()  # beyond, torch's own derivative overflows
    F.gelu(z).sum().backward()
    assert torch.allclose(x.grad[0, 0, 0].double(), z.grad, rtol=8e-3, atol=1e-6)
    assert normgelu.bias_gelu(torch.full((1, 16, 1, 1), torch.nan).bfloat16(), torch.zeros(16)).isnan().all()


def test_a_processor_with_shorter_vectors_gets_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As long as no multiplication is fused; values that are no numbers among them."""
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path))
    x = 3 * image(4, 24, 9, 11)
    x[0, 0, 0, :2] = torch.tensor([torch.nan, torch.inf])
    found = []
    for flags in (("-march=native",), ()):
        monkeypatch.setattr(build, "_FLAGS", ("-O1", "-ffp-contract=off", "-fopenmp", "-shared", "-fPIC"))
        monkeypatch.setattr(build, "_march", lambda flags=flags: flags)
        normgelu.library.cache_clear()
        leaf = x.clone(**CHANNELS_LAST).requires_grad_()
        y = normgelu.bias_gelu(leaf, torch.linspace(-1, 1, 24))
        y.sum().backward()
        found.append((y.view(torch.int16), leaf.grad.view(torch.int16)))
    normgelu.library.cache_clear()
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_sums_do_not_depend_on_the_number_of_threads() -> None:
    x, norm, threads = image(64, 24, 15, 15), FrozenScaleNorm(24, 0.4, 1e-5), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            copied, leaf = copy.deepcopy(norm), x.clone(**CHANNELS_LAST).requires_grad_()
            normgelu.norm_gelu(copied, leaf).sum().backward()
            found.append((leaf.grad, copied.bias.grad, copied.running_var))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize(("n", "ins", "outs", "size"), [
    (3, 24, 64, (31, 31)), (2, 18, 32, (28, 28)), (3, 64, 48, (15, 14)), (2, 16, 16, (7, 9)), (1, 32, 32, (2, 3))])
def test_pooling_on_the_way_is_pooling_afterwards(n: int, ins: int, outs: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, filters = image(n, ins, *size), torch.randn(outs, ins, 3, 3) / (9 * ins) ** 0.5
    towards, found = image(n, outs, size[0] // 2, size[1] // 2, seed=1), []
    for pooled in (True, False):
        leaf, weight = x.clone(**CHANNELS_LAST).requires_grad_(), filters.clone().requires_grad_()
        y = winograd.convolve(leaf, weight, pooled=True) if pooled else F.max_pool2d(winograd.convolve(leaf, weight), 2)
        y.backward(towards)
        found.append((y.detach(), leaf.grad, weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    # Of two that bf16 holds for equal, one of some 250 windows, the larger in fp32 is taken here, the first there.
    assert all(relative_error(here, there.float()) < 0.15 for here, there in zip(*found, strict=True))


def test_of_equals_the_first_is_pooled() -> None:
    x = torch.ones(1, 16, 8, 8).bfloat16().to(**CHANNELS_LAST).requires_grad_()
    passing = torch.zeros(16, 16, 3, 3)
    winograd.convolve(x, passing, pooled=True).sum().backward()
    assert x.grad.abs().sum() == 0  # nothing passes, but nothing is lost either
    weight = passing.requires_grad_()
    winograd.convolve(x.detach(), weight, pooled=True).sum().backward()
    assert torch.allclose(weight.grad[:, :, 1, 1], torch.full((16, 16), 16.0), atol=0.5)  # one pixel of each of 16 windows
    assert torch.allclose(weight.grad[:, :, 0, 0], torch.full((16, 16), 9.0), atol=0.5)  # upper left pixels: 3×3 have one above


def use(net: nn.Module, precision: str = "bf16") -> str:
    return select.use(net, "winograd", precision, torch.device("cpu"))


def in_training(net: RecordNet, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x)
    logits.float().square().mean().backward()
    return [logits.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]


@pytest.mark.parametrize("fields", [{}, {"depth": 3},
                                    {"whiten_kernel": 4, "whiten_stride": 2, "widths": (16, 64)}])
def test_a_network_is_the_same_network_on_either_way(fields: dict) -> None:
    plain = network(**fields)
    x = torch.randn(16, 3, 32, 32).to(**CHANNELS_LAST)
    plain.prepare([x])
    short = copy.deepcopy(plain)
    assert use(short) == "winograd" and type(short) is layers.FusedRecordNet
    assert all(type(stage) is layers.FusedStage for stage in short.stages)
    assert list(short.state_dict()) == list(plain.state_dict())
    assert torch.equal(short(x), plain(x))  # fp32
    for state in (plain, short):
        state.load_state_dict(copy.deepcopy(network(**fields).state_dict() | {"whiten.weight": plain.whiten.weight}))
    exact = copy.deepcopy(plain).double()
    in_training(plain, x)
    logits = exact(x.double())
    logits.square().mean().backward()
    found = in_training(short, x)
    assert relative_error(found[0], logits) < 0.06
    expected = [p.grad for p in exact.parameters() if p.grad is not None]
    for here, there in zip(found[1:], expected, strict=True):  # rounding decides now and then which pixel is pooled
        assert F.cosine_similarity(here.double().flatten(), there.flatten(), 0) > 0.7
        assert 0.8 < here.norm() / there.norm() < 1.25
    for name, buffer in plain.named_buffers():
        assert torch.allclose(short.get_buffer(name).float(), buffer.float(), rtol=0.1, atol=0.02), name
    short.eval(), plain.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert relative_error(short(x), plain(x).float()) < 0.06


def test_what_is_frozen_gets_no_gradient_and_the_rest_does_not_mind() -> None:
    net = network()
    use(net)
    net.whiten.bias.requires_grad_(False)
    in_training(net, torch.randn(4, 3, 32, 32).to(**CHANNELS_LAST))
    assert net.whiten.bias.grad is None and net.stages[0].conv1.weight.grad.abs().sum() > 0


def test_other_networks_and_activations_only_convolve_the_short_way() -> None:
    relu = network(activation="relu")
    assert use(relu) == "winograd" and type(relu) is RecordNet
    assert type(relu.stages[1].conv2) is layers.Conv3x3
    assert use(nn.Linear(3, 3)) == "torch"
    narrow = network(widths=(8, 8, 8))
    assert use(narrow) == "winograd" and type(narrow) is layers.FusedRecordNet and type(narrow.stages[0]) is Stage


def test_what_is_in_bf16_and_not_laid_out_for_it_convolves_directly() -> None:
    recipe = toys.recipe(precision="bf16", channels_last=True, convolutions="winograd",
                         network=RecordNetConfig(widths=(32, 32, 32)))
    assert [TrainState(toys.dataset(), one, 0, torch.device("cpu")).convolutions == "torch"
            for one in (recipe, recipe.changed(channels_last=False))] == [False, True]
