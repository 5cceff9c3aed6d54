"""page-architecture's and page-baseline's recipes and the search's networks, against sizes, work and rates by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from speedcore import ladders, recipes
from speedcore.clock import SOURCE_POLICIES
from speedcore.errors import RecipeError
from speedcore.networks import build, parameter_counts
from speedcore.recipe import PreactNetConfig, Recipe
from speedcore.recipe.schedules import interpolate
from speedcore.recipes.page_architecture import NETWORKS
from speedcore.replicas.preactnet import Block
from speedcore.training.loop import steps_per_epoch, train
from speedcore.training.schedule import StepBudget
from speedcore.training.state import TrainState
from tests.speedcore import toys

ARCHITECTURE = ("backbone", "no-repeat", "3x3", "max-pool", "global-max", "scale-init", "double-width", "residual", "residual-24",
                "extra")
BASELINE = ("start", "no-repeat", "prepared", "bulk-choices", "main-thread", "batch-512", "norm-fp32", "cutout", "batch-768")


def rung(ladder: str, name: str) -> Recipe:
    return recipes.get(f"page-{ladder}-{name}", "cifar10")


def size_and_work(spec) -> tuple[int, int]:
    """(trainable parameters, operations of the convolutions and linear layers for one image of 32×32)."""
    with torch.device("meta"):
        network = build(spec, 3, (32, 32), 10).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 32, 32))
    found = parameter_counts(network)
    assert found["frozen"] == 0
    return found["trainable"], counter.get_total_flops()


def by_hand(convolutions: list[tuple[int, int, int, int]], norms: list[int], head: int, bias: bool) -> tuple[int, int]:
    """From (inputs, outputs, side of a filter, side of the output) of each convolution and the widths of all norms."""
    parameters = sum(i * o * k * k for i, o, k, _ in convolutions) + 2 * sum(norms) + head * 10 + 10 * bias
    multiplications = sum(i * o * k * k * side**2 for i, o, k, side in convolutions) + head * 10
    return parameters, 2 * multiplications


def residual_stage(width: int, inputs: int, side: int, changes: bool) -> tuple[list, list]:
    """Two blocks of the pre-activation network."""
    convolutions = [(inputs, width, 3, side)] + 3 * [(width, width, 3, side)] + [(inputs, width, 1, side)] * changes
    return convolutions, [inputs, width, width, width]


# --- page-baseline ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "trainable"), [("start", 5_205_962), ("no-repeat", 5_205_834), ("batch-768", 5_205_834)])
def test_the_baselines_size_and_work_by_hand(name: str, trainable: int) -> None:
    convolutions, norms = [(3, 64, 3, 32)], [64] if name == "start" else []
    for width, inputs, side in ((64, 64, 32), (128, 64, 16), (256, 128, 8), (256, 256, 4)):
        some, widths = residual_stage(width, inputs, side, changes=side < 32)
        convolutions, norms = convolutions + some, norms + widths
    assert by_hand(convolutions, norms, 512, True) == size_and_work(rung("baseline", name).network)
    assert size_and_work(rung("baseline", name).network)[0] == trainable
    # Forward and backward are three times forward: the source's "around 2.8E09 FLOPs".
    assert 3 * by_hand(convolutions, norms, 512, True)[1] == pytest.approx(2.8e9, rel=0.02)


def test_the_baseline_rung_by_rung() -> None:
    found = [rung("baseline", name) for name in BASELINE]
    assert [r.network.prep_norm for r in found] == [True] + [False] * 8
    assert [r.loader.prepared for r in found] == [False] * 2 + [True] * 7
    assert [r.loader.choices for r in found] == ["single"] * 3 + ["bulk"] * 6
    assert [r.loader.worker for r in found] == [True] * 4 + [False] * 5
    assert [r.batch_size for r in found] == [128] * 5 + [512] * 3 + [768]
    assert [r.norm_precision for r in found] == ["bf16"] * 6 + ["fp32"] * 3
    assert [r.augment.cutout for r in found] == [0] * 7 + [8] * 2
    assert [r.epochs for r in found] == [35] * 7 + [30] * 2
    assert {(r.network.norm_scales, r.loss, r.drop_last, r.data, r.optimizer.weight_decay) for r in found} == {
        ("uniform", "sum", False, "loader", 5e-4)}
    ladder = ladders.get("page-baseline")
    assert tuple(step.name for step in ladder.steps) == BASELINE
    assert [step.reported.seconds for step in ladder.steps] == [341, 323, 308, 301, 297, 256, 186, 161, 154]
    assert [step.reported.mean for step in ladder.steps] == [0.9408, None, None, 0.9398, 0.9412, 0.9412, 0.9370, 0.9414, 0.9360]


@pytest.mark.parametrize(("name", "steps", "knots"), [
    ("start", 391, {0: 0, 15: 0.1, 22.5: 0.0525, 30: 0.005, 32.5: 0.0025, 35: 0}),
    ("batch-512", 98, {0: 0, 15: 0.44, 22.5: 0.2225, 30: 0.005, 32.5: 0.0025, 35: 0}),
    ("cutout", 98, {0: 0, 4: 0.2, 8: 0.4, 19: 0.2, 30: 0}), ("batch-768", 66, {0: 0, 8: 0.6, 19: 0.3, 30: 0})])
def test_the_baselines_rates_by_hand(name: str, steps: int, knots: dict) -> None:
    recipe, rates = rung("baseline", name), []
    step_budget = StepBudget(round(recipe.epochs * steps))
    while not step_budget.finished:
        rates.append(recipe.optimizer.lr * interpolate(recipe.schedule.knots, step_budget.advance()))
    assert rates[0] == pytest.approx(knots[15 if 15 in knots else 8] / (15 if 15 in knots else 8) / steps)
    for epoch, rate in knots.items():
        if epoch and float(epoch * steps).is_integer():
            assert rates[int(epoch * steps) - 1] == pytest.approx(rate, abs=1e-9), epoch


def test_an_epoch_keeps_its_partial_batch() -> None:
    data = toys.dataset(train=50)
    assert steps_per_epoch(data, rung("baseline", "start").changed(batch_size=20)) == 3
    assert 391 == -(-50_000 // 128) and 98 == -(-50_000 // 512) and 66 == -(-50_000 // 768)


def test_a_block_by_hand() -> None:
    block = Block(1, 1, 1, branch=True, norm_scales="one").eval()  # running mean 0 and variance 1: norms leave values alone
    with torch.no_grad():
        for module in block.branch:
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.weight[0, 0, 1, 1] = -2.0
    x = torch.tensor([3.0, -1.0]).view(1, 1, 1, 2)
    # relu(x) = 3, 0 is the shortcut; the branch doubles and turns it, loses it in relu.
    assert block(x).flatten().tolist() == pytest.approx([3.0, 0.0], rel=1e-4)
    with torch.no_grad():
        block.branch[0].weight[0, 0, 1, 1] = 2.0
    # Now −2 · relu(2 · 3) beside the 3.
    assert block(x).flatten().tolist() == pytest.approx([3 - 12, 0], rel=1e-4)
    alone = Block(1, 1, 1, branch=False, norm_scales="one").eval()
    assert alone(x).flatten().tolist() == pytest.approx([3.0, 0.0], rel=1e-4)


def test_norms_in_bf16_where_the_recipe_says_so() -> None:
    data, network = toys.dataset(size=16), PreactNetConfig(widths=(4, 4, 4, 4), norm_scales="uniform")
    for wanted, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        recipe = toys.recipe(network=network, precision="bf16", norm_precision=wanted)
        state = TrainState(data, recipe, 0, torch.device("cpu"))
        norm, before = state.network.stages[0][0].norm, state.network.stages[0][0].norm.running_mean.clone()
        assert {t.dtype for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)} == {dtype}
        assert state.network.head.weight.dtype == torch.float32
        state.step(data.train.images[:40], data.train.labels[:40], 1.0)
        assert not torch.equal(norm.running_mean, before)
        assert state.logits(data.test.images).isfinite().all()
    with pytest.raises(RecipeError, match="norm_precision"):
        toys.recipe(network=network).changed(norm_precision="bf16")


# --- page-architecture -----------------------------------------------------------------------------------------------

def chain(widths: tuple, kernel: int, sides: tuple) -> list:
    """Prep and three stages: what the stages' convolutions put out has these sides."""
    pairs = zip(widths, widths[1:], sides, strict=False)
    return [(3, widths[0], 3, 32), *((i, o, kernel, side) for i, o, side in pairs)]


