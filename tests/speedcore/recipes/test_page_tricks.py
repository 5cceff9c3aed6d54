"""page-tricks' fourteen recipes, against sizes, rates and steps worked out by hand, and the parts that they brought."""

from __future__ import annotations

import math
from itertools import islice

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from speedcore import ladders, recipes
from speedcore.data.batches import Batches
from speedcore.data.streams import of_recipe
from speedcore.errors import RecipeError
from speedcore.networks import build, parameter_counts
from speedcore.networks.layers import Norm, whitening_filters
from speedcore.recipe import Augment, AverageConfig, DavidNetConfig, Loader, PageNetConfig, Recipe
from speedcore.recipe.schedules import interpolate
from speedcore.techniques.augment import Normalise, sample
from speedcore.techniques.averaging import WeightAverage
from speedcore.training import optimizers
from speedcore.training.loop import steps_per_epoch, train
from speedcore.training.schedule import StepBudget
from speedcore.training.state import TrainState
from tests.speedcore import toys

RUNGS = ("start", "gpu-data", "pool-before-relu", "pool-before-norm", "label-smoothing", "celu", "ghost", "frozen-scales",
         "bias-rate", "whitening", "rate-up", "ema", "tta", "no-cutout")


def rung(name: str) -> Recipe:
    return recipes.get(f"page-tricks-{name}", "cifar10")


def rates(recipe: Recipe) -> list[float]:
    """The rate of each training step: 97 whole batches of 512 in 50,000 images."""
    step_budget, found = StepBudget(round(recipe.epochs * 97)), []
    while not step_budget.finished:
        found.append(recipe.optimizer.lr * interpolate(recipe.schedule.knots, step_budget.advance(), recipe.schedule.shape))
    return found


# --- what the source says --------------------------------------------------------------------------------------------

def test_the_ladder_is_its_recipes_and_reports_what_was_printed() -> None:
    ladder = ladders.get("page-tricks")
    assert tuple(step.name for step in ladder.steps) == RUNGS
    assert all(recipes.get(recipe.name, "cifar10") == recipe for recipe in ladder.recipes.values())
    reported = [step.reported for step in ladder.steps]
    assert [r.seconds for r in reported] == [75, 70, 67, 64, 59, 52, 46, None, 43, 39, 36, 34, None, 26]
    assert [r.mean for r in reported] == [0.941] * 7 + [0.942] + [0.941] * 4 + [0.946, 0.941]
    assert all(r.spread == 0.0015 for r in reported) and all(r.count == 50 for r in reported[1:])
    assert [int(r.epochs) for r in reported] == [recipe.epochs for recipe in ladder.recipes.values()]


def test_rung_by_rung() -> None:
    found = [rung(name) for name in RUNGS]
    assert [r.epochs for r in found] == [24, 24, 24, 25, 23, 20, 18, 18, 17, 15, 14, 13, 13, 10]
    assert [r.optimizer.lr for r in found] == [0.4] * 6 + [0.6] * 4 + [1.0] * 4
    assert [r.optimizer.bias_lr for r in found] == [1] * 7 + [16] + [64] * 6
    assert [r.augment.cutout for r in found] == [8] * 10 + [5] * 3 + [0]
    assert [r.augment.groups for r in found] == [0] + [200] * 13
    assert [r.data for r in found] == ["loader"] + ["device"] * 13
    assert [r.label_smoothing for r in found] == [0] * 4 + [0.2] * 10
    assert [r.network.pool for r in found] == ["last"] * 2 + ["before-activation"] + ["before-norm"] * 11
    assert [r.network.activation for r in found] == ["relu"] * 5 + ["celu"] * 9
    assert [r.network.celu_alpha for r in found[5:]] == [0.075] * 2 + [0.3] * 7
    assert [r.network.ghost for r in found] == [1] * 6 + [16] * 8
    assert [r.network.norm_scales for r in found] == ["one"] * 7 + ["frozen"] * 7
    assert [r.network.logit_scale for r in found] == [1 / 8] * 7 + [1 / 16] * 7
    assert [r.network.prep for r in found] == ["conv"] * 9 + ["whiten"] * 5
    assert [r.average is not None for r in found] == [False] * 11 + [True] * 3
    assert [r.tta.count for r in found] == [1] * 12 + [2] * 2
    assert {(r.batch_size, r.drop_last, r.val_images, r.optimizer.weight_decay) for r in found} == {(512, True, 0, 5e-4)}


