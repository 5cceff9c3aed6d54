"""Targets have one reading or are refused; a model with one logit has two classes, in maps, controls and metrics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from explain import metrics
from explain.attribution.methods import METHODS, heatmaps
from explain.attribution.targets import target_table
from explain.metrics import control_explainers, control_maps
from explain.models import ExplainError, probabilities

IMAGES = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(3))


def net(classes: int) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(6, classes)).eval()


@pytest.fixture
def two() -> tuple[nn.Module, nn.Module]:
    """A model with one logit z, and one with the two logits 0 and z, which softmax reads as sigmoid reads the other."""
    one = net(1)
    both = copy.deepcopy(one)
    both[4] = nn.Linear(6, 2)
    with torch.no_grad():
        both[4].weight.copy_(torch.cat([torch.zeros(1, 6), one[4].weight]))
        both[4].bias.copy_(torch.cat([torch.zeros(1), one[4].bias]))
    return one, both


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_one_hot_rows_are_refused_with_both_readings_and_their_ways_on(classes):
    rows = torch.eye(classes, dtype=torch.int64)[torch.arange(4) % classes]
    with pytest.raises(ExplainError, match=r"one-hot rows.*classes 0 and 1 in turn.*targets.argmax\(1\).*targets.unbind\(1\)"):
        heatmaps(net(classes), IMAGES, rows, ["0"])
    first = heatmaps(net(classes), IMAGES, rows.argmax(1), ["0"])["0"]
    second = heatmaps(net(classes), IMAGES, list(rows.unbind(1)), ["0"])["0"]
    assert first.shape == (4, 1, 8, 8) and second.shape == (4, classes, 8, 8)
    assert torch.equal(second[0, 0], heatmaps(net(classes), IMAGES, 1, ["0"])["0"][0, 0])


def test_tables_that_are_not_one_hot_are_read_as_they_were():
    assert target_table(torch.tensor([[0, 1], [1, 0]]), 2, logits=3).tolist() == [[0, 1], [1, 0]]  # fewer than the classes
    assert target_table(torch.tensor([[0, 2, 1]] * 2), 2, logits=3).tolist() == [[0, 2, 1]] * 2
    assert target_table([2, 0], 2, logits=3).tolist() == [[2], [0]]
    assert target_table(2, 2, logits=3).tolist() == [[2], [2]]
    for wrong in ([torch.tensor([0, 1]), torch.tensor([0])], [torch.tensor([0])], [torch.tensor([0.0, 1.0])]):
        with pytest.raises(ExplainError, match="targets must be"):
            target_table(wrong, 2, logits=3)


@pytest.mark.parametrize("method", METHODS)
def test_of_one_logit_class_1_is_the_logit_and_class_0_its_negative(two, method):
    one, both = two
    layers = ["1"] if METHODS[method].layers else None
    positive, = heatmaps(one, IMAGES, 1, layers, method).values()
    torch.testing.assert_close(positive, next(iter(heatmaps(both, IMAGES, 1, layers, method).values())))
    labels = torch.tensor([0, 1, 1, 0])
    mixed, = heatmaps(one, IMAGES, labels, layers, method).values()
    torch.testing.assert_close(mixed[1:3], positive[1:3])
    if method != "guided-grad-cam":  # not linear in the score
        torch.testing.assert_close(mixed[[0, 3]], -positive[[0, 3]])
    with pytest.raises(ExplainError, match="0 can mean that score or its negative side; give 1"):
        heatmaps(one, IMAGES, 0, layers, method)
    with pytest.raises(ExplainError, match="targets run from 2 to 2.*0 to 1"):
        heatmaps(one, IMAGES, 2, layers, method)


@pytest.mark.parametrize("metric", [metrics.deletion, metrics.insertion])
def test_of_one_logit_probability_is_sigmoid(two, metric):
    one, both = two
    torch.testing.assert_close(probabilities(one, IMAGES), probabilities(both, IMAGES))
    maps, labels = torch.rand(4, 8, 8), torch.tensor([0, 1, 0, 1])
    found = metric(one, IMAGES, labels, maps)
    torch.testing.assert_close(found, metric(both, IMAGES, labels, maps))
    torch.testing.assert_close(found + metric(one, IMAGES, 1 - labels, maps), torch.ones(4).double())
    assert (found - found.round()).abs().min() > 0.01
    with pytest.raises(ExplainError, match="targets run from 0 to 2"):
        metric(one, IMAGES, torch.tensor([0, 1, 2, 1]), maps)


def test_of_one_logit_the_wrong_class_is_the_other_side(two):
    labels = torch.tensor([1, 0, 1, 1])
    made = control_maps(two[0], IMAGES, labels, ["1"])["1"]
    assert made["true"].any()
    torch.testing.assert_close(made["wrong_class"], -made["true"])
    makers = control_explainers(two[0], "1")
    torch.testing.assert_close(makers["wrong_class"](IMAGES, labels), -makers["true"](IMAGES, labels))


def test_of_two_classes_controls_take_labels_of_which_each_is_the_others_wrong_class(two):
    made = control_maps(two[1], IMAGES, torch.tensor([1, 0, 1, 1]), ["1"])["1"]
    torch.testing.assert_close(made["wrong_class"][1], heatmaps(two[1], IMAGES, 1, ["1"])["1"][1, 0])
