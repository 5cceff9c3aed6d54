"""Does the map lie on the object? Relevance mass, the ceiling that its resolution allows, rank and pointing game.

Relevance mass (the energy-based pointing game): the map's positive part, upsampled to the image, inside the mask ÷ all
of it. Range 0..1, higher is more on the object. Alone it means nothing: a uniform map scores the foreground's share of
the image, a blob in the middle more, and a coarse map can never score 1. So it is given with its ceiling, as
score = (mass − foreground) ÷ (ceiling − foreground), and beside null controls that know nothing of the image.

Drawing out is linear in the cells, so mass is computed at the map's own resolution, exactly. Maps without a positive
value ("dead") and images without foreground ("empty") have no value: NaN, counted, never scored. What each metric is
worth, and where it comes from, is data: `explain.metrics.METRICS`. The ceiling and the score are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from explain.attribution.geometry import Extent, size_of, tables
from explain.metrics.basics import is_empty, positive, rounded, upsampled
from explain.metrics.controls import GAUSSIAN_SIGMA, another_image, bell
from explain.models import ExplainError
from speedcore.recipe import Frozen


class Score(Frozen):
    """Means over the scored images of one kind of map. Masses and shares are 0..1.

    n: images scored; dead and empty: images left out because the map has no positive value, or the mask no pixel.
    score: (mass − foreground) ÷ (ceiling − foreground) of the means: 0 for a uniform map, 1 for the best that a map of
    this resolution can do, negative where the map avoids the object. None where nothing could be scored.
    """

    n: int
    dead: int
    empty: int
    mass: float | None
    foreground: float | None
    ceiling: float | None
    score: float | None

    @classmethod
    def of(cls, mass: Float64[Tensor, " n"], foreground: Float64[Tensor, " n"], ceiling: Float64[Tensor, " n"]) -> Score:
        """From `Shares.mass`, `foreground_share` and `Shares.ceiling` of the same images."""
        empty, scored = foreground == 0, ~mass.isnan()
        counts = {"n": int(scored.sum()), "dead": int((~scored & ~empty).sum()), "empty": int(empty.sum())}
        if not scored.any():
            return cls(**counts, mass=None, foreground=None, ceiling=None, score=None)
        m, f, c = (values[scored].mean().item() for values in (mass, foreground, ceiling))
        return cls(**counts, mass=m, foreground=f, ceiling=c, score=(m - f) / (c - f) if c > f else None)


def foreground_share(masks: Bool[Tensor, "n H W"]) -> Float64[Tensor, " n"]:
    """Share of the image that is object: the mass of a uniform map."""
    return masks.cpu().double().mean(dim=(1, 2))


@dataclass(frozen=True)
class Shares:
    """What one unit in each cell adds to the upsampled map: inside each image's mask, and in the whole image."""

    inside: Float64[Tensor, "n h w"]
    total: Float64[Tensor, "h w"]

    @classmethod
    def of(cls, masks: Bool[Tensor, "n H W"], grid: tuple[int, int], extent: Extent) -> Shares:
        rows, columns = tables(grid, size_of(masks), extent)
        return cls(rows.T @ masks.cpu().double() @ columns, rows.sum(0)[:, None] * columns.sum(0))

    def mass(self, maps: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
        """Positive mass inside the mask ÷ positive mass in the image; NaN for empty maps and empty masks."""
        values = positive(maps)
        whole = (values * self.total).sum((1, 2))
        mass = (values * self.inside).sum((1, 2)) / whole
        return mass.masked_fill((whole <= 0) | (self.inside <= 0).flatten(1).all(1), torch.nan)

    def ceiling(self) -> Float64[Tensor, " n"]:
        """The largest mass that any map of this resolution can reach.

        Mass is a mean of the cells' shares inside the mask, weighted by what the map puts in them: no mean exceeds its
        largest member, and a map that puts everything into that one cell attains it.
        """
        return (self.inside / self.total.clamp_min(1e-12)).flatten(1).max(dim=1).values


def relevance_mass(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "n H W"],
                   extent: Extent | None = None) -> Float64[Tensor, " n"]:
    """Relevance mass of each map (`Shares.mass`); extent None stretches the maps over the images."""
    _check_fits(maps, masks)
    return Shares.of(masks, size_of(maps), extent or Extent.stretched(size_of(masks))).mass(maps)


