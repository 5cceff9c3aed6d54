"""Methods that change the image and watch the score: no gradient, and therefore a check on those that take one."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from explain.attribution.geometry import size_of
from explain.attribution.gradcam import Layers
from explain.attribution.gradients import IMAGE
from explain.attribution.registry import method
from explain.models import TargetScores, precise

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="IProgress not found")  # as in gradcam.py
    from captum.attr import Occlusion


@method("occlusion", "occlusion", forward=50, backward=0,
        definition="fall of the score when a square of a quarter of the image's side is set to the mean colour, averaged over "
                   "the squares that cover a pixel",
        criticism="as coarse as its square; a grey square is itself something that the network has never seen",
        source="Zeiler and Fergus, ECCV 2014, arXiv 1311.2901; captum Occlusion")
def occlusion(model: nn.Module, layers: Layers, images: Float[Tensor, "n c height width"], targets: Int64[Tensor, "n t"],
              at_once: int = 0) -> dict[str, Float[Tensor, "n t height width"]]:
    """How much the score falls when a square is set to zero, the mean colour of normalised images, by captum.

    The square has a quarter of the image's side and moves by half its own; a pixel has the mean fall of the squares that
    cover it. A map is therefore no finer than the square, though drawn at the image's resolution.
    """
    method = Occlusion(TargetScores(model, summed=False))
    window, stride = window_of(size_of(images))
    channels = images.shape[1]
    made = [method.attribute(precise(images), sliding_window_shapes=(channels, *window), strides=(channels, *stride),
                             perturbations_per_eval=max(1, at_once // len(images)), additional_forward_args=target)
            for target in targets.unbind(1)]
    # All channels go at once, so each holds the same fall: one is the map.
    return {IMAGE: torch.stack([maps[:, 0].detach().float() for maps in made], dim=1)}


def window_of(size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Sides of the occluding rectangle, and by how much it moves, in pixels, for images of `size` (height, width)."""
    height, width = (max(1, side // 4) for side in size)
    return (height, width), (max(1, height // 2), max(1, width // 2))
