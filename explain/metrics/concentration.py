"""Is the map concentrated? Says nothing of being right. Depends on the number of cells: compare maps of one resolution."""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from explain.metrics.basics import is_empty, positive


def gini(maps: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
    """Of the positive part over the cells: 0 if even, (cells − 1) ÷ cells if all lies in one; NaN if empty."""
    ordered = positive(maps).flatten(1).sort(dim=1).values
    cells = ordered.shape[1]
    rank = torch.arange(1, cells + 1, dtype=torch.float64)
    value = 2 * (rank * ordered).sum(1) / (cells * ordered.sum(1)) - (cells + 1) / cells
    return value.masked_fill(is_empty(maps), torch.nan)


def entropy(maps: Float[Tensor, "n h w"]) -> Float64[Tensor, " n"]:
    """Shannon's, of the positive part as shares of the cells, ÷ log(cells): 1 if even, 0 if all lies in one; NaN if empty."""
    values = positive(maps).flatten(1)
    shares = values / values.sum(1, keepdim=True)
    found = torch.special.entr(shares).sum(1) / torch.tensor(float(shares.shape[1])).double().log()
    return found.masked_fill(is_empty(maps), torch.nan)
