"""Metrics worked out by hand, by definition, and by fake networks whose answers are arithmetic."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from torch import nn

from explain import metrics
from explain.attribution import reference
from explain.attribution.geometry import Extent
from explain.attribution.methods import METHODS, heatmaps
from explain.metrics import CONTROLS, METRICS
from explain.models import ExplainError

IMAGES = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.5
TARGETS = torch.tensor([0, 1, 0])
DEAD = torch.stack([torch.rand(4, 4), -torch.rand(4, 4), torch.zeros(4, 4), torch.full((4, 4), math.nan),
                    torch.rand(4, 4).index_fill(0, torch.tensor(1), math.nan), torch.rand(4, 4).index_fill(1, torch.tensor(0),
                                                                                                          math.inf)])


def corner(n: int = 1) -> torch.Tensor:
    masks = torch.zeros(n, 4, 4, dtype=torch.bool)
    masks[:, :2, :2] = True
    return masks


class Bright(nn.Module):
    """Two classes: the probability of class 0 is the share of `weight` that the image's first channel shows."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight / weight.sum())
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        share = (x[:, 0] * self.weight).sum((1, 2)).clamp(1e-12, 1 - 1e-12)
        return torch.stack([share.log(), (1 - share).log()], 1)


class Linear(nn.Module):
    """The score of class 0 is a weighted sum of pixels, that of class 1 its negative."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        total = (x * self.weight).sum((1, 2, 3))
        return torch.stack([total, -total], 1)


# --- empty maps and empty masks ---------------------------------------------------------------------------------------

def test_dead_is_what_has_no_positive_value_or_any_that_is_not_finite():
    assert metrics.is_empty(DEAD).tolist() == [False, True, True, True, True, True]


def values_of(name: str, maps: torch.Tensor) -> torch.Tensor:
    """The metric of these maps, (n, 4, 4), with all else alive and well."""
    n, alive = len(maps), torch.rand(len(maps), 4, 4, generator=torch.Generator().manual_seed(1)) + 0.1
    images, targets = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(2)), torch.zeros(n, dtype=torch.int64)
    function = METRICS[name].function
    if name in ("relevance_mass", "relevance_rank", "pointing_game"):
        return function(maps, corner(n))
    if name in ("gini", "entropy"):
        return function(maps)
    if name in ("deletion", "insertion", "infidelity"):
        return function(Bright(torch.rand(4, 4, generator=torch.Generator().manual_seed(4)) + 0.1), images, targets, maps)
    if name in ("seed_consistency", "occlusion_agreement"):
        return function(maps, alive)
    if name == "flip_consistency":
        return function(maps, alive, (4, 4), Extent(0, 0, 4, 4))
    assert name == "max_sensitivity"
    rows = {float(image.sum()): i for i, image in enumerate(images)}  # an explainer with exactly these maps, whatever the noise

    def explainer(x, t):
        near = [min(rows, key=lambda total: abs(total - float(one.sum()))) for one in x]
        return torch.stack([maps[rows[total]] for total in near])

    return function(explainer, images, targets, radius=1e-6, samples=2)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "parameter_randomisation"])
def test_dead_maps_have_no_value_and_others_one_in_range(name):
    found = values_of(name, DEAD)
    assert found.dtype == torch.float64 and found.shape == (6,)
    assert found.isnan().tolist() == [False, True, True, True, True, True]
    assert METRICS[name].low <= found[0] <= METRICS[name].high
    summary = metrics.measured(lambda maps: values_of(name, maps), {"true": DEAD})["true"]
    assert (summary.n, summary.dead, summary.undefined) == (1, 5, 0)
    assert summary.mean == pytest.approx(found[0].item())


@pytest.mark.parametrize("name", ["relevance_mass", "relevance_rank", "pointing_game"])
def test_empty_masks_are_counted_and_never_a_hit(name):
    masks = corner(3)
    masks[1] = False
    maps = torch.rand(3, 4, 4)
    maps[2] = -1
    found = METRICS[name].function(maps, masks)
    assert found.isnan().tolist() == [False, True, True]
    summary = metrics.Summary.of(found, metrics.is_empty(maps))
    assert (summary.n, summary.dead, summary.undefined) == (1, 1, 1)
    nothing = metrics.Summary.of(found[1:], metrics.is_empty(maps[1:]))
    assert (nothing.n, nothing.mean) == (0, None)


# --- on the object ---------------------------------------------------------------------------------------------------

def test_rank_and_pointing_worked_out_by_hand():
    maps = torch.zeros(4, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3], maps[0, 0, 1], maps[0, 2, 2], maps[0, 1, 1] = 9, 8, 7, 6, 5  # 2 of the best 4 are inside
    maps[1, 3, 3] = 1                             # then 15 tie for 3 places, 4 of them inside: 3 · 4/15 of 4
    maps[2, 1, 0], maps[2, 0, 3] = 2, 2           # two tie for the top, one inside; 14 tie for 2 places, 3 inside
    maps[3] = 1
    rank = metrics.relevance_rank(maps, corner(4))
    assert rank.tolist() == pytest.approx([2 / 4, 3 * 4 / 15 / 4, (1 + 2 * 3 / 14) / 4, 1 / 4])
    assert metrics.pointing_game(maps, corner(4)).tolist() == [1, 0, 0.5, 0.25]


@given(st.integers(0, 10_000), st.sampled_from([(4, 4), (2, 2), (3, 1)]))
def test_a_uniform_map_of_any_resolution_has_the_foregrounds_share(seed, grid):
    masks = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(seed)) < 0.4
    masks[:, 3, 4] = True
    maps = torch.full((2, *grid), 0.3)
    extent = Extent(-0.7, 0.3, 6.1, 9.9)  # where interpolation weights add up to one only up to rounding
    for metric in (metrics.relevance_rank, metrics.pointing_game):
        torch.testing.assert_close(metric(maps, masks, extent), metrics.foreground_share(masks))


def test_evidence_exactly_on_the_object_is_the_best_there_is():
    masks = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(5)) < 0.5
    for metric in (metrics.relevance_mass, metrics.relevance_rank, metrics.pointing_game):
        assert metric(masks.float(), masks).tolist() == pytest.approx([1, 1, 1])
        assert metric((~masks).float(), masks).tolist() == pytest.approx([0, 0, 0])


def test_entropy_worked_out_by_hand():
    maps = torch.tensor([[[1.0, 1], [1, 1]], [[0, 0], [0, 5]], [[1, 1], [-9, 0]], [[-1, -1], [-1, -1]]])
    even, single, two, dead = metrics.entropy(maps).tolist()
    assert (even, single, two) == pytest.approx((1, 0, math.log(2) / math.log(4)))
    assert math.isnan(dead)


# --- the score moves as the map says -----------------------------------------------------------------------------------

def test_areas_under_deletion_and_insertion_worked_out_by_hand():
    weight = torch.tensor([[4.0, 3.0], [2.0, 1.0]])
    model, image, target = Bright(weight), torch.ones(1, 1, 2, 2), torch.tensor([0])
    # In the order 4 3 2 1 what is left is 10 6 3 1 0 of 10, what has come 0 4 7 9 10; reversed likewise.
    for maps, gone, come in ((weight, (10 / 2 + 6 + 3 + 1) / 40, (4 + 7 + 9 + 10 / 2) / 40),
                             (5 - weight, (10 / 2 + 9 + 7 + 4) / 40, (1 + 3 + 6 + 10 / 2) / 40)):
        assert metrics.deletion(model, image, target, maps[None], steps=4).item() == pytest.approx(gone, abs=1e-6)
        assert metrics.insertion(model, image, target, maps[None], steps=4).item() == pytest.approx(come, abs=1e-6)
    # In one step the line goes straight from one end to the other.
    assert metrics.deletion(model, image, target, weight[None], steps=1).item() == pytest.approx(0.5, abs=1e-6)
    # Deleted pixels become the ground: where that is the image itself, nothing happens.
    assert metrics.deletion(model, image, target, weight[None], ground=image).item() == pytest.approx(1, abs=1e-6)
    assert metrics.insertion(model, image, target, weight[None], ground=1.0).item() == pytest.approx(1, abs=1e-6)


def test_deletion_of_tied_pixels_is_in_no_order_of_rows():
    size = 16
    model, image = Bright(torch.ones(size, size).index_fill(0, torch.arange(8), 3.0)), torch.ones(1, 1, size, size)
    drawn = metrics.deletion(model, image, torch.tensor([0]), torch.ones(1, 4, 4)).item()
    assert drawn == pytest.approx(0.5, abs=0.05)  # row by row it would be well below
    rows = torch.arange(size * size, 0, -1.0).view(1, size, size)
    assert metrics.deletion(model, image, torch.tensor([0]), rows).item() < 0.4


def test_a_map_that_says_exactly_what_happens_is_without_infidelity():
    torch.manual_seed(6)
    weight = torch.randn(2, 8, 8)
    model, maps = Linear(weight), (IMAGES * weight).sum(1)
    maps = torch.where(TARGETS.view(-1, 1, 1) == 0, maps, -maps)
    assert not metrics.is_empty(maps).any()
    exact = metrics.infidelity(model, IMAGES, TARGETS, maps)
    assert exact.max() < 1e-4
    # The factor is free, so ten times the map is as good; a map of something else is not.
    assert metrics.infidelity(model, IMAGES, TARGETS, 10 * maps).max() < 1e-4
    other = metrics.infidelity(model, IMAGES, TARGETS, torch.rand(3, 8, 8))
    assert (other > 0.2).all() and (other <= 1).all()


def test_infidelity_is_one_minus_the_squared_cosine_of_prediction_and_change():
    torch.manual_seed(7)
    weight, maps = torch.randn(2, 8, 8), torch.rand(3, 8, 8)
    found = metrics.infidelity(Linear(weight), IMAGES, TARGETS, maps, samples=5, batch_size=7)
    squares = metrics.faithfulness._squares((8, 8), 5, 0)
    assert squares.sum((1, 2)).tolist() == [4.0] * 5
    predicted = torch.einsum("nhw,shw->ns", maps, squares)
    change = torch.einsum("nchw,chw,shw->ns", IMAGES, weight, squares)  # the sign of the class does not matter for a square
    cosine = (predicted * change).sum(1) / (predicted.norm(dim=1) * change.norm(dim=1))
    torch.testing.assert_close(found, (1 - cosine**2).double(), rtol=1e-3, atol=1e-4)


def test_a_score_that_never_moves_has_no_infidelity():
    found = metrics.infidelity(Linear(torch.zeros(2, 8, 8)), IMAGES, TARGETS, torch.rand(3, 8, 8))
    assert found.isnan().all()


@pytest.mark.parametrize("name", ["deletion", "insertion", "infidelity"])
def test_faithfulness_costs_what_the_table_says_and_leaves_the_model(name):
    model, maps = Linear(torch.randn(2, 8, 8)), torch.rand(3, 4, 4)
    model.train()
    state = torch.get_rng_state()
    whole = METRICS[name].function(model, IMAGES, TARGETS, maps)
    assert model.seen == 3 * METRICS[name].forward
    torch.testing.assert_close(METRICS[name].function(model, IMAGES, TARGETS, maps, batch_size=1), whole)
    assert model.training and model.weight.requires_grad and model.weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("maps", [torch.rand(2, 4, 4), torch.rand(3, 1, 4, 4)])
def test_maps_of_other_images_are_refused(maps):
    with pytest.raises(ExplainError, match="one for each of the 3 images"):
        metrics.deletion(Linear(torch.randn(2, 8, 8)), IMAGES, TARGETS, maps)


# --- stability ---------------------------------------------------------------------------------------------------------

def test_correlations_are_scipys():
    first, second = torch.rand(4, 3, 3, dtype=torch.float64), torch.rand(4, 3, 3, dtype=torch.float64)
    first[0, 0], second[0, 1] = 0.5, 0.25  # ties
    for ours, theirs in ((metrics.correlation, pearsonr), (metrics.rank_correlation, spearmanr)):
        expected = [theirs(a.flatten(), b.flatten()).statistic for a, b in zip(first, second, strict=True)]
        assert ours(first, second).tolist() == pytest.approx(expected)
    constant = torch.full((1, 3, 3), 0.1) * torch.tensor([1 + 1e-12])
    assert metrics.correlation(constant, first[:1]).isnan().all()
    assert metrics.rank_correlation(first[:1].float(), torch.full((1, 3, 3), math.nan)).isnan().all()


def test_seed_consistency_and_agreement_with_occlusion():
    maps = torch.rand(2, 4, 4)
    assert metrics.seed_consistency(maps, 3 * maps + 1).tolist() == pytest.approx([1, 1])
    assert metrics.seed_consistency(maps, 1 - maps).tolist() == pytest.approx([-1, -1])
    # Ranks alone count, over the pixels of the image.
    assert metrics.occlusion_agreement(maps, maps.double().exp()).tolist() == pytest.approx([1, 1])
    wide = torch.tensor([[[1.0, 2.0]]])
    assert metrics.occlusion_agreement(wide, torch.tensor([[[1.0, 2, 3, 4]]])).item() == pytest.approx(1, abs=0.01)


def test_max_sensitivity_by_definition():
    calls = []

    def total(x, t):  # one cell: the sum of the image, times the class
        calls.append(len(x))
        return (x.sum((1, 2, 3)) * t)[:, None, None]

    images, targets = torch.ones(3, 1, 1, 1), torch.tensor([1, 2, 3])
    found = metrics.max_sensitivity(total, images, targets, radius=0.5, samples=40)
    # |noise| ÷ 1, whatever the class: at most the radius, and of 40 draws one comes near.
    assert (found <= 0.5).all() and (found > 0.35).all()
    assert sum(calls) == 3 * (40 + 1)
    steady = metrics.max_sensitivity(lambda x, t: torch.ones(len(x), 2, 2), images, targets)
    assert steady.tolist() == [0, 0, 0]


def test_max_sensitivity_of_real_maps_is_repeatable_and_costs_what_the_table_says():
    torch.manual_seed(8)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    seen = []

    def explainer(x, t):
        seen.append(len(x))
        return heatmaps(model, x, t, ["1"])["1"][:, 0]

    first = metrics.max_sensitivity(explainer, IMAGES, TARGETS, batch_size=20)
    assert sum(seen) == 3 * METRICS["max_sensitivity"].maps
    assert torch.equal(first.nan_to_num(), metrics.max_sensitivity(explainer, IMAGES, TARGETS, batch_size=20).nan_to_num())
    assert (first.nan_to_num() >= 0).all()


# --- weights re-initialised --------------------------------------------------------------------------------------------------

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU())
        self.head = nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.scale * self.head(self.body(x).mean((2, 3)))


def test_cascade_goes_from_the_head_down_and_touches_copies_only():
    torch.manual_seed(9)
    model = Small().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cascade = metrics.parameter_randomisation(model, IMAGES, TARGETS, ["body.2", "body"])
    assert cascade.modules == ("head", "body.3", "body.1", "body.0")
    assert {name: tuple(steps.shape) for name, steps in cascade.similarity.items()} == {"body.2": (4, 3), "body": (4, 3)}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items()) and model.training
    again = metrics.parameter_randomisation(model, IMAGES, TARGETS, ["body.2", "body"])
    assert torch.equal(again.similarity["body"].nan_to_num(), cascade.similarity["body"].nan_to_num())


def test_cascade_by_definition_against_independent():
    torch.manual_seed(10)
    model, images = Small(), torch.randn(6, 2, 8, 8)
    trained = heatmaps(model, images, 0, ["body"])["body"][:, 0]

    def similarity(*names):
        maps = heatmaps(metrics.randomised(model, names), images, 0, ["body"])["body"][:, 0]
        dead = metrics.is_empty(maps) | metrics.is_empty(trained)
        return metrics.rank_correlation(trained, maps).masked_fill(dead, math.nan)

    cascade, alone = (metrics.parameter_randomisation(model, images, 0, ["body"], cascading=c).similarity["body"]
                      for c in (True, False))
    torch.testing.assert_close(cascade[2], similarity("head", "body.3", "body.1"), equal_nan=True)
    torch.testing.assert_close(alone[2], similarity("body.1"), equal_nan=True)
    torch.testing.assert_close(cascade[0], alone[0], equal_nan=True)
    assert not torch.equal(cascade[3].nan_to_num(), alone[3].nan_to_num())


def test_randomised_draws_anew_what_is_named_and_nothing_else():
    model, state = Small(), torch.get_rng_state()
    made = metrics.randomised(model, ["body.0"])
    assert torch.equal(torch.get_rng_state(), state)
    changed = [name for name, value in made.state_dict().items() if not torch.equal(value, model.state_dict()[name])]
    assert changed == ["body.0.weight", "body.0.bias"]
    everything = metrics.randomised(model)
    assert not torch.equal(everything.head.weight, model.head.weight)
    # A module that cannot be reset has its values shuffled.
    holder = nn.Module()
    holder.values = nn.Parameter(torch.arange(50.0))
    shuffled = metrics.randomised(holder).values
    assert sorted(shuffled.tolist()) == holder.values.tolist() and not torch.equal(shuffled, holder.values)


def test_a_model_without_weights_has_nothing_to_draw_anew():
    class Sum(nn.Module):
        def forward(self, x):
            return x.sum((2, 3))

    with pytest.raises(ExplainError, match="no weights"):
        metrics.parameter_randomisation(Sum(), IMAGES, 0, method="saliency")


# --- null controls -----------------------------------------------------------------------------------------------------

def test_control_maps_are_all_controls_by_definition():
    torch.manual_seed(11)
    model, labels = Small(), torch.tensor([0, 1, 2])
    untrained = metrics.randomised(model, seed=0)
    for method, layers in (("grad-cam", ["body", "body.2"]), ("saliency", None)):
        made = metrics.control_maps(model, IMAGES, labels, layers, method)
        for name, kinds in made.items():
            assert list(kinds)[0] == "true" and set(kinds) == {"true", *CONTROLS}

            def maps(network, targets, name=name, layers=layers, method=method):
                return heatmaps(network, IMAGES, targets, layers, method)[name][:, 0]

            true = maps(model, labels)
            torch.testing.assert_close(kinds["true"], true)
            torch.testing.assert_close(kinds["wrong_class"], maps(model, torch.tensor([1, 2, 0])))
            torch.testing.assert_close(kinds["untrained"], maps(untrained, labels))
            assert torch.equal(kinds["another_image"], true[metrics.another_image(3)])
            assert (kinds["uniform"] == 1).all()
            bell = kinds["gaussian"][0]
            assert torch.allclose(bell, bell.flip(0)) and torch.allclose(bell, bell.T) and bell.argmax() in (
                bell.shape[1] // 2 * (bell.shape[1] + 1), (bell.shape[1] - 1) // 2 * (bell.shape[1] + 1))
        summary = metrics.measured(metrics.gini, kinds)
        assert set(summary) == {"true", *CONTROLS} and summary["uniform"].mean == pytest.approx(0)
    given_ = metrics.control_maps(model, IMAGES, labels, ["body"], untrained=model)["body"]
    assert torch.equal(given_["untrained"], given_["true"])


def test_controls_take_the_place_that_the_table_says():
    torch.manual_seed(12)
    first, second, labels = Small(), Small(), torch.tensor([0, 1, 2])
    true = heatmaps(first, IMAGES, labels, ["body.2"])["body.2"][:, 0]
    true[1] = -1
    kinds = metrics.control_maps(second, IMAGES, labels, ["body.2"])["body.2"]
    found = metrics.measured(lambda maps: metrics.seed_consistency(true, maps), kinds, first=true)
    assert list(found) == list(kinds)
    assert found["gaussian"].dead == 1 and found["gaussian"].n == 2  # the dead one is the first map's
    assert (found["uniform"].undefined, found["uniform"].mean) == (2, None)
    makers = metrics.control_explainers(first, "body.2")
    assert set(makers) == {"true", *CONTROLS} - {"another_image"}
    torch.testing.assert_close(makers["wrong_class"](IMAGES, labels), heatmaps(
        first, IMAGES, torch.tensor([1, 2, 0]), ["body.2"])["body.2"][:, 0])
    moved = {kind: metrics.max_sensitivity(make, IMAGES, labels, samples=3) for kind, make in makers.items()}
    assert moved["uniform"].tolist() == moved["gaussian"].tolist() == [0, 0, 0]
    assert (moved["untrained"].nan_to_num(1) > 0).all()


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ExplainError, match=r"one shape, found \(2, 4, 4\) and \(2, 2, 2\)"):
        metrics.seed_consistency(torch.rand(2, 4, 4), torch.rand(2, 2, 2))
    for metric in (metrics.relevance_mass, metrics.relevance_rank, metrics.pointing_game):
        with pytest.raises(ExplainError, match="masks bool"):
            metric(torch.rand(2, 4, 4), corner(3))
        with pytest.raises(ExplainError, match="masks bool"):
            metric(torch.rand(2, 4, 4), corner(2).float())


def test_of_one_image_there_is_no_other():
    assert set(metrics.null_maps({"true": torch.rand(1, 2, 2)}, (4, 4))) == {"true", "uniform", "gaussian"}


def test_gaussian_lies_in_the_middle_of_the_image_wherever_the_cells_are():
    # Cells of two pixels over 0..8 of an image of 8 and over −4..4 of one of 8: there the middle is the map's edge.
    whole = metrics.controls.bell((4, 4), (8, 8), Extent(0, 0, 8, 8), sigma=1.0)
    shifted = metrics.controls.bell((4, 4), (8, 8), Extent(-4, -4, 4, 4), sigma=1.0)
    torch.testing.assert_close(shifted[2:, 2:], whole[:2, :2])
    assert whole[1, 1] == pytest.approx(math.exp(-0.5 * 2))


# --- the table -----------------------------------------------------------------------------------------------------------

def test_every_metric_says_all_there_is_to_say():
    for name, metric in METRICS.items():
        assert name == metric.name and metric.function is getattr(metrics, name)
        for said in (metric.title, metric.definition, metric.dead, metric.empty, metric.nulls, metric.criticism,
                     metric.source, metric.range, metric.cost):
            assert said
        assert metric.low < metric.high
    assert METRICS["relevance_mass"].cost == "no forward pass"
    assert METRICS["max_sensitivity"].range == "0 to ∞" and METRICS["seed_consistency"].range == "−1 to 1"


def test_document_is_what_the_tables_say(checkout: Path):
    text = (checkout / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert text == reference.document(), "run: python -m explain.attribution.reference > docs/metrics.md"
    for entry in (*METRICS.values(), *METHODS.values()):
        assert entry.criticism in text and entry.source in text
    assert not re.search(r"\| *\|", text)  # no empty cell


def test_the_older_name_of_empty_maps_goes_on_working() -> None:
    assert metrics.is_dead is metrics.is_empty