_SHORT, _LONG, _WIDE = (64, 128, 256, 256), (64, 128, 256, 512), (128, 256, 512, 1024)
BY_HAND = {
    # Each of four stages has two norms: one of its inputs, one of its outputs.
    "backbone": by_hand(chain(_SHORT, 1, (16, 8, 4)), [64, 64, 64, 128, 128, 256, 256, 256], 512, True),
    "no-repeat": by_hand(chain(_SHORT, 1, (16, 8, 4)), list(_SHORT), 512, True),
    "3x3": by_hand(chain(_SHORT, 3, (16, 8, 4)), list(_SHORT), 512, True),
    "max-pool": by_hand(chain(_SHORT, 3, (32, 16, 8)), list(_SHORT), 512, True),
    "global-max": by_hand(chain(_LONG, 3, (32, 16, 8)), list(_LONG), 512, True),
    "scale-init": by_hand(chain(_LONG, 3, (32, 16, 8)), list(_LONG), 512, False),
    "double-width": by_hand(chain(_WIDE, 3, (32, 16, 8)), list(_WIDE), 1024, False),
    "residual": by_hand(chain(_LONG, 3, (32, 16, 8)) + 2 * [(128, 128, 3, 16)] + 2 * [(512, 512, 3, 4)],
                        [*_LONG, 128, 128, 512, 512], 512, False),
    "extra": by_hand(chain(_LONG, 3, (32, 16, 8)) + [(128, 128, 3, 16), (256, 256, 3, 8), (512, 512, 3, 4)],
                     [*_LONG, 128, 256, 512], 512, False),
}