def relevance_rank(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "n H W"],
                   extent: Extent | None = None) -> Float64[Tensor, " n"]:
    """Of the k pixels with the most positive evidence, the share inside a mask of k pixels.

    Where pixels tie for the last places, the share to be expected of drawing lots: a uniform map has the foreground's.
    NaN for empty maps and empty masks.
    """
    values, inside = _ranked(maps, masks, extent), masks.cpu().flatten(1)
    k = inside.sum(1)
    least = values.sort(dim=1, descending=True).values.gather(1, (k - 1).clamp_min(0)[:, None])
    above, tied = values > least, values == least
    lots = (k - above.sum(1)).double() / tied.sum(1)
    hits = (above & inside).sum(1) + lots * (tied & inside).sum(1)
    return (hits / k).masked_fill(is_empty(maps) | (k == 0), torch.nan)


def pointing_game(maps: Float[Tensor, "n h w"], masks: Bool[Tensor, "n H W"],
                  extent: Extent | None = None) -> Float64[Tensor, " n"]:
    """1 where the pixel with the most positive evidence lies inside the mask, else 0; of tied pixels, their share inside.

    NaN for empty maps and empty masks.
    """
    values, inside = _ranked(maps, masks, extent), masks.cpu().flatten(1)
    most = values == values.amax(1, keepdim=True)
    hits = (most & inside).sum(1).double() / most.sum(1)
    return hits.masked_fill(is_empty(maps) | ~inside.any(1), torch.nan)


def _ranked(maps: Tensor, masks: Tensor, extent: Extent | None) -> Float64[Tensor, "n pixels"]:
    _check_fits(maps, masks)
    return rounded(upsampled(positive(maps), size_of(masks), extent)).flatten(1)


def gaussian_mass(masks: Bool[Tensor, "n H W"], sigma: float = GAUSSIAN_SIGMA) -> Float64[Tensor, " n"]:
    """Null control: mass of a Gaussian of `sigma` pixels in the middle of the image."""
    masks, shape = masks.cpu(), bell(size_of(masks), size_of(masks), sigma=sigma)
    mass = (masks.double() * shape).sum((1, 2)) / shape.sum()
    return mass.masked_fill(~masks.flatten(1).any(1), torch.nan)


def _check_fits(maps: Tensor, masks: Tensor) -> None:
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks) or masks.dtype != torch.bool:
        raise ExplainError(f"maps must be (N, h, w) and masks bool (N, H, W) of the same images; found {tuple(maps.shape)} and "
                           f"{masks.dtype} {tuple(masks.shape)}.")


def scores(maps: Mapping[str, Float[Tensor, "n h w"]], masks: Bool[Tensor, "n H W"],
           extent: Extent) -> tuple[dict[str, Score], dict[str, Float64[Tensor, " n"]]]:
    """The score of maps["true"] beside all null controls, and each one's mass an image.

    maps: "true" and, as far as there are any, other kinds made of the same images ("wrong_class", "untrained").
    Added: "uniform", "gaussian", "another_image". Also among the arrays: "foreground" and "ceiling".
    """
    shares, foreground = Shares.of(masks, size_of(maps["true"]), extent), foreground_share(masks)
    limit = shares.ceiling()
    masses = {kind: shares.mass(made) for kind, made in maps.items()}
    masses["uniform"] = foreground.masked_fill(foreground == 0, torch.nan)
    masses["gaussian"] = gaussian_mass(masks)
    masses["another_image"] = shares.mass(maps["true"][another_image(len(masks))])
    return ({kind: Score.of(mass, foreground, limit) for kind, mass in masses.items()},
            {**masses, "foreground": foreground, "ceiling": limit})