# --- sizes and work --------------------------------------------------------------------------------------------------

def size_by_hand(whiten: bool, frozen: bool) -> tuple[int, int]:
    """(trainable, frozen) of Residual:L1+L3."""
    convolutions = [(64, 128), (128, 128), (128, 128), (128, 256), (256, 512), (512, 512), (512, 512)]
    filters = (27 * 64 if whiten else 9 * 3 * 64) + sum(9 * i * o for i, o in convolutions)
    norms = 64 + sum(o for _, o in convolutions)
    return filters + norms * (1 if frozen else 2) + 512 * 10, norms * frozen + 27 * 27 * whiten


@pytest.mark.parametrize("name", RUNGS)
def test_sizes_by_hand(name: str) -> None:
    frozen, whiten = RUNGS.index(name) >= 7, RUNGS.index(name) >= 9
    trainable, fixed = size_by_hand(whiten, frozen)
    assert trainable == (6_570_880 if frozen else 6_573_120)
    with torch.device("meta"):
        network = build(rung(name).network, 3, (32, 32), 10)
    assert parameter_counts(network) == {"trainable": trainable, "frozen": fixed, "buffers": 4480}


def forward_flops(spec, size: int = 32) -> int:
    with torch.device("meta"):
        network = build(spec, 3, (size, size), 10).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def test_work_by_hand() -> None:
    # Sides: 32 before the first pool, 16, 8; residual branches after the pool, at 16 and 4. A multiplication and an addition
    # are two operations. Where the pool stands changes nothing in the convolutions.
    multiplications = (32**2 * 27 * 64 + 32**2 * 9 * 64 * 128 + 2 * 16**2 * 9 * 128 * 128 + 16**2 * 9 * 128 * 256
                       + 8**2 * 9 * 256 * 512 + 2 * 4**2 * 9 * 512 * 512 + 512 * 10)
    assert forward_flops(rung("start").network) == 2 * multiplications == 2 * 379_261_952
    assert forward_flops(rung("pool-before-norm").network) == 2 * multiplications
    # 27 whitened channels, and 1×1 filters over them, in the place of 3×3 filters over three.
    assert forward_flops(rung("whitening").network) == 2 * (multiplications + 32**2 * 27 * 27)


# --- the network -----------------------------------------------------------------------------------------------------

SMALL = PageNetConfig(widths=(4, 8, 8, 8))


def outputs(spec: PageNetConfig, state: dict, images: torch.Tensor, training: bool) -> torch.Tensor:
    network = build(spec, images.shape[1], tuple(images.shape[2:]), 5)
    network.load_state_dict(state)
    return network.train(training)(images)


@pytest.mark.parametrize("activation", ["relu", "celu"])
def test_pooling_before_the_activation_is_the_same_function_and_before_batch_norm_is_not(activation: str) -> None:
    torch.manual_seed(1)
    images = torch.randn(6, 3, 16, 16)
    spec = SMALL.model_copy(update={"activation": activation, "celu_alpha": 0.3})
    last = build(spec, 3, (16, 16), 5)
    with torch.no_grad():
        for module in last.modules():
            if isinstance(module, Norm):  # scales of both signs: pooling must not cross them unseen
                module.weight.uniform_(-1, 1)
                module.bias.uniform_(-1, 1)
    state = last.state_dict()
    for training in (True, False):
        expected = outputs(spec, state, images, training)
        same = outputs(spec.model_copy(update={"pool": "before-activation"}), state, images, training)
        other = outputs(spec.model_copy(update={"pool": "before-norm"}), state, images, training)
        torch.testing.assert_close(same, expected)
        assert not torch.allclose(other, expected, atol=1e-4)