@pytest.mark.parametrize("name", ARCHITECTURE)
def test_the_architectures_sizes_and_work_by_hand(name: str) -> None:
    expected = BY_HAND["residual" if name == "residual-24" else name]
    assert size_and_work(rung("architecture", name).network) == expected
    known = {"scale-init": 1_557_056, "residual": 6_573_120, "residual-24": 6_573_120, "extra": 4_655_424}
    assert expected[0] == known.get(name, expected[0])


def test_the_architecture_rung_by_rung() -> None:
    found = {name: rung("architecture", name) for name in ARCHITECTURE}
    assert [r.epochs for r in found.values()] == [20] * 6 + [60, 20, 24, 60]
    peaks = [r.schedule.knots[1] for r in found.values()]
    assert peaks == [(0.2, 1.0)] * 6 + [(0.2, 1.0), (0.2, 1.0), (5 / 24, 1.0), (0.2, 1.0)]
    assert [r.augment.cutout for r in found.values()] == [8] * 9 + [12]
    assert [r.network.norm_scales for r in found.values()] == ["uniform"] * 5 + ["one"] * 5
    assert {(r.batch_size, r.optimizer.lr, r.loss, r.drop_last) for r in found.values()} == {(512, 0.4, "sum", False)}
    assert found["residual"].network.widths == found["extra"].network.widths == _LONG
    ladder = ladders.get("page-architecture")
    assert tuple(step.name for step in ladder.steps) == ARCHITECTURE
    assert [step.reported.seconds for step in ladder.steps] == [36, 32, 36, 43, 47, 47, 321, 66, 79, 180]
    assert [step.reported.mean for step in ladder.steps] == [
        0.559, 0.560, 0.856, 0.897, 0.907, 0.911, 0.935, 0.938, 0.9408, 0.950]
    assert [ladder.below(step) for step in ladder.steps[6:]] == ["scale-init", "scale-init", "residual", "scale-init"]


