"""Which score is explained: classes an image, in any of the spellings that have one reading; the others are refused.

A model with K ≥ 2 scores has the classes 0 to K − 1. A model with one logit, as binary cross-entropy trains it, has two:
class 1 scores the logit, class 0, the negative side, scores its negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from explain.models import ExplainError, check_targets

Targets = int | Int64[Tensor, " n"] | Int64[Tensor, "n t"] | Sequence[Int64[Tensor, " n"]]


def target_table(targets: Targets, n: int, logits: int) -> Int64[Tensor, "n t"]:
    """Targets as T an image.

    targets: a class for all, one an image (N,), T an image (N, T), or a list of T tensors (N,). n: images. logits: scores that
    the model returns an image. Raises ExplainError for what is no class, and for what has two readings: rows that are one-hot,
    and target 0 for all images of a model with one logit.
    """
    listed = isinstance(targets, list | tuple) and bool(targets) and all(isinstance(t, Tensor) and t.ndim == 1 for t in targets)
    if isinstance(targets, bool) or not isinstance(targets, int | Tensor):
        try:
            columns: Any = targets
            targets = torch.stack(list(columns), 1) if listed else torch.as_tensor(columns)
        except (TypeError, ValueError, RuntimeError):
            raise ExplainError(f"targets must be a class or int64 classes (N,) or (N, T), not {targets!r}.") from None
    if logits == 1 and (isinstance(targets, int) or targets.ndim == 0) and int(targets) == 0:
        raise ExplainError("the model has one score, and target 0 can mean that score or its negative side; give 1 for the score "
                           "itself, or torch.zeros(N, dtype=torch.int64), the labels, for the negative side.")
    made = given = torch.full((n, 1), targets) if isinstance(targets, int) else targets
    if made.ndim == 0:
        made = made.expand(n)
    made = made[:, None] if made.ndim == 1 else made
    if made.ndim != 2 or len(made) != n or made.shape[1] == 0 or made.is_floating_point() or made.dtype == torch.bool:
        raise ExplainError(f"targets must be a class or int64 classes (N,) or (N, T) for N = {n} images, found "
                           f"{made.dtype} {tuple(given.shape)}.")
    made, classes = made.to(torch.int64), max(2, logits)
    if not listed and made.shape[1] == classes and _one_hot(made):
        raise ExplainError(f"targets {tuple(made.shape)} can be read as one-hot rows, or as the classes 0 and 1 in turn, "
                           f"{classes} an image; give targets.argmax(1) for the first, list(targets.unbind(1)) for the second.")
    check_targets(made, classes)
    return made


def _one_hot(made: Int64[Tensor, "n t"]) -> bool:
    return bool(((made == 0) | (made == 1)).all() and (made.sum(1) == 1).all())