def test_the_start_is_davidnet() -> None:
    david = build(DavidNetConfig(width=1 / 16), 3, (32, 32), 10)
    page = build(PageNetConfig(widths=(4, 8, 16, 32)), 3, (32, 32), 10)
    theirs, ours = david.state_dict().values(), page.state_dict()
    page.load_state_dict(dict(zip(ours, theirs, strict=True)))
    images = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(page.eval()(images), david.eval()(images))


def test_celu_by_hand() -> None:
    network = build(SMALL.model_copy(update={"activation": "celu", "celu_alpha": 0.3}), 3, (16, 16), 5)
    seen = network.layer2.act(torch.tensor([2.0, 0.0, -0.6]))
    assert seen.tolist() == pytest.approx([2, 0, 0.3 * (math.exp(-2) - 1)])


class Cells(nn.Module):
    """Two cells of two channels, whatever comes in."""

    def forward(self, x):
        return torch.tensor([[[[1.0, 5.0]], [[-2.0, -4.0]]]])


@pytest.mark.parametrize("head", ["max", "concat"])
def test_heads_by_hand(head: str) -> None:
    spec = PageNetConfig(widths=(1, 1, 1, 2), residual=(), head=head, head_bias=head == "concat", logit_scale=0.5)
    network = build(spec, 1, (8, 8), 1).eval()
    network.prep = network.layer1 = network.layer2 = nn.Identity()
    network.layer3 = Cells()
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0][:network.head.in_features]]))
        if spec.head_bias:
            network.head.bias.fill_(7.0)
    maxima, means = 5 - 20, 100 * 3 - 1000 * 3
    assert network(torch.zeros(1, 1, 8, 8)).item() == 0.5 * (maxima if head == "max" else maxima + means + 7)


def test_images_too_small_are_an_error() -> None:
    with pytest.raises(RecipeError, match="pagenet.*8×8.*7×9.*davidnet"):
        build(PageNetConfig(), 3, (7, 9), 10)


@pytest.mark.parametrize("spec", [
    SMALL, PageNetConfig(widths=(4, 4, 8, 8), prep="whiten", ghost=2, norm_scales="frozen", pool="before-norm", extra=(2,)),
    PageNetConfig(widths=(4, 4, 8, 8), residual=(), kernel=1, downsample="stride", head="concat", norm_scales="uniform")])
def test_layers_to_explain_are_where_they_are_said_to_be(spec: PageNetConfig) -> None:
    network, sides = build(spec, 1, (32, 32), 7), {}
    for role, path in network.explain_layers.items():
        network.get_submodule(path).register_forward_hook(lambda *a, role=role: sides.update({role: tuple(a[2].shape[2:])}))
    assert network(torch.randn(4, 1, 32, 32)).shape == (4, 7)
    assert sides == {"middle": (16, 16), "last": (4, 4)}


# --- batch-norm ------------------------------------------------------------------------------------------------------

def test_ghost_groups_are_strided_and_normalised_apart() -> None:
    # Four images of one pixel in two groups: images 0 and 2, images 1 and 3.
    x = torch.tensor([1.0, 10.0, 3.0, 30.0]).view(4, 1, 1, 1)
    norm = Norm(1, groups=2).train()
    with torch.no_grad():
        norm.weight.fill_(2.0)
        norm.bias.fill_(0.5)
    # Group means 2 and 20, deviations 1 and 10: each value is one deviation from its mean.
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([-1.5, -1.5, 2.5, 2.5]), atol=1e-4, rtol=0)
    # Running statistics take a tenth of the mean over groups; variances of two values are unbiased: 2 and 200.
    assert norm.running_mean.item() == pytest.approx(0.1 * (2 + 20) / 2)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * (2 + 200) / 2)
    seen = norm.eval()(x).flatten()
    assert seen[0].item() == pytest.approx(0.5 + 2 * (1 - 1.1) / math.sqrt(11), rel=1e-4)


