"""Numbers of each image shown, to sort by and to read: those that need the maps and masks alone, and no further pass."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float64

from explain.attribution.geometry import Extent
from explain.metrics import METRICS, correlation, is_empty
from explain.metrics.basics import upsampled

if TYPE_CHECKING:
    from explain.attribution.masks import Foreground

AGREEMENT = "agreement"


@dataclass(frozen=True)
class Measure:
    """What an image can be sorted by. values: (runs, n); NaN where there is none."""

    name: str
    title: str
    definition: str
    low: float
    high: float
    values: Float64[np.ndarray, "runs n"]


def measures(maps: Sequence[Float[np.ndarray, "n h w"]], extents: Sequence[Extent], size: tuple[int, int],
             truth: Foreground | None) -> Mapping[str, Measure]:
    """Every metric of `METRICS` that costs no pass, of each run's maps; of two runs also how alike their maps are.

    maps, extents: a run each. truth: masks of these images, or None: then nothing is said of the object.
    """
    made, found = [torch.from_numpy(m) for m in maps], {}
    for metric in METRICS.values():
        if metric.forward or metric.maps != 0:
            continue
        on_object = "masks" in inspect.signature(metric.function).parameters
        if not on_object:
            values = [metric.function(m) for m in made]
        elif truth is not None:
            values = [metric.function(m, truth.masks, e) for m, e in zip(made, extents, strict=True)]
        else:
            continue
        found[metric.name] = Measure(metric.name, metric.title, metric.definition, metric.low, metric.high,
                                     torch.stack(values).numpy())
    if len(made) == 2:
        same = correlation(*(upsampled(m, size, e) for m, e in zip(made, extents, strict=True)))
        same = same.masked_fill(is_empty(made[0]) | is_empty(made[1]), torch.nan)
        found[AGREEMENT] = Measure(AGREEMENT, "Agreement of the two", "correlation over pixels of the two runs' maps", -1, 1,
                                   torch.stack([same, same]).numpy())
    return found
