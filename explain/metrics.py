"""Does the map lie on the object? Relevance mass, the ceiling that its resolution allows, and null controls.

Relevance mass (the energy-based pointing game): the map's positive part, drawn out to the image, inside the mask ÷ all
of it. Range 0..1, higher is more on the object. Alone it means nothing: a uniform map scores the foreground's share of
the image, a blob in the middle more, and a coarse map can never score 1. So it is given with its ceiling, as
score = (mass − foreground) ÷ (ceiling − foreground), and beside null controls that know nothing of the image.

Drawing out is linear in the cells, so all this is computed at the map's own resolution, exactly. No forward passes.
Maps without a positive value ("dead") and images without foreground ("empty") have no mass: NaN, counted, never scored.
Criticism: mass favours maps that shrink onto a part of the object, and an object is not always the only honest evidence.
Source: Wang et al., Score-CAM (2020), for the mass; the ceiling and the score are this project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from explain.geometry import Extent, tables, upsample
from speedcore.recipe import Frozen

GAUSSIAN_SIGMA = 5.0  # pixels


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
    return masks.double().mean(dim=(1, 2))


@dataclass(frozen=True)
class Shares:
    """What one unit in each cell adds to the drawn-out map: inside each image's mask, and in the whole image."""

    inside: Float64[Tensor, "n h w"]
    total: Float64[Tensor, "h w"]

    @classmethod
    def of(cls, masks: Bool[Tensor, "n H W"], grid: tuple[int, int], extent: Extent) -> Shares:
        rows, columns = tables(grid, tuple(masks.shape[1:]), extent)
        return cls(rows.T @ masks.double() @ columns, rows.sum(0)[:, None] * columns.sum(0))

    def mass(self, maps: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
        """Positive mass inside the mask ÷ positive mass in the image; NaN for dead maps and empty masks."""
        positive = _positive(maps)
        whole = (positive * self.total).sum((1, 2))
        mass = (positive * self.inside).sum((1, 2)) / whole
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
    size = tuple(masks.shape[1:])
    return Shares.of(masks, tuple(maps.shape[1:]), extent or Extent.stretched(size)).mass(maps)


def gaussian_mass(masks: Bool[Tensor, "n H W"], sigma: float = GAUSSIAN_SIGMA) -> Float64[Tensor, " n"]:
    """Null control: mass of a Gaussian of `sigma` pixels in the middle of the image."""
    bells = [torch.exp(-0.5 * ((torch.arange(side, dtype=torch.float64) - (side - 1) / 2) / sigma) ** 2)
             for side in masks.shape[1:]]
    bell = bells[0][:, None] * bells[1]
    mass = (masks.double() * bell).sum((1, 2)) / bell.sum()
    return mass.masked_fill(~masks.flatten(1).any(1), torch.nan)


def another_image(n: int) -> Int64[Tensor, " n"]:
    """Null control: which image's map each image is given. One fixed cycle through all, so none keeps its own (n > 1)."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    other = torch.empty(n, dtype=torch.int64)
    other[order] = order.roll(1)
    return other


def wrong_class(labels: Int64[Tensor, " n"], classes: int) -> Int64[Tensor, " n"]:
    """Null control: the class after the true one, the first after the last."""
    return (labels + 1) % classes


def scores(maps: Mapping[str, Float[Tensor, "n h w"]], masks: Bool[Tensor, "n H W"],
           extent: Extent) -> tuple[dict[str, Score], dict[str, Float64[Tensor, " n"]]]:
    """The score of maps["true"] beside all null controls, and each one's mass an image.

    maps: "true" and, as far as there are any, other kinds made of the same images ("wrong_class", "untrained").
    Added: "uniform", "gaussian", "another_image". Also among the arrays: "foreground" and "ceiling".
    """
    shares, foreground = Shares.of(masks, tuple(maps["true"].shape[1:]), extent), foreground_share(masks)
    limit = shares.ceiling()
    masses = {kind: shares.mass(made) for kind, made in maps.items()}
    masses["uniform"] = foreground.masked_fill(foreground == 0, torch.nan)
    masses["gaussian"] = gaussian_mass(masks)
    masses["another_image"] = shares.mass(maps["true"][another_image(len(masks))])
    return ({kind: Score.of(mass, foreground, limit) for kind, mass in masses.items()},
            {**masses, "foreground": foreground, "ceiling": limit})


def is_dead(maps: Float[Tensor, "n h w"]) -> Bool[Tensor, " n"]:
    """True where no value is positive: nothing speaks for the class, and there is nothing to show."""
    return ~(_positive(maps) > 0).flatten(1).any(1)


def gini(maps: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
    """Concentration of the positive part over the cells: 0 if even, towards 1 if all lies in one; NaN if dead.

    Says nothing about being right. Depends on the number of cells: compare only maps of one resolution.
    """
    ordered = _positive(maps).flatten(1).sort(dim=1).values
    cells = ordered.shape[1]
    rank = torch.arange(1, cells + 1, dtype=torch.float64)
    value = 2 * (rank * ordered).sum(1) / (cells * ordered.sum(1)) - (cells + 1) / cells
    return value.masked_fill(is_dead(maps), torch.nan)


def flip_consistency(maps: Float[Tensor, "n h w"], mirrored: Float[Tensor, "n h w"], size: tuple[int, int],
                     extent: Extent) -> Float64[Tensor, " n"]:
    """Correlation over pixels of an image's map with the map of its mirror image, mirrored back.

    Range −1..1, 1 if the map moves with the image. NaN where either is constant. A measure of stability, not of
    being right; a network trained on mirrored images has been taught it. Costs one more pass over the images.
    """
    first = upsample(maps.double(), size, extent).flatten(1)
    second = upsample(mirrored.double(), size, extent).flip(-1).flatten(1)
    first, second = first - first.mean(1, keepdim=True), second - second.mean(1, keepdim=True)
    return (first * second).sum(1) / (first.norm(dim=1) * second.norm(dim=1))


def mean_of(values: Float64[Tensor, " n"]) -> float | None:
    """Mean over what is not NaN; None if nothing is left."""
    left = values[~values.isnan()]
    return left.mean().item() if len(left) else None


def _positive(maps: Float[Tensor, "n h w"]) -> Float64[Tensor, "n h w"]:
    return maps.double().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp_min(0)
