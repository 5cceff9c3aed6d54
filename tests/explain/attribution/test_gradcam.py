"""Maps against values worked out by hand, against captum itself, and what a model looks like afterwards."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from explain.attribution.layers import candidate_layers
from explain.attribution.methods import METHODS, heatmaps
from explain.models import ExplainError
from speedcore.networks import build
from speedcore.recipe import DavidNetConfig, RecordNetConfig


class Toy(nn.Module):
    """A 2×2 convolution of ones, then class k scores k + 1 times the sum of the cells."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 2, bias=False)
        nn.init.ones_(self.conv.weight)

    def forward(self, x):
        total = self.conv(x).sum((1, 2, 3))
        return torch.stack([total, 2 * total], 1)


class Pooled(nn.Module):
    """Global average pooling and a linear head: there Grad-CAM is CAM."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 5, 3, stride=2), nn.BatchNorm2d(5), nn.ReLU(inplace=True))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def test_values_worked_out_by_hand():
    image = torch.arange(9.0).view(1, 1, 3, 3)
    # Sums of the four 2×2 windows of 0..8, times the mean gradient: 1 for class 0, 2 for class 1.
    windows = torch.tensor([[8.0, 12.0], [20.0, 24.0]])
    maps = heatmaps(Toy(), image.repeat(2, 1, 1, 1), torch.tensor([0, 1]), ["conv"])
    assert list(maps) == ["conv"]
    assert maps["conv"].shape == (2, 1, 2, 2)
    torch.testing.assert_close(maps["conv"][0, 0], windows)
    torch.testing.assert_close(maps["conv"][1, 0], 2 * windows)


def test_maps_keep_their_sign():
    maps = heatmaps(Toy(), -torch.ones(1, 1, 3, 3), 0, ["conv"])
    torch.testing.assert_close(maps["conv"], torch.full((1, 1, 2, 2), -4.0))


def test_map_sums_to_the_logit_without_its_bias_under_average_pooling():
    torch.manual_seed(0)
    model, images = Pooled().eval(), torch.randn(7, 2, 11, 9)
    maps = heatmaps(model, images, torch.tensor([0, 1, 2, 0, 1, 2, 0]), ["body"])["body"]
    with torch.no_grad():
        logits = model(images) - model.head.bias
    # The gradient's mean over the cells is the head's weight ÷ cells; the cells' sum is cells times their mean.
    torch.testing.assert_close(maps.sum((1, 2, 3)), logits[torch.arange(7), torch.arange(7) % 3])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("spec", "channels", "side"), [
    (RecordNetConfig(widths=(4, 6, 8), whiten_kernel=3), 1, 28), (RecordNetConfig(widths=(5, 4, 3), whiten_kernel=2), 3, 32),
    (DavidNetConfig(width=0.06), 1, 28), (DavidNetConfig(width=0.06), 3, 32)])
def test_equals_captum_layer_by_layer(spec, channels, side, layout):
    torch.manual_seed(channels + side)
    model = build(spec, channels, (side, side), 10).to(memory_format=layout).eval()
    images = torch.randn(6, channels, side, side).to(memory_format=layout)
    targets = torch.randint(10, (6, 2))
    maps = heatmaps(model, images, targets, batch_size=4)
    assert list(maps) == list(model.explain_layers.values())
    for name, both in maps.items():
        for t in range(2):
            expected = LayerGradCam(model, model.get_submodule(name)).attribute(images, targets[:, t]).detach()
            error = (both[:, t:t + 1] - expected).abs().max() / expected.abs().max()
            assert error <= 1e-5


def by_definition(model: nn.Module, name: str, image: torch.Tensor, target: int, method: str) -> torch.Tensor:
    """One image's map (h, w), cell by cell as the papers write it: no batch, no package, and nothing rescaled."""
    kept = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: kept.append(output) or output.clone())
    score = model(image[None])[0, target]
    handle.remove()
    gradient, = torch.autograd.grad(score, kept[0])
    channels = zip(kept[0][0].detach().float(), gradient[0].float(), strict=True)
    if method == "grad-cam":
        return sum(gradient.mean() * activation for activation, gradient in channels)
    return sum(gradient * activation for activation, gradient in channels)


