"""Averages of weights, views at test time, and modes that are given back."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from speedcore.recipe import AverageConfig, LookaheadConfig, TTAConfig
from speedcore.techniques.augment import Normalise
from speedcore.techniques.averaging import Lookahead, WeightAverage
from speedcore.training import evaluate
from speedcore.training.hooks import Techniques
from tests.speedcore import toys

PLAIN = Normalise((0.0,), (1.0,))


def set_to(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(value)


def test_average_by_hand_with_buffers() -> None:
    network = nn.BatchNorm2d(1)
    average = WeightAverage(network, AverageConfig(decay=0.5, every=2))
    for step, value in enumerate((1.0, 2.0, 30.0, 4.0, 50.0, 8.0), start=1):
        set_to(network, value)
        average.after_step(step, step / 6)
    average.before_test()
    # Steps 2, 4 and 6 are seen, two steps at once: the old average keeps 0.5² = 1/4 of its weight.
    expected = 0.25 * (0.25 * 2 + 0.75 * 4) + 0.75 * 8
    state = network.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert state[name].item() == pytest.approx(expected), name
    assert state["num_batches_tracked"].item() == 8  # a count is not averaged


def test_average_begins_at_its_start() -> None:
    network = nn.Linear(1, 1, bias=False)
    average = WeightAverage(network, AverageConfig(decay=0.5, every=1, start=0.5))
    for step, value in enumerate((100.0, 4.0, 2.0), start=1):
        set_to(network, value)
        average.after_step(step, step / 4)
    average.before_test()
    assert network.weight.item() == 0.5 * 4 + 0.5 * 2


def test_no_update_leaves_the_network_alone() -> None:
    network = nn.Linear(1, 1, bias=False)
    set_to(network, 3.0)
    WeightAverage(network, AverageConfig()).before_test()
    assert network.weight.item() == 3.0


def test_lookahead_by_hand_with_buffers() -> None:
    network = nn.BatchNorm2d(1)
    set_to(network, 10.0)
    slow = Lookahead(network, LookaheadConfig(decay=0.5, every=2, power=1.0))
    seen = []
    for step, value in enumerate((1.0, 2.0, 30.0, 4.0, 50.0), start=1):
        set_to(network, value)
        slow.after_step(step, step / 4)
        seen.append(network.weight.item())
    # At steps 2 and 4 the slow weights keep 0.5² · progress: 1/8 and 1/4. In between the network is left alone.
    first = 10 / 8 + 2 * 7 / 8
    second = first / 4 + 4 * 3 / 4
    assert seen == pytest.approx([1, first, 30, second, 50])
    slow.before_test()
    state = network.state_dict()
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert state[name].item() == pytest.approx(second), name
    assert state["num_batches_tracked"].item() == 50  # a count is not averaged


def test_lookahead_without_an_update_leaves_the_network_alone() -> None:
    network = nn.Linear(1, 1, bias=False)
    set_to(network, 3.0)
    slow = Lookahead(network, LookaheadConfig(every=5))
    set_to(network, 4.0)
    slow.after_step(4, 0.5)
    slow.before_test()
    assert network.weight.item() == 4.0


def test_an_average_is_taken_of_what_lookahead_leaves() -> None:
    recipe = toys.recipe(average=AverageConfig(every=1), lookahead=LookaheadConfig(decay=0.5, every=1, power=0.0))
    network = nn.Linear(1, 1, bias=False)
    set_to(network, 8.0)
    both = Techniques(SimpleNamespace(network=network, recipe=recipe), None)
    set_to(network, 4.0)
    both.after_step(1, 1.0)
    assert network.weight.item() == 6.0  # half the slow 8, half the fast 4
    set_to(network, 0.0)
    both.before_test()
    assert network.weight.item() == 6.0


# --- modes -----------------------------------------------------------------------------------------------------------

def mixed() -> nn.Module:
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Sequential(nn.Dropout(), nn.ReLU()))
    network.train()
    network[1][0].eval()
    return network


@pytest.mark.parametrize("fails", [False, True])
def test_every_module_gets_its_own_mode_back(fails: bool) -> None:
    network = mixed()
    before = [module.training for module in network.modules()]
    try:
        with evaluate.eval_mode(network):
            assert not any(module.training for module in network.modules())
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert [module.training for module in network.modules()] == before


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.inner = nn.Dropout()

    def forward(self, x):
        raise KeyError("no")


def test_a_network_that_fails_gets_its_mode_back() -> None:
    network = Failing().train()
    with pytest.raises(KeyError):
        evaluate.logits(network, torch.zeros(1, 1, 4, 4, dtype=torch.uint8), PLAIN)
    assert network.training and network.inner.training


# --- views -----------------------------------------------------------------------------------------------------------

class Corner(nn.Module):
    """Logits: the top left pixel, and minus it. In 0..1 units, without normalisation."""

    def __init__(self):
        super().__init__()
        self.sign = nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, x):
        return x[:, 0, 0, 0, None] * self.sign


IMAGE = torch.tensor([[10, 20, 30], [40, 50, 60], [70, 80, 90]], dtype=torch.uint8).view(1, 1, 3, 3)


@pytest.mark.parametrize(("views", "corners"), [
    # The image shows 10. Its mirror shows 30. Shifted down-right with a mirrored border, the image shows what lies
    # diagonally inside: 50; shifted up-left it shows 50 as well. So do both shifts of the mirror image.
    (TTAConfig(mirror=True), [30]), (TTAConfig(shifts=True), [50, 50]),
    (TTAConfig(mirror=True, shifts=True), [30, 50, 50, 50, 50])])
def test_views_by_hand(views: TTAConfig, corners: list[int]) -> None:
    network = Corner()
    seen = [network(x)[0, 0].item() * 255 for x in evaluate.further_views(PLAIN(IMAGE), views)]
    assert seen == pytest.approx(corners)
    plain = evaluate.logits(network, IMAGE, PLAIN)
    further = evaluate.logits(network, IMAGE, PLAIN, views=views)
    assert further[0, 0].item() * 255 == pytest.approx(sum(corners) / len(corners))
    joined = evaluate.with_views(plain, further, views)
    assert joined[0].tolist() == pytest.approx([mean := (10 + sum(corners)) / (1 + len(corners)) / 255, -mean])


def test_shifted_views_may_have_a_share_of_their_own() -> None:
    network, views = Corner(), TTAConfig(mirror=True, shifts=True, shift_share=0.5)
    plain, further = evaluate.logits(network, IMAGE, PLAIN), evaluate.logits(network, IMAGE, PLAIN, views=views)
    # Upright views show 10 and 30 (a quarter each), the four shifted ones 50 (an eighth each).
    assert evaluate.with_views(plain, further, views)[0, 0].item() * 255 == pytest.approx((10 + 30) / 4 + 4 * 50 / 8)


def test_shifts_move_the_whole_image() -> None:
    x = PLAIN(IMAGE) * 255
    down_right, up_left = evaluate.further_views(x, TTAConfig(shifts=True))
    torch.testing.assert_close(down_right[0, 0], torch.tensor([[50.0, 40, 50], [20, 10, 20], [50, 40, 50]]))
    torch.testing.assert_close(up_left[0, 0], torch.tensor([[50.0, 60, 50], [80, 90, 80], [50, 60, 50]]))


def test_batches_do_not_change_logits() -> None:
    images = torch.randint(256, (7, 1, 3, 3), dtype=torch.uint8)
    network = Corner()
    whole = evaluate.logits(network, images, PLAIN)
    for size in (1, 3, 7):
        assert torch.equal(evaluate.logits(network, images, PLAIN, batch_size=size), whole)
    assert torch.allclose(whole[:, 0] * 255, images[:, 0, 0, 0].float())


def test_score_by_hand() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [0.0, math.log(3)], [math.log(3), 0.0], [math.log(3), 0.0]])
    accuracy, loss = evaluate.score(logits, torch.tensor([0, 1, 0, 1]))
    assert accuracy == 0.75
    assert loss == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)  # shares of 3/4 and once 1/4


def test_autocast_is_only_for_bf16() -> None:
    x = torch.ones(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with evaluate.autocast(precision, torch.device("cpu")):
            assert (x @ x).dtype == dtype
