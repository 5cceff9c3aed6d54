"""Sizes counted by hand, whitening that whitens, and layers that are where they are said to be."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from speedcore.errors import RecipeError
from speedcore.networks import build, parameter_counts
from speedcore.networks.recordnet import RecordNet
from speedcore.recipe import DavidNetConfig, Recipe, RecordNetConfig
from tests.speedcore import toys


def counts(recipe_network, channels: int, size: int = 32, classes: int = 10) -> dict[str, int]:
    return parameter_counts(build(recipe_network, channels, (size, size), classes))


def davidnet_by_hand(channels: int) -> tuple[int, int]:
    """(trainable parameters, running statistics) from the architecture's description."""
    convolutions = [(channels, 64),                                     # prep
                    (64, 128), (128, 128), (128, 128),                  # layer 1 and its residual branch
                    (128, 256),                                         # layer 2
                    (256, 512), (512, 512), (512, 512)]                 # layer 3 and its residual branch
    filters = sum(9 * i * o for i, o in convolutions)
    norms = sum(o for _, o in convolutions)                             # 64 + 3·128 + 256 + 3·512 = 2240
    return filters + 2 * norms + 512 * 10, 2 * norms


@pytest.mark.parametrize(("channels", "size", "trainable"), [(3, 32, 6_573_120), (1, 28, 6_571_968)])
def test_davidnets_size_is_the_articles(channels: int, size: int, trainable: int) -> None:
    assert davidnet_by_hand(channels) == (trainable, 4480)
    assert counts(DavidNetConfig(), channels, size) == {"trainable": trainable, "frozen": 0, "buffers": 4480}


def test_the_articles_number_is_trainable_and_statistics_together() -> None:
    assert sum(davidnet_by_hand(3)) == 6_577_600


def recordnet_by_hand(channels: int, kernel: int, widths: tuple[int, ...], classes: int, depth: int) -> dict[str, int]:
    patch = channels * kernel**2
    ins = (2 * patch, *widths[:-1])
    filters = sum(9 * (i * o + (depth - 1) * o * o) for i, o in zip(ins, widths, strict=True))
    norms = depth * sum(widths)  # biases are trained, scales are frozen at 1
    return {"trainable": 2 * patch + filters + norms + widths[-1] * classes,  # the whitening's bias is trained
            "frozen": 2 * patch * patch + norms, "buffers": 2 * norms}


@pytest.mark.parametrize(("channels", "kernel", "widths", "depth"), [
    (3, 2, (64, 256, 256), 2), (1, 3, (32, 64, 128), 2), (1, 4, (16, 64), 2), (3, 2, (48, 192, 192), 3)])
def test_recordnets_size_by_hand(channels: int, kernel: int, widths: tuple, depth: int) -> None:
    spec = RecordNetConfig(widths=widths, whiten_kernel=kernel, depth=depth)
    assert counts(spec, channels) == recordnet_by_hand(channels, kernel, widths, 10, depth)