@pytest.mark.parametrize("method", ["grad-cam", "hirescam"])
@pytest.mark.parametrize(("dtype", "layout"), [(torch.float32, torch.contiguous_format), (torch.float32, torch.channels_last),
                                               (torch.float64, torch.channels_last), (torch.bfloat16, torch.channels_last)])
@pytest.mark.parametrize(("spec", "channels"), [(RecordNetConfig(widths=(4, 6, 8), whiten_kernel=3, activation="silu"), 1),
                                                (DavidNetConfig(width=0.06), 3)])
def test_equals_the_definition_on_random_networks_layouts_and_types(spec, channels, dtype, layout, method):
    torch.manual_seed(channels)
    model = build(spec, channels, (28, 28), 10).to(dtype, memory_format=layout).eval()
    images, targets = torch.randn(4, channels, 28, 28), torch.tensor([3, 0, 9, 3])
    for name, maps in heatmaps(model, images, targets, method=method).items():
        assert maps.dtype == torch.float32
        expected = torch.stack([by_definition(model, name, image.to(dtype), int(k), method)
                                for image, k in zip(images, targets, strict=True)])
        # In bf16 the passes themselves round: a batch adds up in another order than an image alone.
        tolerance = 0.05 if dtype == torch.bfloat16 else 1e-5
        assert (maps[:, 0] - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("method", [name for name in METHODS if name != "smoothgrad"])  # whose copies captum lays out
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_images_keep_their_layout_for_another_rounds_otherwise_and_tips_relus(layout, method):
    torch.manual_seed(4)
    model, images = Pooled(), torch.randn(5, 2, 11, 9).to(memory_format=layout)
    seen = []
    handle = model.body[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].is_contiguous(
        memory_format=layout)))
    heatmaps(model, images, torch.tensor([0, 1, 2, 0, 1]), ["body"] if METHODS[method].layers else None, method, batch_size=100)
    handle.remove()
    assert seen and all(seen)
    assert model.body[0].weight.is_contiguous() and images.is_contiguous(memory_format=layout)


def test_batches_and_table_of_targets_change_nothing():
    torch.manual_seed(1)
    model, images, targets = Pooled(), torch.randn(5, 2, 8, 8), torch.randint(3, (5, 3))
    whole = heatmaps(model, images, targets, ["body"])["body"]
    for t in range(3):
        single = heatmaps(model, images, targets[:, t], ["body"], batch_size=2)["body"]
        torch.testing.assert_close(single[:, 0], whole[:, t])


def test_maps_are_plain_fp32_tensors_even_within_autocast_and_inference_mode():
    torch.manual_seed(2)
    model, images = Pooled(), torch.randn(2, 2, 8, 8)
    plain = heatmaps(model, images, 0, ["body"])["body"]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = heatmaps(model, images.clone(), 0, ["body"])["body"]
    assert plain.dtype == inside.dtype == torch.float32
    assert not plain.requires_grad
    assert torch.equal(plain, inside)


def _state(model: nn.Module) -> tuple:
    return ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()],
            [None if p.grad is None else p.grad.clone() for p in model.parameters()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()],
            {name: value.clone() for name, value in model.state_dict().items()})


def _same(before: tuple, after: tuple) -> bool:
    tensors = all((a is None and b is None) or torch.equal(a, b) for a, b in zip(before[2], after[2], strict=True))
    state = all(torch.equal(before[4][name], after[4][name]) for name in before[4])
    return before[:2] == after[:2] and before[3] == after[3] and tensors and state


