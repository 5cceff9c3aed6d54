"""Every method on public architectures, untrained, against captum used the plain way: the same maps to 1e-5."""

from __future__ import annotations

import warnings

import pytest
import torch
from captum.attr import (
    GuidedGradCam,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from torch import Tensor, nn
from torchvision import models

from explain.attribution import gradients
from explain.attribution.methods import BATCH, METHODS, heatmaps
from explain.attribution.perturbation import window_of
from explain.models import ExplainError

SIDE = 32
TARGETS = torch.tensor([3, 7])
# A layer of some cells at 32×32 pixels, and whether it has its channels last.
ARCHITECTURES = {
    "resnet18": ("layer3", False), "squeezenet1_1": ("features.7", False), "densenet121": ("features.denseblock3", False),
    "mobilenet_v3_small": ("features.5", False), "efficientnet_b0": ("features.5", False), "convnext_tiny": ("features.5", False),
    "swin_t": ("features.3", True), "shufflenet_v2_x0_5": ("stage3", False)}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request) -> tuple[nn.Module, str, bool, Tensor]:
    torch.manual_seed(0)
    model = getattr(models, request.param)(num_classes=10).eval()
    return model, *ARCHITECTURES[request.param], torch.randn(2, 3, SIDE, SIDE)


class ChannelsFirst(nn.Module):
    """What captum is shown of a layer with channels last: it goes through here, turned, and back."""

    def forward(self, cells: Tensor) -> Tensor:
        return cells


def layered(rule: type, case: tuple, images: Tensor) -> Tensor:
    model, name, last, _ = case
    if not last:
        return rule(model, model.get_submodule(name)).attribute(images, TARGETS)
    turned = ChannelsFirst()
    handle = model.get_submodule(name).register_forward_hook(
        lambda module, inputs, output: turned(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    try:
        return rule(model, turned).attribute(images, TARGETS)
    finally:
        handle.remove()


def smoothgrad(model: nn.Module, images: Tensor) -> Tensor:
    parts = []
    for image, target in zip(images.split(1), TARGETS.split(1), strict=True):
        torch.manual_seed(gradients.SEED)
        noise = gradients.NOISE * (image.amax() - image.amin()).item()
        parts.append(NoiseTunnel(Saliency(model)).attribute(image, nt_samples=gradients.SAMPLES, stdevs=noise, abs=False,
                                                            target=target))
    return torch.cat(parts)


def plainly(method: str, case: tuple) -> Tensor:
    model, name, _, images = case
    images = images.clone().requires_grad_()
    if method == "grad-cam":
        return layered(LayerGradCam, case, images)
    if method == "hirescam":
        return layered(LayerGradientXActivation, case, images)
    if method == "guided-grad-cam":
        return GuidedGradCam(model, model.get_submodule(name)).attribute(images, TARGETS, interpolate_mode="bilinear")
    if method == "saliency":
        return Saliency(model).attribute(images, TARGETS, abs=False)
    if method == "smoothgrad":
        return smoothgrad(model, images)
    if method == "integrated-gradients":
        return IntegratedGradients(model).attribute(images, target=TARGETS, n_steps=gradients.STEPS)
    window, stride = window_of((SIDE, SIDE))
    # As many squares at once: a score less a score is all rounding, and batches of other sizes round otherwise.
    return Occlusion(model).attribute(images, (3, *window), (3, *stride), target=TARGETS,
                                      perturbations_per_eval=BATCH // 2)[:, :1]


@pytest.mark.parametrize("method", METHODS)
def test_equals_captum(case, method, monkeypatch):
    monkeypatch.setattr(gradients, "STEPS", 8)  # the same few points and copies for both
    monkeypatch.setattr(gradients, "SAMPLES", 4)
    model, name, _, images = case
    layers = [name] if METHODS[method].layers else None
    if method == "guided-grad-cam" and not any(isinstance(module, nn.ReLU) for module in model.modules()):
        with pytest.raises(ExplainError, match="no nn.ReLU module; choose grad-cam"):
            heatmaps(model, images, TARGETS, layers, method)
        return
    found, = heatmaps(model, images, TARGETS, layers, method).values()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks|Input Tensor . did not already require")
        expected = plainly(method, case).detach().sum(1, keepdim=True)
    assert found.shape == expected.shape and found[0, 0].numel() > 1
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