def test_a_third_convolution_lies_beside_an_identity() -> None:
    torch.manual_seed(0)
    stage = build(RecordNetConfig(widths=(4, 4), depth=3, activation="relu"), 3, (16, 16), 2).stages[1].eval()
    with torch.no_grad():
        stage.conv3.weight.zero_()
        image = torch.rand(2, 4, 7, 7)
        before = torch.relu(stage.norm1(stage.pool(stage.conv1(image))))
        assert torch.equal(stage(image), before)  # nothing from the branch: what entered it, which no ReLU changes again


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (20, 30), (40, 36)])
@pytest.mark.parametrize("spec", [DavidNetConfig(width=1 / 16), RecordNetConfig(widths=(4, 4, 4)),
                                  RecordNetConfig(widths=(4, 4, 4), whiten_kernel=3, depth=3),
                                  RecordNetConfig(widths=(4, 4), whiten_kernel=4, whiten_stride=2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_take_images_of_any_size_and_name_layers_to_explain(size, spec, channels: int) -> None:
    network = build(spec, channels, size, 7).eval()
    assert set(network.explain_layers) == {"middle", "last"}
    seen = {}
    for role, path in network.explain_layers.items():
        network.get_submodule(path).register_forward_hook(lambda *a, role=role: seen.update({role: a[2].shape}))
    assert network(torch.randn(2, channels, *size)).shape == (2, 7)
    assert all(min(seen["middle"][2:]) > min(seen["last"][2:]) >= 1 for _ in seen)


@pytest.mark.parametrize(("spec", "size", "middle", "last"), [
    (DavidNetConfig(width=1 / 16), 32, 16, 4),
    (DavidNetConfig(width=1 / 16), 28, 16, 4),      # padded to 32
    (RecordNetConfig(widths=(4, 4, 4)), 32, 15, 3),                     # 31 pixels after the unpadded whitening
    (RecordNetConfig(widths=(4, 4, 4), whiten_kernel=3), 28, 14, 3),    # 28 pixels after the padded one
    (RecordNetConfig(widths=(4, 4), whiten_kernel=4, whiten_stride=2), 28, 7, 3),   # 14 after every second patch
])
def test_maps_have_the_size_that_is_promised(spec, size: int, middle: int, last: int) -> None:
    network = build(spec, 1, (size, size), 10)
    x, sides = torch.randn(2, 1, size, size), {}
    for role, path in network.explain_layers.items():
        network.get_submodule(path).register_forward_hook(lambda *a, role=role: sides.update({role: a[2].shape[2:]}))
    network(x)
    assert sides == {"middle": (middle, middle), "last": (last, last)}


def test_padding_a_digit_is_what_davidnet_does_itself() -> None:
    spec = DavidNetConfig(width=1 / 16)
    small = build(spec, 1, (28, 28), 10).eval()
    large = build(spec, 1, (32, 32), 10).eval()
    large.load_state_dict(small.state_dict())
    x = torch.randn(3, 1, 28, 28)
    assert torch.equal(small(x), large(F.pad(x, (2, 2, 2, 2))))


def test_too_small_an_image_is_said_to_be() -> None:
    with pytest.raises(RecipeError, match="16×16.*15×32.*davidnet"):
        build(RecordNetConfig(), 3, (15, 32), 10)
    with pytest.raises(RecipeError, match="4 stages.*16×16.*fewer widths"):
        build(RecordNetConfig(widths=(4, 4, 4, 4), whiten_kernel=4, whiten_stride=2), 1, (16, 16), 10)
    build(DavidNetConfig(width=1 / 64), 3, (8, 8), 2)(torch.randn(2, 3, 8, 8))


def test_weights_are_the_seeds() -> None:
    def made(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        network = build(toys.recipe().network, 1, (16, 16), 4)
        return torch.cat([p.flatten() for p in network.parameters()])

    with torch.random.fork_rng():
        assert torch.equal(made(1), made(1))
        assert not torch.equal(made(1), made(2))


def test_the_first_filters_pass_their_input_through() -> None:
    network = build(RecordNetConfig(widths=(16, 16, 16)), 1, (16, 16), 4)
    stage = network.stages[1]
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(stage.conv1(x), x)


# --- whitening -------------------------------------------------------------------------------------------------------

def whitened(kernel: int, channels: int, eps: float = 5e-4) -> tuple[RecordNet, torch.Tensor]:
    """A prepared network and correlated, centred images that it was prepared with."""
    noise = torch.randn(400, channels, 20, 20, generator=torch.Generator().manual_seed(5))
    blur = nn.AvgPool2d(2, stride=1)
    images = (blur(noise) + noise.mean(1, keepdim=True)[..., 1:, 1:])[..., :16, :16]
    network = build(RecordNetConfig(widths=(4, 4, 4), whiten_kernel=kernel), channels, (16, 16), 4)
    network.prepare(images.split(150), eps)
    return network, images


@pytest.mark.parametrize(("kernel", "channels"), [(2, 3), (3, 1)])
def test_responses_to_patches_are_uncorrelated_and_of_unit_size(kernel: int, channels: int) -> None:
    network, images = whitened(kernel, channels, eps=1e-9)
    responses = F.conv2d(images, network.whiten.weight)  # without padding: whole patches only
    flat = responses.transpose(0, 1).flatten(1).double()
    patch = channels * kernel**2
    assert flat.shape[0] == 2 * patch
    second = flat @ flat.T / flat.shape[1]
    identity = torch.eye(patch, dtype=torch.double)
    torch.testing.assert_close(second, torch.cat([torch.cat([identity, -identity], 1), torch.cat([-identity, identity], 1)]),
                               atol=1e-3, rtol=0)


def test_eps_keeps_empty_directions_small() -> None:
    """A direction of size λ comes out with size λ / (λ + eps): an empty one near zero, not blown up to one."""
    images = torch.zeros(50, 1, 16, 16)
    images[:, :, :, :] = torch.randn(50, 1, 1, 1, generator=torch.Generator().manual_seed(0))  # constant images
    network = build(RecordNetConfig(widths=(4, 4, 4)), 1, (16, 16), 4)
    network.prepare([images + 1e-3 * torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(1))], 5e-4)
    size = F.conv2d(images, network.whiten.weight).square().mean((0, 2, 3))
    # One direction of four holds everything, and comes first; its negative is the fifth filter.
    torch.testing.assert_close(size, torch.tensor([1.0, 0, 0, 0, 1.0, 0, 0, 0]), atol=0.01, rtol=0)
    assert network.whiten.weight.abs().max() < 1 / 5e-4**0.5


def test_whitening_is_frozen_and_its_bias_is_not() -> None:
    network, _ = whitened(2, 1)
    assert not network.whiten.weight.requires_grad and network.whiten.bias.requires_grad
    assert network.whiten.bias.count_nonzero() == 0


def test_every_builtin_recipe_builds(recwarn) -> None:
    from speedcore import recipes

    for name in recipes.names():
        for dataset, channels, size in (("mnist", 1, 28), ("fashion-mnist", 1, 28), ("cifar10", 3, 32), ("shapes", 3, 32)):
            recipe: Recipe = recipes.get(name, dataset)
            with torch.device("meta"):
                network = build(recipe.network, channels, (size, size), 10)
            assert parameter_counts(network)["trainable"] > 0
