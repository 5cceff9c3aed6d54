"""The simulated GPU refuses what real ones refuse, and sees what makes the host wait."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.simulated import Launches, simulated


def test_tensors_know_where_they_lie() -> None:
    with simulated("cuda") as gpu:
        x = torch.ones(2, 3, device="cuda")
        for there in (x, x[0], x.T, x + 1, torch.zeros_like(x), x.new_zeros(2), x.clone(), torch.ones(2).cuda(), x.double(),
                      copy.deepcopy(x), nn.Parameter(x), x.data):
            assert there.device == torch.device("cuda", 0) and there.is_cuda and not there.is_cpu
        for here in (torch.ones(2), x.cpu(), x.to("cpu"), torch.zeros_like(x, device="cpu"), torch.tensor([1.0])):
            assert here.device.type == "cpu" and not here.is_cuda
        layer = nn.Linear(3, 2).to("cuda")
        assert {p.device.type for p in layer.parameters()} == {"cuda"}
        layer(x).sum().backward()
        assert layer.weight.grad.device.type == "cuda"
        layer.weight.data = layer.weight.data.to(torch.bfloat16)
        assert layer.weight.is_cuda and gpu.holds(layer.weight)
    assert not x.is_cuda


def test_what_lies_apart_does_not_mix() -> None:
    with simulated("cuda"):
        x = torch.ones(3, device="cuda")
        assert (x * torch.tensor(2.0)).is_cuda  # scalars of the host may
        for mixed in (lambda: x + torch.ones(3), lambda: torch.cat([x, torch.ones(1)]), lambda: torch.ones(3) * x[0],
                      lambda: x.index_select(0, torch.tensor([0])), lambda: torch._foreach_add([x], [torch.ones(3)])):
            with pytest.raises(RuntimeError, match="same device"):
                mixed()
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        with pytest.raises(RuntimeError, match="generator"):
            torch.randperm(3, generator=torch.Generator(), device="cuda")
        weight = torch.ones(3, requires_grad=True)
        with pytest.raises(RuntimeError, match="same device"):
            (weight * x).sum().backward()


def test_apples_have_no_float64() -> None:
    with simulated("mps"):
        x = torch.ones(3, device="mps")
        for wide in (lambda: x.double(), lambda: x.to(torch.float64), lambda: torch.ones(3, device="mps", dtype=torch.float64),
                     lambda: torch.ones(3, dtype=torch.float64).to("mps")):
            with pytest.raises(TypeError, match="float64"):
                wide()
        assert x.cpu().double().dtype == torch.float64
        assert torch.ones(3, dtype=torch.float64).to("mps", torch.float32).is_mps


@pytest.mark.parametrize("waiting", [
    lambda x: x.sum().item(), lambda x: x.tolist(), lambda x: bool(x.sum() > 1), lambda x: int(x.sum()), lambda x: x.cpu(),
    lambda x: x.to("cpu", non_blocking=True), lambda x: x.nonzero(), lambda x: x[x > 0], lambda x: x.masked_select(x > 0),
    lambda x: x.long().repeat_interleave(x.long()), lambda x: torch.equal(x, x), lambda x: x.unique(),
    lambda x: torch.ones(3).to("cuda"), lambda x: torch.tensor([1.0], device="cuda"), lambda x: x.copy_(torch.ones(3)),
    lambda x: torch.ones(3).copy_(x), lambda x: x[torch.tensor([0])], lambda x: torch.cuda.synchronize(),
    lambda x: torch.linalg.eigh(x.outer(x))])
def test_waits_are_seen(waiting) -> None:
    with simulated("cuda") as gpu:
        x = torch.ones(3, device="cuda")
        with gpu.watched() as waits:
            waiting(x)
        assert len(waits) == 1


@pytest.mark.parametrize("going", [
    lambda x: x.to("cuda"), lambda x: x.float(), lambda x: torch.ones(3).to("cuda", non_blocking=True), lambda x: x[0],
    lambda x: x.long().repeat_interleave(x.long(), output_size=3), lambda x: torch.zeros(3, device="cuda"), lambda x: x * 2,
    lambda x: torch.randn(3, device="cuda"), lambda x: x.masked_fill(x > 0, 1.0), lambda x: x.argmax(), lambda x: x.shape])
def test_what_runs_on_is_no_wait(going) -> None:
    with simulated("cuda") as gpu:
        x = torch.ones(3, device="cuda")
        with gpu.watched() as waits:
            going(x)
        assert waits == []


def test_the_devices_own_generator_is_not_the_hosts() -> None:
    with simulated("cuda") as gpu:
        torch.default_generator.manual_seed(0)
        before = torch.default_generator.get_state()
        first = torch.randn(3, device="cuda").tolist()
        assert torch.equal(torch.default_generator.get_state(), before)
        gpu.seed(0)
        assert torch.randn(3, device="cuda").tolist() == first
        gpu.woken.clear()
        torch.manual_seed(0)
        assert gpu.woken == {0, 1}


def test_launches_are_counted_as_kernels() -> None:
    a, b, c = torch.ones(4, 4), torch.ones(2), torch.ones(4, 4)
    for work, count in ((lambda: a + 1, 1), (lambda: a.view(2, 8)[:1].T.detach(), 0), (lambda: (a + 1).mul_(2).sum(), 3),
                        (lambda: torch._foreach_mul_([a, b], 2.0), 1), (lambda: torch._foreach_add_([a, b], [a, b]), 1),
                        (lambda: torch._foreach_add_([a, b], [c.T, b]), 2), (lambda: torch.empty(3), 0),
                        (lambda: torch._foreach_mul_([a, b], [c[0, 0], c[0, 1]]), 2)):
        with Launches() as seen:
            work()
        assert seen.count == count, seen.seen
    convolution, x = nn.Conv2d(1, 1, 3), torch.ones(1, 1, 5, 5, requires_grad=True)
    with Launches() as seen:
        convolution(x).sum().backward()
    assert seen.seen["convolution_backward"] == 3  # by the images, the weights, the bias
