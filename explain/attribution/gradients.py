"""Methods that take the score's gradient all the way to the pixels, by captum: one map an image, at its resolution.

A pixel's value is the sum over its colour channels, signed. All are computed in fp32 around a model of any type.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import ExitStack

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from explain.attribution.gradcam import Layers, grad_cam
from explain.attribution.registry import method
from explain.models import ExplainError, TargetScores, forward, precise
from speedcore.training.seeding import seeded

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")  # as in gradcam.py
    from captum.attr import GuidedBackprop, IntegratedGradients, LayerAttribution, NoiseTunnel, Saliency

IMAGE = "image"  # the key of maps that explain no layer
STEPS = 32       # points on the path of integrated gradients
SAMPLES = 16     # noisy copies of an image for SmoothGrad
NOISE = 0.15     # their noise: standard deviation ÷ range of the image (Smilkov et al. use 0.1 to 0.2)
SEED = 0
_BY_RELUS, _OTHERS = "guided Grad-CAM is defined by the network's ReLUs", "choose grad-cam, hirescam or another method"

Images = Float[Tensor, "n c height width"]
Targets = Int64[Tensor, "n t"]
Maps = dict[str, Float[Tensor, "n t height width"]]


@method("guided-grad-cam", "guided Grad-CAM", layers=True, forward=2, backward=2,
        definition="guided backpropagation to the pixels times the positive part of Grad-CAM, upsampled to the image",
        criticism="guided backpropagation hardly depends on the weights (Adebayo et al., 2018); needs nn.ReLU modules",
        source="Selvaraju et al., ICCV 2017, arXiv 1610.02391; captum GuidedBackprop, LayerGradCam")
def guided_grad_cam(model: nn.Module, layers: Layers, images: Images, targets: Targets, at_once: int = 0) -> Maps:
    """Guided backpropagation times the positive part of Grad-CAM, upsampled to the image by bilinear interpolation.

    One guided pass serves all layers. Guided backpropagation lets only positive gradients through each `nn.ReLU`; it
    cannot see a ReLU that is no module, and a model without any is refused rather than shown its plain gradient.
    """
    method = _Guided(model, images)
    coarse = grad_cam(model, layers, images, targets)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")  # captum removes them itself
        guided = _each(targets, lambda target: method.attribute(_leaf(images), additional_forward_args=target))
    size = tuple(images.shape[2:])
    return {name: guided * LayerAttribution.interpolate(maps.clamp_min(0), size, "bilinear")
            for name, maps in coarse.items()}


@method("saliency", "saliency", forward=1, backward=1,
        definition="the score's gradient by each pixel, signed, summed over colour channels",
        criticism="says what a tiny change would do, not what the score is made of; noisy",
        source="Simonyan et al., 2013, arXiv 1312.6034; captum Saliency")
def saliency(model: nn.Module, layers: Layers, images: Images, targets: Targets, at_once: int = 0) -> Maps:
    """The score's gradient by each pixel. Signed: the usual absolute value would hide what speaks against the class."""
    method = Saliency(TargetScores(model))
    return {IMAGE: _each(targets, lambda target: method.attribute(_leaf(images), abs=False, additional_forward_args=target))}


@method("smoothgrad", "SmoothGrad", forward=SAMPLES, backward=SAMPLES,
        definition=f"the mean of saliency over {SAMPLES} copies of the image with Gaussian noise of {NOISE:.0%} of its range",
        criticism="smoother is not truer; the amount of noise is arbitrary",
        source="Smilkov et al., 2017, arXiv 1706.03825; captum NoiseTunnel")
