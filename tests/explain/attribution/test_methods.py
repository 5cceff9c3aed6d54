"""Every method against its definition and captum used the plain way, and what a model looks like afterwards."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from captum.attr import GuidedGradCam, IntegratedGradients, LayerGradientXActivation, Occlusion, Saliency
from torch import nn
from torch.nn import functional as F

import explain
from explain.attribution import gradients
from explain.attribution.methods import METHODS, heatmaps
from explain.attribution.perturbation import window_of
from explain.metrics import is_empty
from explain.models import ExplainError
from speedcore.networks import build
from speedcore.recipe import DavidNetConfig, RecordNetConfig

LAYERS, INPUTS = ([name for name, method in METHODS.items() if method.layers == which] for which in (True, False))


class Net(nn.Module):
    """Two convolutions, a global pool, a linear head with bias."""

    def __init__(self, channels: int = 2, pool: str = "mean", classes: int = 3):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.high = nn.Sequential(nn.Conv2d(4, 5, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Linear(5, classes)
        self.pool = pool

    def forward(self, x):
        x = self.high(self.low(x))
        return self.head(x.mean((2, 3)) if self.pool == "mean" else x.amax((2, 3)))


def made(seed: int = 0, **fields) -> Net:
    torch.manual_seed(seed)
    return Net(**fields).eval()


def given(method: str) -> list[str] | None:
    return ["low", "high"] if METHODS[method].layers else None


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


# --- what maps sum to ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", ["grad-cam", "hirescam"])
def test_under_a_mean_pool_maps_sum_to_the_logit_without_its_bias(method):
    model, images, targets = made(), torch.randn(6, 2, 9, 12), torch.tensor([[0, 1, 2]] * 6)
    with torch.no_grad():
        logits = model(images)
    maps = heatmaps(model, images, targets, ["high"], method)["high"]
    torch.testing.assert_close(maps.sum((2, 3)), logits - model.head.bias.detach())
    assert (logits - model.head.bias.detach() - logits).abs().max() > 0.01  # the bias is something


def test_under_a_max_pool_hirescam_stays_where_the_score_was_read_and_gradcam_spreads():
    model, images = made(1, pool="max"), torch.randn(5, 2, 10, 10)
    with torch.no_grad():
        active = model.high(model.low(images))
        logits = model(images) - model.head.bias
    weight = model.head.weight.detach()[1]
    sharp = heatmaps(model, images, 1, ["high"], "hirescam")["high"][:, 0]
    spread = heatmaps(model, images, 1, ["high"])["high"][:, 0]
    # Read were the largest cells of the channels, and nothing else has a value.
    read = torch.zeros(5, 25)
    for channel in range(5):
        flat = active[:, channel].flatten(1)
        read.scatter_add_(1, flat.argmax(1, keepdim=True), weight[channel] * flat.amax(1, keepdim=True))
    close(sharp.flatten(1), read)
    torch.testing.assert_close(sharp.sum((1, 2)), logits[:, 1])
    # Grad-CAM: one cell's gradient ÷ 25 for all cells, so it sums to the score of a mean pool.
    torch.testing.assert_close(spread.sum((1, 2)), (active.mean((2, 3)) * weight).sum(1))
    assert (spread != 0).sum() > 2 * (sharp != 0).sum()


def test_integrated_gradients_sum_to_the_score_they_explain():
    model, images, targets = made(2), torch.randn(4, 2, 8, 8), torch.tensor([0, 1, 2, 0])
    maps = heatmaps(model, images, targets, method="integrated-gradients")["image"]
    with torch.no_grad():
        change = (model(images) - model(torch.zeros(1, 2, 8, 8)))[torch.arange(4), targets]
    assert (maps.sum((1, 2, 3)) - change).abs().max() <= 0.02 * change.abs().max()


def test_occlusion_of_a_sum_of_pixels_is_the_mean_sum_of_the_squares_that_cover_one():
    class Sum(nn.Module):
        def forward(self, x):
            return torch.stack([x.sum((1, 2, 3)), -x.sum((1, 2, 3))], 1)

    images = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    assert window_of((8, 8)) == ((2, 2), (1, 1))
    # A square of 2×2 takes away what it holds; a pixel has the mean of the up to four squares over it.
    falls = F.avg_pool2d(images.sum(1, keepdim=True), 2, 1) * 4
    expected = F.conv_transpose2d(falls, torch.ones(1, 1, 2, 2)) / F.conv_transpose2d(
        torch.ones_like(falls), torch.ones(1, 1, 2, 2))
    for n in (1, 3):  # one image alone is a case of its own for captum
        both = [torch.zeros(n, dtype=torch.int64), torch.ones(n, dtype=torch.int64)]  # rows of 0, 1 could be one-hot
        found = heatmaps(Sum(), images[:n], both, method="occlusion")["image"]
        close(found[:, :1], expected[:n])
        close(found[:, 1:], -expected[:n])


def test_smoothgrad_of_a_linear_model_is_its_weights_whatever_the_noise():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 6, 3))
    maps = heatmaps(model, torch.randn(3, 2, 6, 6), 2, method="smoothgrad")["image"]
    expected = model[1].weight[2].detach().view(1, 2, 6, 6).sum(1, keepdim=True)
    torch.testing.assert_close(maps, expected.expand(3, 1, 6, 6))


def test_smoothgrad_draws_the_same_noise_for_each_image_and_leaves_the_generator():
    model, images = made(3), torch.randn(3, 2, 8, 8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    whole = heatmaps(model, images, 1, method="smoothgrad")["image"]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    single = heatmaps(model, images[2:], 1, method="smoothgrad", batch_size=3)["image"]
    torch.testing.assert_close(single[0], whole[2])
    assert not torch.allclose(whole, heatmaps(model, images, 1, method="saliency")["image"])


# --- captum used the plain way ---------------------------------------------------------------------------------------

def plainly(method: str, model: nn.Module, name: str, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    images = images.clone().requires_grad_()
    if method == "hirescam":
        return LayerGradientXActivation(model, model.get_submodule(name)).attribute(images, target).sum(1).detach()
    if method == "guided-grad-cam":
        of = GuidedGradCam(model, model.get_submodule(name))
        return of.attribute(images, target, interpolate_mode="bilinear").sum(1).detach()
    if method == "saliency":
        return Saliency(model).attribute(images, target, abs=False).sum(1).detach()
    if method == "integrated-gradients":
        return IntegratedGradients(model).attribute(images, target=target, n_steps=gradients.STEPS).sum(1).detach()
    window, stride = window_of(tuple(images.shape[2:]))
    made = Occlusion(model).attribute(images, (images.shape[1], *window), (images.shape[1], *stride), target=target)
    return made[:, 0].detach()


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("method", ["hirescam", "guided-grad-cam", "saliency", "integrated-gradients", "occlusion"])
@pytest.mark.parametrize(("spec", "channels", "side", "layout"), [
    (RecordNetConfig(widths=(4, 5, 6), whiten_kernel=3, activation="relu"), 1, 28, torch.contiguous_format),
    (DavidNetConfig(width=0.05), 3, 32, torch.channels_last)])
def test_equals_captum(method, spec, channels, side, layout):
    torch.manual_seed(side)
    model = build(spec, channels, (side, side), 10).to(memory_format=layout).eval()
    images, targets = torch.randn(3, channels, side, side).to(memory_format=layout), torch.randint(10, (3, 2))
    maps = heatmaps(model, images, targets, method=method, batch_size=7)
    names = list(model.explain_layers.values()) if METHODS[method].layers else ["image"]
    assert list(maps) == names
    for name in names:
        for t in range(2):
            close(maps[name][:, t], plainly(method, model, name, images, targets[:, t]))


# --- what holds for all ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_maps_are_signed_fp32_one_a_target_at_the_methods_resolution(method, channels):
    model, images = made(channels=channels), torch.randn(4, channels, 12, 8)
    maps = heatmaps(model, images, torch.tensor([[0, 2]] * 4), given(method), method)
    assert list(maps) == (["low", "high"] if METHODS[method].layers else ["image"])
    for name, one in maps.items():
        coarse = METHODS[method].grid == "layer" and name == "high"
        assert one.shape == (4, 2, *((6, 4) if coarse else (12, 8)))
        assert one.dtype == torch.float32 and one.device.type == "cpu" and not one.requires_grad
        assert (one > 0).any() and (one < 0).any()


@pytest.mark.parametrize("method", METHODS)
def test_batches_and_further_targets_change_nothing(method):
    model, images, targets = made(4), torch.randn(3, 2, 8, 8), torch.tensor([[0, 2], [1, 1], [2, 0]])
    whole = heatmaps(model, images, targets, given(method), method)
    for t in range(2):
        parts = heatmaps(model, images, targets[:, t], given(method), method, batch_size=2)
        for name, one in parts.items():
            torch.testing.assert_close(one[:, 0], whole[name][:, t], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_bf16_is_explained_in_its_own_type(method):
    torch.manual_seed(7)
    model, images = made(channels=3), torch.randn(4, 3, 8, 8)
    expected = heatmaps(model, images, 1, given(method), method)
    found = heatmaps(made(channels=3).bfloat16(), images, 1, given(method), method)
    for name, one in found.items():
        assert one.dtype == torch.float32
        # Eight bits of mantissa, a few layers; a ReLU at its edge may tip over, so it is the bulk that must agree.
        assert torch.corrcoef(torch.stack([one.flatten(), expected[name].flatten()]))[0, 1] > 0.98


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_gives_the_maps_of_the_cpu(method):
    model, images = made(channels=3), torch.randn(4, 3, 8, 8)
    expected = heatmaps(model, images, 1, given(method), method)
    found = heatmaps(made(channels=3).cuda(), images.cuda(), 1, given(method), method)
    for name, one in found.items():
        assert one.device.type == "cpu"
        if method != "smoothgrad":  # the GPU's generator draws other noise
            torch.testing.assert_close(one, expected[name], rtol=1e-2, atol=1e-3)


class Counted(Net):
    """Counts the images that pass, forward and backward."""

    forward_images = backward_images = 0

    def forward(self, x):
        self.forward_images += len(x)
        out = super().forward(x)
        if out.requires_grad:
            out.register_hook(self.count)
        return out

    def count(self, gradient):
        self.backward_images += len(gradient)


@pytest.mark.parametrize("method", METHODS)
def test_cost_is_what_the_table_says(method):
    model, images = Counted(), torch.randn(2, 2, 32, 32)
    told = METHODS[method]
    heatmaps(model, images, torch.tensor([[0, 1, 2]] * 2), given(method), method)
    shares = 3 if not told.shared else 1
    # Grad-CAM inside the guided one shares its forward pass over targets; guided backpropagation does not.
    forward = 2 * (3 + 1) if method == "guided-grad-cam" else 2 * told.forward * shares
    # One image beforehand: what the model returns, how layers are read (at three sizes), which ReLUs are reached.
    asked = 1 + 3 * told.layers + (method == "guided-grad-cam")
    assert model.forward_images == forward + asked
    assert model.backward_images == 2 * told.backward * 3
    model.forward_images = model.backward_images = 0
    heatmaps(model, images, 0, given(method), method)
    assert (model.forward_images, model.backward_images) == (2 * told.forward + asked, 2 * told.backward)


@pytest.mark.parametrize("method", METHODS)
def test_no_pass_holds_more_images_than_batch_size_and_progress_is_told(method):
    model, seen, sizes = made(), [], []
    handle = model.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    heatmaps(model, torch.randn(5, 2, 8, 8), 0, given(method), method, batch_size=20, observer=seen.append)
    handle.remove()
    assert max(sizes) <= 20
    assert seen == sorted(set(seen)) and seen[-1] == 5


def state(model: nn.Module) -> tuple:
    return ([m.training for m in model.modules()], [(p.requires_grad, p.dtype) for p in model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
            [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
            {name: value.tolist() for name, value in model.state_dict().items()})


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_training_mode_leaves_as_it_came(method, failing):
    model, images = made(), torch.randn(3, 2, 8, 8)
    expected = heatmaps(model, images, 1, given(method), method)
    model.train()
    model.low[1].eval()
    model.head.bias.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    before, pixels = state(model), images.clone()
    if failing:
        model.head.register_forward_hook(broken := lambda *_: 1 / 0)
        before = state(model)
        with pytest.raises(ZeroDivisionError):
            heatmaps(model, images, 1, given(method), method)
        assert broken in model.head._forward_hooks.values()
    else:
        found = heatmaps(model, images, 1, given(method), method)
        assert all(torch.equal(found[name], one) for name, one in expected.items())  # eval mode, whatever the model's
    assert state(model) == before
    assert torch.equal(images, pixels) and not images.requires_grad


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_warned_about(method):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        heatmaps(made(), torch.randn(2, 2, 8, 8), 0, given(method), method)


def test_table_has_words_for_everything():
    for name, method in METHODS.items():
        assert name == method.name and method.source and method.criticism and method.definition
    assert explain.METHODS is METHODS and explain.heatmaps is heatmaps


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_or_nothing_gives_maps_that_are_dead(method):
    model, images = made(), torch.randn(3, 2, 8, 8)
    images[1, 0, 2, 3] = math.nan
    for name, maps in heatmaps(model, images, 1, given(method), method).items():
        assert is_empty(maps[:, 0])[1], name
        assert maps[[0, 2]].isfinite().all()
    model.head.bias.data[1] = math.nan  # which no gradient goes through
    for maps in heatmaps(model, torch.randn(2, 2, 8, 8), 1, given(method), method).values():
        assert is_empty(maps[:, 0]).all()
    assert not any(is_empty(maps[:, 0]).all() for maps in heatmaps(model, torch.randn(2, 2, 8, 8), 0, given(method),
                                                                   method).values())
    nn.init.zeros_(model.head.bias)
    nn.init.zeros_(model.head.weight)
    for maps in heatmaps(model, torch.randn(3, 2, 8, 8), 1, given(method), method).values():
        assert torch.equal(maps, torch.zeros_like(maps)) and is_empty(maps[:, 0]).all()


# --- bad input -------------------------------------------------------------------------------------------------------

IMAGES = torch.randn(3, 2, 8, 8)


@pytest.mark.parametrize(("model", "images", "fields", "says"), [
    (made(), IMAGES, {"method": "gradcam"}, "no method 'gradcam'; choose grad-cam, hirescam"),
    (made(), IMAGES, {"method": "saliency", "layers": ["low"]}, "explains the image and takes no layers.*grad-cam"),
    (made(), IMAGES, {"layers": ["low"], "batch_size": 0}, "batch_size must be at least 1"),
    (nn.Sequential(nn.Conv2d(2, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), IMAGES, {"layers": ["1"]},
     r"no spatial map: its output is of shape \(3, 3, 1, 1\)"),
    (nn.Sequential(nn.Conv2d(2, 3, 1), nn.GELU(), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten()), IMAGES,
     {"method": "guided-grad-cam", "layers": ["0"]}, "no nn.ReLU"),
    *[(made(), IMAGES, {"method": name, "layers": ["low", "lwo"]}, r"no layer 'lwo'.*low \(8×8\)") for name in LAYERS],
    *[(made(), IMAGES, {"method": name}, r"name the layers to explain; this model has: .*high \(4×4\)") for name in LAYERS],
    *[(made(), IMAGES, {"method": name, "layers": given(name), "targets": 3}, "targets run from 3 to 3.*0 to 2")
      for name in METHODS],
    *[(made(), IMAGES[:, :1], {"method": name, "layers": given(name)}, r"does not take images of shape \(\d+, 1, 8, 8\)")
      for name in METHODS],
    *[(nn.Sequential(nn.Flatten(), nn.Linear(2 * 6 * 6, 3)), IMAGES, {"method": name},
       r"does not take images of shape \(\d+, 2, 8, 8\)") for name in INPUTS],
])
def test_bad_input_gives_one_clear_message(model, images, fields, says):
    with pytest.raises(ExplainError, match=says) as caught:
        heatmaps(model, images, **{"targets": 0} | fields)
    assert "\n" not in str(caught.value)