@pytest.mark.parametrize("name", ["backbone", "no-repeat", "scale-init"])
def test_scales_are_drawn_where_the_source_had_them_drawn(name: str) -> None:
    network = build(rung("architecture", name).network.narrowed(0.25), 3, (32, 32), 10)
    scales = torch.cat([m.weight.detach() for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
    if name == "scale-init":
        assert (scales == 1).all()
    else:
        assert 0 <= scales.min() < 0.1 and 0.9 < scales.max() <= 1 and scales.mean().item() == pytest.approx(0.5, abs=0.1)


def test_the_fifteen_networks_of_the_search_by_hand() -> None:
    widths, norms = {1: 128, 2: 256, 3: 512}, list(_LONG)
    sides = {1: 16, 2: 8, 3: 4}
    assert len(NETWORKS) == 15
    seen = set()
    for name, spec in NETWORKS.items():
        kind, _, stages = name.partition(":")
        times = {"backbone": 0, "extra": 1, "residual": 2}[kind]
        added = [widths[int(stage[1])] for stage in stages.split("+") if stage for _ in range(times)]
        where = [sides[int(stage[1])] for stage in stages.split("+") if stage for _ in range(times)]
        more = [(width, width, 3, side) for width, side in zip(added, where, strict=True)]
        expected = by_hand(chain(_LONG, 3, (32, 16, 8)) + more, norms + added, 512, False)
        assert size_and_work(spec) == expected, name
        seen.add(expected)
    assert len(seen) == 15  # no two have the same size and work
    assert NETWORKS["residual:L1+L3"] == rung("architecture", "residual").network
    assert NETWORKS["extra:L1+L2+L3"] == rung("architecture", "extra").network
    assert NETWORKS["backbone"] == rung("architecture", "scale-init").network


# --- the whole -------------------------------------------------------------------------------------------------------

def test_the_clock_counts_preparing_training_and_the_test_of_each_epoch() -> None:
    ledger = {"load": 1.0, "prepare": 2.0, "build": 4.0, "warm_up": 8.0, "train": 16.0, "validate": 32.0, "test": 64.0}
    assert SOURCE_POLICIES["page-series"].seconds(ledger) == 2 + 16 + 64
    for ladder in ("baseline", "architecture"):
        assert ladders.get(f"page-{ladder}").clock == "page-series"
        assert all(r.peek and not r.peeks for r in ladders.get(f"page-{ladder}").recipes.values())


@pytest.mark.parametrize(("ladder", "name"), [("architecture", "backbone"), ("architecture", "residual"), ("baseline", "start"),
                                              ("baseline", "batch-768")])
def test_rungs_train(ladder: str, name: str, store) -> None:
    data, recipe = toys.dataset(channels=3, train=50), rung(ladder, name)
    recipe = recipe.changed(network=recipe.network.narrowed(1 / 16).model_dump(), batch_size=20, epochs=1)
    record = train(data, toys.job(recipe, steps=3, key=f"{ladder}-{name}"), store).record
    assert record.steps == 3 and [look.step for look in record.peeks] == [3] and not record.peeked


@pytest.mark.parametrize("name", ["start", "batch-768"])
def test_the_baseline_learns(name: str, store) -> None:
    """Which quarter of the image is bright: 160 images, 120 steps at the rates of the rung.

    In fp32 where the rung does not ask for batch-norm in bf16: without bf16 units that takes a tenth of the time.
    """
    data, recipe = toys.dataset(channels=3), rung("baseline", name)
    recipe = recipe.changed(network=recipe.network.narrowed(1 / 8).model_dump(), batch_size=40, epochs=30, data="device",
                            loader=None, augment={}, peek=None)
    if recipe.norm_precision == "fp32":
        recipe = recipe.changed(precision="fp32")
    record = train(data, toys.job(recipe, steps=120, key=f"learns-{name}"), store).record
    assert record.metrics.train_accuracy > 0.9 and record.metrics.test_accuracy > 0.7