def test_running_statistics_are_the_mean_of_those_that_groups_would_keep() -> None:
    torch.manual_seed(0)
    norm, apart = Norm(3, groups=4), [nn.BatchNorm2d(3) for _ in range(4)]
    for _ in range(3):
        x = torch.randn(8, 3, 2, 2)
        norm(x)
        for k, own in enumerate(apart):
            own(x[k::4])
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(norm, name), torch.stack([getattr(own, name) for own in apart]).mean(0))


def test_one_group_is_plain_batch_norm_and_a_batch_that_does_not_divide_gets_fewer() -> None:
    x = torch.randn(6, 3, 2, 2)
    torch.testing.assert_close(Norm(3)(x), nn.BatchNorm2d(3)(x))
    torch.testing.assert_close(Norm(3, groups=4)(x), Norm(3, groups=2)(x))


def test_scales_are_drawn_or_frozen_as_asked() -> None:
    torch.manual_seed(0)
    drawn = Norm(2000, "uniform")
    assert 0 <= drawn.weight.min() < 0.01 and 0.99 < drawn.weight.max() <= 1
    assert drawn.weight.mean().item() == pytest.approx(0.5, abs=0.03) and not drawn.bias.any()
    assert drawn.weight.requires_grad and Norm(2).weight.tolist() == [1, 1]
    frozen = Norm(2, "frozen")
    assert (frozen.weight.requires_grad, frozen.bias.requires_grad) == (False, True) and frozen.weight.tolist() == [1, 1]


def test_a_batch_that_cannot_be_divided_is_an_error() -> None:
    with pytest.raises(RecipeError, match=r"512.*3 equal groups.*network\.ghost"):
        rung("ghost").changed(network=PageNetConfig(ghost=3).model_dump())


# --- whitening -------------------------------------------------------------------------------------------------------

def test_whitening_by_hand() -> None:
    # Three 1×1 patches of two channels, without taking the mean off: second moments (9+9+0)/2 and (0+0+2)/2, no mixed ones.
    images = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, math.sqrt(2)]]).view(3, 2, 1, 1)
    filters = whitening_filters([images], (1, 1), eps=1e-2, lost=1).flatten(1).abs()
    expected = torch.tensor([[1 / math.sqrt(9 + 0.01), 0], [0, 1 / math.sqrt(1 + 0.01)]], dtype=filters.dtype)
    torch.testing.assert_close(filters, expected)


def test_the_whitening_is_set_from_the_training_images_and_stays() -> None:
    data = toys.dataset(channels=3, train=60)
    spec = PageNetConfig(widths=(4, 4, 4, 4), prep="whiten", norm_scales="frozen")
    train_state = TrainState(data, toys.recipe(network=spec), 0, torch.device("cpu"))
    assert train_state.network.whitening_images == 10_000
    train_state.whiten(data.train)
    before = train_state.network.whitening.weight.detach().clone()
    responses = F.conv2d(train_state.normalise(data.train.images), before).transpose(0, 1).flatten(1).double()
    moments = responses @ responses.T / (responses.shape[1] - 1)
    values = moments.diagonal()
    torch.testing.assert_close(moments, torch.diag(values), atol=1e-4, rtol=0)
    # Λ/(Λ + 0.01): nearly one for large directions, and the larger the direction the nearer.
    assert values[0] > 0.99 and (values.diff() <= 1e-6).all() and values.max() < 1
    train_state.step(data.train.images[:40], data.train.labels[:40], 1.0)
    assert torch.equal(train_state.network.whitening.weight, before)


# --- optimiser and schedule ------------------------------------------------------------------------------------------

def test_the_first_step_is_at_the_rate_of_one_batch() -> None:
    # 97 steps an epoch; up to 0.4 over 5 epochs: the first step has progressed by one batch of those 485.
    found = rates(rung("start"))
    assert len(found) == 24 * 97
    assert found[0] == pytest.approx(0.4 / (5 * 97)) and found[5 * 97 - 1] == pytest.approx(0.4)
    assert found[-1] == 0 and found[-2] == pytest.approx(0.4 / (19 * 97), rel=1e-6)
    warm = rates(rung("label-smoothing"))  # a fifth of 23 epochs is 446.2 steps
    assert warm[0] == pytest.approx(0.4 / 446.2) and warm[445] == pytest.approx(0.4 * 446 / 446.2)