def smoothgrad(model: nn.Module, layers: Layers, images: Images, targets: Targets, at_once: int = SAMPLES) -> Maps:
    """The mean gradient over `SAMPLES` noisy copies of the image.

    Images are done one by one, and each gets the same noise (scaled by its range): a map then depends neither on the
    images around it nor on the batch size, and two networks are shown the very same copies. torch's generators are left
    as they were.
    """
    method = NoiseTunnel(Saliency(TargetScores(model)))
    least, most = images.flatten(1).aminmax(dim=1)
    ranges = (most - least).tolist()

    def of(target: Tensor) -> Tensor:
        made = []
        for image, one, width in zip(images.split(1), target.split(1), ranges, strict=True):
            noise = NOISE * width
            noise = noise if math.isfinite(noise) else 0.0  # captum refuses others; the map will not be finite either
            with seeded(SEED, image.device):
                made.append(method.attribute(_leaf(image), nt_samples=SAMPLES, nt_samples_batch_size=min(SAMPLES, at_once),
                                             stdevs=noise, abs=False, additional_forward_args=one))
        return torch.cat(made)

    return {IMAGE: _each(targets, of)}


@method("integrated-gradients", "integrated gradients", forward=STEPS, backward=STEPS,
        definition=f"pixel times mean gradient on the straight path from the mean colour to the image, {STEPS} points",
        criticism="depends on where the path starts: what has the mean colour gets nothing, whatever it means",
        source="Sundararajan et al., ICML 2017, arXiv 1703.01365; captum IntegratedGradients")
def integrated_gradients(model: nn.Module, layers: Layers, images: Images, targets: Targets, at_once: int = STEPS) -> Maps:
    """Pixel times mean gradient on the straight path from zero, the mean colour of normalised images, to the image.

    A map sums to score(image) − score(zero), up to the error of `STEPS` points.
    """
    method = IntegratedGradients(TargetScores(model))
    return {IMAGE: _each(targets, lambda target: method.attribute(
        _leaf(images), n_steps=STEPS, internal_batch_size=max(at_once, len(images)), additional_forward_args=target))}


class _Guided(GuidedBackprop):  # type: ignore[misc]  # captum has no types
    """captum's, on those ReLUs alone that the image reaches: it would fail on one that is given weights or constants only."""

    def __init__(self, model: nn.Module, images: Images):
        super().__init__(TargetScores(model))
        self._reached = _reached_relus(model, images)

    def _register_hooks(self, module: nn.Module) -> None:
        if module in self._reached:
            super()._register_hooks(module)


def _reached_relus(model: nn.Module, images: Images) -> set[nn.Module]:
    """The nn.ReLU modules whose input depends on the image. Raises ExplainError if there is none, or one is also used apart."""
    relus: dict[nn.Module, str] = {module: name for name, module in model.named_modules() if isinstance(module, nn.ReLU)}
    if not relus:
        raise ExplainError(f"{_BY_RELUS}, and this model has no nn.ReLU module; {_OTHERS}.")
    reached: set[nn.Module] = set()
    apart: set[nn.Module] = set()
    with ExitStack() as hooks:
        for module in relus:
            hooks.callback(module.register_forward_pre_hook(
                lambda module, inputs: (reached if inputs[0].requires_grad else apart).add(module)).remove)
        forward(model, _leaf(images[:1]))
    if not reached:
        raise ExplainError(f"{_BY_RELUS}, and the image reaches no nn.ReLU module of this model; {_OTHERS}.")
    if both := reached & apart:
        raise ExplainError(f"ReLU '{relus[both.pop()]}' is used on what depends on the image and on what does not, and guided "
                           f"Grad-CAM cannot tell its calls apart; {_OTHERS}.")
    return reached


def _each(targets: Targets, of: Callable[[Tensor], Tensor]) -> Float[Tensor, "n t height width"]:
    """Maps for one target after the other, colour channels summed."""
    return torch.cat([of(target).detach().sum(1, keepdim=True).float() for target in targets.unbind(1)], dim=1)


def _leaf(images: Tensor) -> Tensor:
    """The images with a gradient of their own: captum would warn, and set it on what it was given."""
    return precise(images).detach().requires_grad_()
