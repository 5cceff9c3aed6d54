"""Null controls: maps that know nothing of the image, of the class, or of training. What they reach as well shows nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from explain.attribution.geometry import Extent, extents, size_of
from explain.attribution.methods import heatmaps, method_of
from explain.attribution.targets import target_table
from explain.metrics.randomisation import randomised
from explain.models import check_images, raw_scores, undisturbed, unwrapped, usable

Explainer = Callable[[Float[Tensor, "n c height width"], Int64[Tensor, " n"]], Float[Tensor, "n h w"]]
GAUSSIAN_SIGMA = 5.0  # pixels
CONTROLS = {
    "uniform": "the same value everywhere",
    "gaussian": f"a Gaussian of {GAUSSIAN_SIGMA:g} pixels in the middle of the image",
    "another_image": "the map of another image, drawn by one fixed cycle through all",
    "wrong_class": "the same network's map for the class after the true one, the first after the last",
    "untrained": "the map of the network as it was before training, or with its weights re-initialised",
}


def another_image(n: int) -> Int64[Tensor, " n"]:
    """Which image's map each image is given. One fixed cycle through all, so none keeps its own (n > 1)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    other = torch.empty(n, dtype=torch.int64)
    other[order] = order.roll(1)
    return other


def wrong_class(labels: Int64[Tensor, " n"], classes: int) -> Int64[Tensor, " n"]:
    """The class after the true one, the first after the last."""
    return (labels + 1) % classes


def bell(grid: tuple[int, int], size: tuple[int, int], extent: Extent | None = None,
         sigma: float = GAUSSIAN_SIGMA) -> Float64[Tensor, "h w"]:
    """A Gaussian of `sigma` pixels in the middle of an image of `size`, at the centres of a map's cells."""
    extent = extent or Extent.stretched(size)
    parts = []
    for cells, pixels, start, end in ((grid[0], size[0], extent.top, extent.bottom),
                                      (grid[1], size[1], extent.left, extent.right)):
        centres = start + (torch.arange(cells, dtype=torch.float64) + 0.5) * (end - start) / cells
        parts.append(torch.exp(-0.5 * ((centres - pixels / 2) / sigma) ** 2))
    return parts[0][:, None] * parts[1]


def null_maps(maps: Mapping[str, Float[Tensor, "n h w"]], size: tuple[int, int],
              extent: Extent | None = None) -> dict[str, Float[Tensor, "n h w"]]:
    """`maps` and the controls that need no network, made from maps["true"]: "uniform", "gaussian", "another_image".

    size: of the images. Of a single image there is no other, and that control is left out.
    """
    true = maps["true"]
    made = dict(maps) | {"uniform": torch.ones_like(true),
                         "gaussian": bell(size_of(true), size, extent).to(true).expand_as(true)}
    return made if len(true) < 2 else made | {"another_image": true[another_image(len(true)).to(true.device)]}


def control_explainers(model: nn.Module, layer: str | None = None, method: str = "grad-cam",
                       untrained: nn.Module | None = None, **options: Any) -> dict[str, Explainer]:
    """For metrics of the making of maps: kind -> (images, targets) -> maps (n, h, w), "true" first.

    Of the controls those that can be made of a single image: not another image's map, whose values are those of "true" in
    another order. layer: None for methods that explain the image. untrained, options: as `control_maps`.
    """
    layers, model = None if layer is None else [layer], unwrapped(model)
    nothing = randomised(model, seed=0) if untrained is None else untrained

    def true(images: Tensor, targets: Tensor, network: nn.Module = model) -> Tensor:
        return next(iter(heatmaps(network, images, targets, layers, method, **options).values()))[:, 0]

    return {"true": true,
            "wrong_class": lambda images, targets: true(images, wrong_class(targets, max(2, _logits(model, images)))),
            "untrained": lambda images, targets: true(images, targets, nothing),
            "uniform": lambda images, targets: torch.ones(len(images), *images.shape[2:]),
            "gaussian": lambda images, targets: bell(size_of(images), size_of(images)).float().expand(len(images), -1, -1)}


def control_maps(model: nn.Module, images: Float[Tensor, "n c height width"], labels: Int64[Tensor, " n"],
                 layers: Sequence[str] | None = None, method: str = "grad-cam", untrained: nn.Module | None = None,
                 **options: Any) -> dict[str, dict[str, Float[Tensor, "n h w"]]]:
    """Maps for the labels and all null controls of them: name of layer (or "image") -> kind -> maps, "true" first.

    untrained: the network before training; None takes a copy with all its weights re-initialised. options: of `heatmaps`.
    Cost: three maps an image. Raises ExplainError.
    """
    check_images(images)
    model = unwrapped(model)
    logits = _logits(model, images)
    labels = target_table(labels, len(images), logits)[:, 0]
    other = wrong_class(labels, max(2, logits))
    both = heatmaps(model, images, [labels, other], layers, method, **options)
    nothing = heatmaps(randomised(model, seed=0) if untrained is None else untrained, images, labels, layers, method, **options)
    places = extents(model, images[:1], list(both)) if method_of(method).grid == "layer" else {}
    return {name: null_maps({"true": maps[:, 0], "wrong_class": maps[:, 1], "untrained": nothing[name][:, 0]}, size_of(images),
                            places.get(name)) for name, maps in both.items()}


def _logits(model: nn.Module, images: Tensor) -> int:
    """Scores that the model returns an image."""
    with undisturbed(model) as device, torch.no_grad():
        return raw_scores(model, usable(images[:1]).to(device)).shape[1]
