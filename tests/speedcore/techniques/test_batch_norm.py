"""Batch-norm's statistics taken anew for the tested weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from speedcore.clock import POLICIES
from speedcore.errors import RecipeError
from speedcore.networks import build
from speedcore.planning.candidates import Candidate
from speedcore.planning.costs import Throughput
from speedcore.recipe import AverageConfig, Peek, RecordNetConfig
from speedcore.replicas.switches import fixed_order
from speedcore.techniques import batch_norm as precise_norms
from speedcore.techniques.augment import Normalise
from speedcore.training.loop import train
from speedcore.training.state import TrainState, still_to_come
from tests.speedcore import toys


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, momentum=0.4), nn.Dropout(0.5), nn.Conv2d(3, 4, 1),
                         nn.BatchNorm2d(4, momentum=0.3))


def test_statistics_are_the_mean_over_batches_with_all_else_at_rest() -> None:
    net, batches = network(), torch.randn(3, 5, 2, 6, 6).unbind()
    net.train()
    net[0].eval()
    precise_norms.recalibrate(net, batches)
    maps = [net[0](x) for x in batches]
    expected = torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps]).mean(0)
    torch.testing.assert_close(net[1].running_var, expected)
    torch.testing.assert_close(net[1].running_mean, torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0))
    # The second layer sees what the first makes of the same batch; dropout is off.
    normed = [net[3](nn.functional.batch_norm(m, None, None, net[1].weight, net[1].bias, True)) for m in maps]
    torch.testing.assert_close(net[4].running_mean, torch.stack([m.mean((0, 2, 3)) for m in normed]).mean(0))
    assert [layer.training for layer in net] == [False, True, True, True, True] and net.training
    assert (net[1].momentum, net[4].momentum) == (0.4, 0.3)
    assert net[0].weight.grad is None


def test_a_failure_leaves_the_network_as_it_was() -> None:
    net = network().eval()
    net(torch.randn(4, 2, 6, 6))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def broken():
        yield torch.randn(5, 2, 6, 6)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        precise_norms.recalibrate(net, broken())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(layer.training for layer in net) and net[1].momentum == 0.4


@pytest.mark.parametrize("average", [None, AverageConfig(power=0, every=2)])
def test_tested_weights_carry_statistics_of_their_own(store, average) -> None:
    data, changes = toys.dataset(), {"average": average, "epochs": 2}
    running = train(data, toys.job(toys.recipe(**changes), 8, key="running"), store)
    precise = train(data, toys.job(toys.recipe(**changes, bn_recalibration_images=100), 8, key="precise"), store)
    one, other = running.weights(), precise.weights()
    assert all(torch.equal(one[name], other[name]) == ("running_" not in name) for name in one if "num_batches" not in name)
    # 80 of a sample of 100 images: two whole batches of 40.
    net, x = precise.network(), Normalise.of(data)(data.train.images[fixed_order(160)[:80]])
    precise_norms.recalibrate(net, x.split(40))
    found = net.state_dict()
    for name in (n for n in other if "running_" in n):
        torch.testing.assert_close(found[name], other[name], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.from_numpy(precise.predictions["logits"]),
                               net(Normalise.of(data)(data.test.images)).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("precision", "apart"), [("bf16", 0.1), ("fp32", 1e-3)])
def test_the_fused_way_takes_them_too(precision: str, apart: float) -> None:
    """To what bf16 leaves of them; where no quicker way is compiled both are the same."""
    data = toys.dataset(size=32)
    recipe = toys.recipe(network=RecordNetConfig(widths=(32, 32, 32)), precision=precision, channels_last=True,
                         bn_recalibration_images=80, convolutions="winograd")
    quick = TrainState(data, recipe, 0, torch.device("cpu"))
    quick.whiten(data.train)
    plain = build(recipe.network, 1, (32, 32), 4)
    plain.load_state_dict(quick.network.state_dict())
    quick.recalibrate_batch_norm(data.train)
    precise_norms.recalibrate(plain, Normalise.of(data)(data.train.images[fixed_order(160)[:80]]).split(40))
    for (name, one), other in zip(quick.network.named_buffers(), plain.buffers(), strict=True):
        if "running_var" in name:
            torch.testing.assert_close(one, other, rtol=apart, atol=1e-3 * apart)
            assert not torch.equal(one, torch.ones_like(one))


@pytest.mark.parametrize("strict", [False, True])
def test_any_clock_keeps_time_for_them(strict) -> None:
    data = toys.dataset()
    looks, rest = {}, {}
    for count in (0, 10_000_000):
        state = TrainState(data, toys.recipe(bn_recalibration_images=count), 0, torch.device("cpu"))
        looks[count], rest[count] = still_to_come(state, data.test, None, strict)
    assert looks == {0: 0.0, 10_000_000: 0.0}
    assert rest[0] < 1 < rest[10_000_000] < math.inf and (rest[0] > 0) == strict


def test_a_run_that_peeks_cannot_have_them() -> None:
    with pytest.raises(RecipeError, match="bn_recalibration_images tests another one"):
        toys.recipe().changed(peek=Peek(), bn_recalibration_images=10)


def test_plans_price_the_pass_over_images() -> None:
    data = toys.dataset()

    def beside(clock: str, count: int) -> float:
        option = Candidate(data, toys.recipe(bn_recalibration_images=count), "", Throughput(0.1, forward_seconds=0.01), 12, 4)
        return option.beside_training(POLICIES[clock])

    assert beside("dawnbench", 0) == 0
    assert beside("dawnbench", 100) == pytest.approx(1.0)
    assert beside("everything", 100) - beside("everything", 0) == pytest.approx(1.0)
