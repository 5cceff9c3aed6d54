"""What all metrics share: which maps are empty, maps upsampled to pixels, correlation, and means that leave out honestly.

Metrics are computed in float64 on the host, which not every device has: maps and masks may lie anywhere, values come from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Bool, Float, Float64
from scipy.stats import rankdata
from torch import Tensor

from explain.attribution.geometry import Extent, upsample
from explain.models import ExplainError
from speedcore.recipe import Frozen


class Summary(Frozen):
    """Mean over the images that a metric could be taken of.

    n: those; dead: left out because their map is empty; undefined: left out for another reason (an empty mask, a constant
    map, a score that does not move). mean: None where nothing is left.
    """

    n: int
    dead: int
    undefined: int
    mean: float | None

    @classmethod
    def of(cls, values: Float64[Tensor, " n"], dead: Bool[Tensor, " n"]) -> Summary:
        left = ~values.isnan() & ~dead
        return cls(n=int(left.sum()), dead=int(dead.sum()), undefined=int((values.isnan() & ~dead).sum()),
                   mean=mean_of(values[left]))


def measured(metric: Callable[[Tensor], Float64[Tensor, " n"]],
             maps: Mapping[str, Float[Tensor, "n h w"]],
             first: Float[Tensor, "n h w"] | None = None) -> dict[str, Summary]:
    """A metric of each kind of map: "true" beside its null controls (`controls.null_maps`, `controls.control_maps`).

    first: where the metric compares these maps with others, those: images of which either map is empty count as empty.
    """
    other = False if first is None else is_empty(first)
    return {kind: Summary.of(metric(made), is_empty(made) | other) for kind, made in maps.items()}


def is_empty(maps: Float[Tensor, "n h w"]) -> Bool[Tensor, " n"]:
    """Which is an empty map: none of its values is positive, or any is not finite. Nothing speaks for the class there."""
    return ~(positive(maps) > 0).flatten(1).any(1)


def positive(maps: Float[Tensor, "n h w"]) -> Float64[Tensor, "n h w"]:
    """The positive part; zero throughout a map of which any value is not finite."""
    maps = maps.cpu()
    whole = maps.isfinite().flatten(1).all(1)[:, None, None]
    return maps.double().where(whole, 0.0).clamp_min(0)


is_dead = is_empty  # its older name


def upsampled(maps: Float[Tensor, "n h w"], size: tuple[int, int], extent: Extent | None = None) -> Float64[Tensor, "n H W"]:
    """Maps over the pixels of images of `size`; extent None stretches them over the image."""
    return upsample(maps.cpu().double(), size, extent or Extent.stretched(size))


def rounded(maps: Float64[Tensor, "n h w"]) -> Float64[Tensor, "n h w"]:
    """Maps ÷ their largest absolute value, to nine decimals: what is equal but for the rounding of interpolation ties."""
    largest = maps.abs().flatten(1).amax(1)[:, None, None]
    return (maps / largest.where(largest > 0, 1.0)).round(decimals=9)


def correlation(first: Float[Tensor, "n *cells"], second: Float[Tensor, "n *cells"]) -> Float64[Tensor, " n"]:
    """Pearson's, an image; NaN where either is constant (up to rounding) or not finite."""
    if first.shape != second.shape:
        raise ExplainError(f"maps to compare must have one shape, found {tuple(first.shape)} and {tuple(second.shape)}; draw "
                           f"them out to one size first.")
    parts = [values.cpu().double().flatten(1) for values in (first, second)]
    centred = [values - values.mean(1, keepdim=True) for values in parts]
    norms = [values.norm(dim=1) for values in centred]
    found = (centred[0] * centred[1]).sum(1) / (norms[0] * norms[1])
    flat = [norm <= 1e-9 * values.norm(dim=1) for norm, values in zip(norms, parts, strict=True)]
    return found.clamp(-1, 1).masked_fill(flat[0] | flat[1], torch.nan)


def rank_correlation(first: Float[Tensor, "n *cells"], second: Float[Tensor, "n *cells"]) -> Float64[Tensor, " n"]:
    """Spearman's, an image, ties sharing their mean rank; NaN where either is constant or not finite."""
    ranks = [torch.from_numpy(rankdata(values.cpu().double().flatten(1).numpy(), axis=1, nan_policy="propagate"))
             for values in (first, second)]
    return correlation(*(rank.double() for rank in ranks))


def mean_of(values: Float64[Tensor, " n"]) -> float | None:
    """Mean over what is not NaN; None if nothing is left."""
    left = values[~values.isnan()]
    return left.mean().item() if len(left) else None