def test_the_rate_stays_at_a_tenth_for_the_last_two_epochs_of_the_average() -> None:
    for name, epochs in (("ema", 13), ("no-cutout", 10)):
        found = rates(rung(name))
        assert found[(epochs - 2) * 97 - 1:] == pytest.approx([0.1] * (2 * 97 + 1), rel=1e-6)
        assert found[0] == pytest.approx(1 / (epochs / 5 * 97)) and max(found) == pytest.approx(1, rel=1e-2)
        between = (epochs / 5 + epochs - 2) / 2 * 97  # half of the way down, 0.55
        assert found[round(between) - 1] == pytest.approx(0.55, abs=0.002)


def test_two_steps_by_hand_with_rescaled_bias_rates() -> None:
    """v = 0.9 v + lr (g + wd w), w −= 0.9 v + lr (g + wd w), of a loss summed over 512 at lr/512 and wd 5e-4 · 512."""
    recipe = rung("bias-rate")
    network = build(PageNetConfig(widths=(1, 1, 1, 1), residual=(), norm_scales="frozen"), 1, (8, 8), 2).double()
    watched = {"weight": network.head.weight, "bias": network.prep.norm.bias}
    with torch.no_grad():
        for p in watched.values():
            p.fill_(2.0)
    stepper = optimizers.make(recipe.optimizer, network)
    expected = {name: (2.0, 0.0) for name in watched}
    for mean_gradient, factor in ((0.5, 0.25), (-0.125, 1.0)):
        for p in network.parameters():
            p.grad = torch.full_like(p, mean_gradient) if p.requires_grad else None
        stepper.step(factor)
        for name, (w, v) in expected.items():
            rate, decay = 0.6 * factor / 512, 5e-4 * 512
            if name == "bias":
                rate, decay = 64 * rate, decay / 64
            moved = rate * (512 * mean_gradient + decay * w)
            v = 0.9 * v + moved
            expected[name] = (w - moved - 0.9 * v, v)
            torch.testing.assert_close(watched[name].detach(), torch.full_like(watched[name], expected[name][0]).detach())
    assert network.prep.norm.weight.tolist() == [1]


def test_label_smoothing_by_hand() -> None:
    logits, label, share = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([1]), rung("celu").label_smoothing
    log_p = [x - math.log(math.e + math.e**2 + math.e**4) for x in (1, 2, 4)]
    by_hand = 0.8 * -log_p[1] + 0.2 * -sum(log_p) / 3
    assert F.cross_entropy(logits, label, label_smoothing=share).item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize(("loss", "share"), [("mean", 1.0), ("sum", 0.25)])
def test_a_summed_loss_counts_a_small_batch_for_less(loss: str, share: float) -> None:
    data = toys.dataset()
    train_state = TrainState(data, toys.recipe(loss=loss), 0, torch.device("cpu"))
    images, labels = data.train.images[:10], data.train.labels[:10]  # a quarter of a batch of 40
    seen, _ = train_state.gradients(images, labels)
    mean = F.cross_entropy(train_state.network(train_state.normalise(images)), labels)
    assert seen.item() == pytest.approx(mean.item())
    (gradient,) = torch.autograd.grad(mean, train_state.network.head.weight)
    torch.testing.assert_close(train_state.network.head.weight.grad, share * gradient)


# --- the average -----------------------------------------------------------------------------------------------------

