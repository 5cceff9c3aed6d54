"""Does the map stay when it should? Across seeds, mirror images, methods and small noise. Stable is not right."""

from __future__ import annotations

import torch
from captum.metrics import sensitivity_max
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from explain.attribution.geometry import Extent, size_of
from explain.metrics.basics import correlation, is_empty, rank_correlation, upsampled
from explain.metrics.controls import Explainer
from speedcore.training.seeding import seeded


def seed_consistency(first: Float[Tensor, "n h w"], second: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
    """Correlation over cells of two networks' maps of the same images: two seeds, all else equal. NaN if either is empty."""
    return correlation(first, second).masked_fill(is_empty(first) | is_empty(second), torch.nan)


def flip_consistency(maps: Float[Tensor, "n h w"], mirrored: Float[Tensor, "n h w"], size: tuple[int, int],
                     extent: Extent) -> Float64[Tensor, " n"]:
    """Correlation over pixels of an image's map with the map of its mirror image, mirrored back.

    1 if the map moves with the image. NaN where either is constant or empty.
    """
    first, second = upsampled(maps, size, extent), upsampled(mirrored, size, extent).flip(-1)
    return correlation(first, second).masked_fill(is_empty(maps) | is_empty(mirrored), torch.nan)


def occlusion_agreement(maps: Float[Tensor, "n h w"], occluded: Float[Tensor, "n H W"],
                        extent: Extent | None = None) -> Float64[Tensor, " n"]:
    """Rank correlation over pixels of a map with the occlusion map of the same image and class. NaN if either is empty."""
    found = rank_correlation(upsampled(maps, size_of(occluded), extent), occluded)
    return found.masked_fill(is_empty(maps) | is_empty(occluded), torch.nan)


def max_sensitivity(explainer: Explainer, images: Float[Tensor, "n c height width"], targets: Int64[Tensor, " n"],
                    radius: float = 0.02, samples: int = 10, batch_size: int = 250, seed: int = 0) -> Float64[Tensor, " n"]:
    """The largest relative change of a map, ‖map(x + noise) − map(x)‖ ÷ ‖map(x)‖, over `samples` draws, by captum.

    explainer: (images, targets) -> maps, such as `lambda x, t: heatmaps(model, x, t, ["stages.0"])["stages.0"][:, 0]`.
    radius: of the uniform noise on every value of the normalised image. NaN for empty maps. torch's generators are left as
    they were.
    """
    step, found = max(1, batch_size // samples), []
    with seeded(seed, images.device):
        for rows in torch.arange(len(images)).split(step):
            some, classes = images[rows], targets[rows]
            maps = explainer(some, classes)

            def again(given: Tensor | tuple[Tensor, ...], some: Tensor = some, classes: Tensor = classes,
                      maps: Tensor = maps) -> tuple[Tensor]:
                inputs = given[0] if isinstance(given, tuple) else given
                if inputs is some:  # captum asks for the plain maps first
                    return (maps,)
                return (explainer(inputs, classes.repeat_interleave(len(inputs) // len(some))),)

            worst = sensitivity_max(again, some, perturb_radius=radius, n_perturb_samples=samples)
            found.append(worst.double().masked_fill(is_empty(maps), torch.nan))
    return torch.cat(found)