@pytest.mark.parametrize("failing", [False, True])
def test_model_leaves_as_it_came(failing):
    model, images = Pooled(), torch.randn(3, 2, 8, 8)
    model.train()
    model.body[1].eval()
    model.head.bias.requires_grad_(False)
    model.body[0].weight.grad = torch.ones_like(model.body[0].weight)
    before = _state(model)
    if failing:
        with pytest.raises(ExplainError):
            heatmaps(model, images, 3, ["body", "head"])
    else:
        heatmaps(model, images, 2, ["body"])
    assert _same(before, _state(model))


def test_an_error_inside_the_model_leaves_it_as_it_came():
    model = Pooled()

    def broken(*_):
        raise KeyError("a bug in the model")

    handle = model.head.register_forward_hook(broken)
    before = _state(model)
    with pytest.raises(KeyError):
        heatmaps(model, torch.randn(1, 2, 8, 8), 0, ["body"])
    assert _same(before, _state(model))
    handle.remove()


def test_candidates_are_the_layers_with_a_spatial_map():
    assert candidate_layers(Pooled(), torch.randn(2, 2, 9, 7)) == {
        "body.0": (5, 4, 3), "body.1": (5, 4, 3), "body.2": (5, 4, 3), "body": (5, 4, 3)}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.idle = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.conv(self.conv(x)).mean((2, 3)).repeat(1, 2)


def test_layer_without_influence_gives_a_dead_map_and_no_failure():
    class Aside(Toy):
        def forward(self, x):
            self.conv(x)
            return super().forward(x)

    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.seen = nn.Conv2d(1, 1, 2), nn.Conv2d(1, 1, 2)

        def forward(self, x):
            self.seen(x)
            return self.used(x).sum((2, 3)).repeat(1, 2)

    maps = heatmaps(Detached(), torch.ones(1, 1, 4, 4), 1, ["used", "seen"])
    assert torch.equal(maps["seen"], torch.zeros(1, 1, 3, 3)) and maps["used"].any()
    alone = heatmaps(Detached(), torch.ones(2, 1, 4, 4), torch.tensor([[1, 1, 0]] * 2), ["seen"])["seen"]
    assert torch.equal(alone, torch.zeros(2, 3, 3, 3))
    with pytest.raises(ExplainError, match="more than once"):
        heatmaps(Aside(), torch.ones(1, 1, 4, 4), 1, ["conv"])


IMAGES = torch.randn(3, 2, 8, 8)


@pytest.mark.parametrize(("model", "images", "targets", "layers", "says"), [
    (Pooled(), IMAGES, 0, ["boby"], r"no layer 'boby'.*body\.0 \(3×3\)"),
    (Pooled(), IMAGES, 0, None, r"name the layers.*body \(3×3\)"),
    (Pooled(), IMAGES, 0, ["head"], "no spatial map"),
    (Pooled(), IMAGES, 3, ["body"], "targets run from 3 to 3.*0 to 2"),
    (Pooled(), IMAGES, torch.tensor([0, -1, 0]), ["body"], "targets run from -1"),
    (Pooled(), IMAGES, torch.tensor([0, 1]), ["body"], "N = 3 images"),
    (Pooled(), IMAGES, torch.tensor([0.0, 1.0, 2.0]), ["body"], "int64"),
    (Pooled(), IMAGES, "cat", ["body"], "not 'cat'"),
    (Pooled(), IMAGES.byte(), 0, ["body"], "floating point"),
    (Pooled(), IMAGES[0], 0, ["body"], r"\(N, C, H, W\)"),
    (Pooled(), IMAGES[:, :1], 0, ["body"], r"does not take images of shape \(1, 1, 8, 8\)"),
    (Twice(), IMAGES[:, :1], 0, ["conv"], "more than once"),
    (Twice(), IMAGES[:, :1], 0, ["idle"], "no part in the forward pass"),
    (nn.Sequential(nn.Conv2d(2, 3, 1)), IMAGES, 0, ["0"], r"scores \(N, classes\)"),
])
def test_bad_input_gives_one_clear_message(model, images, targets, layers, says):
    with pytest.raises(ExplainError, match=says):
        heatmaps(model, images, targets, layers)