def test_the_average_begins_at_the_untrained_weights_and_is_updated_after_steps_one_six_eleven() -> None:
    network = nn.BatchNorm2d(1)

    def set_to(value: float) -> None:
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.fill_(value)

    set_to(64.0)
    average = WeightAverage(network, AverageConfig(decay=0.5, every=5, initial=True))
    for step in range(1, 12):
        set_to(float(step))
        average.after_step(step, step / 11)
    average.before_test()
    kept, expected = 0.5**5, 64.0
    for value in (1, 6, 11):
        expected = kept * expected + (1 - kept) * value
    for name in ("weight", "bias", "running_mean", "running_var"):
        assert network.state_dict()[name].item() == pytest.approx(expected), name
    with pytest.raises(ValueError, match="initial"):
        AverageConfig(initial=True, start=0.5)


@pytest.mark.parametrize("power", [0, 1, 3])
def test_an_average_by_power_counts_what_is_late(power: int) -> None:
    """The weights of the k-th of n updates are in proportion to (k)(k + 1)...(k + power - 1): all the same for 0, k for 1."""
    network = nn.BatchNorm2d(1)
    average, n = WeightAverage(network, AverageConfig(power=power, every=2)), 7
    values = torch.randn(n, generator=torch.Generator().manual_seed(power)).tolist()
    for step in range(1, 2 * n + 1):
        with torch.no_grad():
            network.weight.fill_(99.0 if step % 2 else values[step // 2 - 1])
        average.after_step(step, step / (2 * n))
    average.before_test()
    shares = [math.prod(range(k, k + power)) for k in range(1, n + 1)]
    assert network.weight.item() == pytest.approx(sum(s * v for s, v in zip(shares, values, strict=True)) / sum(shares), rel=1e-5)


def test_power_takes_the_place_of_decay() -> None:
    for wrong in ({"decay": 0.9}, {"initial": True}):
        with pytest.raises(ValueError, match="power takes the place"):
            AverageConfig(power=1, **wrong)


# --- groups that share a choice --------------------------------------------------------------------------------------

def test_groups_of_equal_size_share_a_choice_that_no_other_has() -> None:
    generator = torch.Generator().manual_seed(0)
    chosen = sample(Augment(crop=4, flip="random", cutout=8, groups=200), 1001, (32, 32), 0, generator)

    def sizes(*columns: torch.Tensor) -> list[int]:
        return sorted(torch.stack(columns).unique(dim=1, return_counts=True)[1].tolist())

    # 81 crops, fewer than 200: 1001 = 81 · 12 + 29. Two ways to be mirrored. 200 of the 625 places of a square.
    assert sizes(chosen.top, chosen.left) == [12] * 52 + [13] * 29
    assert sizes(chosen.mirrored.long()) == [500, 501]
    assert sizes(chosen.cut_top, chosen.cut_left) == [5] * 199 + [6]
    assert chosen.top.max() == chosen.left.max() == 8 and chosen.cut_top.max() == 24 and chosen.cut_left.min() == 0
    # Not in the order of the images, and not the same groups for two operations.
    assert (chosen.top.diff() != 0).sum() > 500
    assert torch.stack([chosen.top, chosen.left, chosen.mirrored.long()]).unique(dim=1).shape[1] > 81
    again = sample(Augment(crop=4, groups=200), 1001, (32, 32), 1, generator)
    assert not torch.equal(again.top, chosen.top)


def test_fewer_images_than_places_share_nothing() -> None:
    chosen = sample(Augment(cutout=8, groups=200), 30, (32, 32), 0, torch.Generator().manual_seed(0))
    assert torch.stack([chosen.cut_top, chosen.cut_left]).unique(dim=1).shape[1] == 30


def test_without_groups_each_image_draws_as_before() -> None:
    generator, other = (torch.Generator().manual_seed(3) for _ in range(2))
    chosen = sample(Augment(crop=2, flip="random", cutout=3), 9, (8, 6), 0, generator)
    for column, bound in ((chosen.top, 5), (chosen.left, 5), (chosen.mirrored.long(), 2), (chosen.cut_top, 6),
                          (chosen.cut_left, 4)):
        assert torch.equal(column, torch.randint(bound, (9,), generator=other))


# --- the loader ------------------------------------------------------------------------------------------------------

def loaded(data, augment: Augment, loader: Loader | None, count: int, **changes) -> list:
    recipe = toys.recipe(batch_size=10, augment=augment, data="loader", loader=loader, **changes)
    return list(islice(of_recipe(recipe, data.train, 0, Normalise.of(data)), count))


def test_prepared_images_are_those_that_are_made_each_time() -> None:
    data = toys.dataset(train=20, channels=3, size=8)
    augment = Augment(crop=2, flip="random", cutout=3)
    plain, prepared = (loaded(data, augment, loader, 4) for loader in (None, Loader(prepared=True)))
    for (images, labels), (others, same) in zip(plain, prepared, strict=True):
        assert torch.equal(labels, same)
        # Erased pixels are the mean here and the grey level next to it there.
        torch.testing.assert_close(others, images, rtol=0, atol=0.5 / 255 / min(data.std) + 1e-5)
        assert (others == 0).sum() >= 10 * 3 * 9


@pytest.mark.parametrize("prepared", [False, True])
def test_choices_drawn_one_by_one_are_others_in_each_epoch_and_the_same_again(prepared: bool) -> None:
    data = toys.dataset(train=20, size=8)
    single = Loader(prepared=prepared, choices="single")
    first, again = (loaded(data, Augment(crop=3), single, 4, order="fixed") for _ in range(2))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, again, strict=True))
    assert not torch.equal(first[0][0], first[2][0])
    assert not torch.equal(first[0][0], loaded(data, Augment(crop=3), Loader(prepared=prepared), 1, order="fixed")[0][0])


def test_a_worker_brings_the_same_images() -> None:
    data, augment = toys.dataset(train=20, size=8), Augment(crop=3, flip="random")
    for choices in ("bulk", "single"):
        own, other = (loaded(data, augment, Loader(prepared=True, choices=choices, worker=worker), 4)
                      for worker in (False, True))
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(own, other, strict=True)), choices


def test_contradictions_are_errors() -> None:
    for words, fields in (("loader says how", {"loader": Loader()}),
                          ("alternating", {"data": "loader", "loader": Loader(choices="single"),
                                           "augment": Augment(flip="alternating")}),
                          ("groups", {"data": "loader", "augment": Augment(flip="random", groups=4)})):
        with pytest.raises(RecipeError, match=words):
            toys.recipe().changed(**{name: value.model_dump() if hasattr(value, "model_dump") else value
                                     for name, value in fields.items()})


# --- the whole -------------------------------------------------------------------------------------------------------

# As they were before this ladder brought its fields, and before their arithmetic was left to the machine.
BEFORE = {"airbench94": "8be0cd6641f4", "airbench94-muon": "5d80b62f2782"}


@pytest.mark.parametrize("name", BEFORE)
def test_recipes_that_do_not_use_the_new_fields_keep_their_names(name: str) -> None:
    assert recipes.get(name, "cifar10").changed(precision="bf16").hash == BEFORE[name]


def test_new_fields_are_part_of_the_name_where_they_are_used() -> None:
    plain = toys.recipe(average=AverageConfig())
    others = [plain.changed(average=AverageConfig(initial=True).model_dump()), plain.changed(loss="sum"),
              plain.changed(augment=plain.augment.model_copy(update={"groups": 8}).model_dump()),
              plain.changed(average=AverageConfig(power=0).model_dump())]
    assert len({plain.hash, *(other.hash for other in others)}) == 5


def test_the_last_rung_trains_to_the_bit_twice(store) -> None:
    data = toys.dataset(channels=3, size=16)
    recipe = rung("no-cutout").changed(batch_size=32, epochs=2, precision="fp32", network=rung("no-cutout").network.model_copy(
        update={"widths": (4, 8, 8, 8), "ghost": 4}).model_dump())
    assert steps_per_epoch(data, recipe) == 5
    one, two = (train(data, toys.job(recipe, steps=10, key=f"twice-{i}"), store).record for i in range(2))
    assert one.weights_sha256 == two.weights_sha256 and one.metrics.tta_accuracy is not None
    batches = Batches(data.train, recipe.augment, 32, 0, Normalise.of(data))
    assert len(next(iter(batches))[1]) == 32
