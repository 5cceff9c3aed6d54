"""Which held-out images are explained: by rules that can be said in a sentence and that no result can bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from speedcore.recipe import Frozen


class Group(Frozen):
    """Images that belong together in a gallery: rows of the test split."""

    title: str
    indices: tuple[int, ...]


class Gallery(Frozen):
    """The images that are shown, the same ones for all arms and seeds, and the rule that chose them."""

    rule: str
    groups: tuple[Group, ...]

    @property
    def indices(self) -> Int64[Tensor, " g"]:
        """Rows of the test split, group after group; no image comes twice."""
        return torch.tensor([i for group in self.groups for i in group.indices], dtype=torch.int64)


@dataclass(frozen=True)
class Predictions:
    """What one trained network predicts on the plain test images: its name ("with augmentation"), logits (N, K)."""

    name: str
    logits: Float[np.ndarray, "n k"]

    def wrong(self, labels: Int64[np.ndarray, " n"]) -> np.ndarray:
        return self.logits.argmax(1) != labels


def first_of_each_class(labels: Int64[Tensor, " n"], count: int) -> Int64[Tensor, " k"]:
    """Rows of the first `count` images of each class (all, where a class has fewer), in the order of the split."""
    rows = [torch.nonzero(labels == label).flatten()[:count] for label in labels.unique()]
    return torch.cat(rows).sort().values


def gallery(labels: Int64[Tensor, " n"], first: Predictions, second: Predictions | None = None, per_class: int = 2,
            mistakes: int = 10) -> Gallery:
    """The first `per_class` test images of each class, then mistakes, in the order of the split.

    With two networks: up to `mistakes` images that only the first gets wrong, and as many that only the second does.
    With one: up to `mistakes` images that it gets wrong.
    """
    first_ones = first_of_each_class(labels, per_class)
    # Shown class by class, in the order of the split within a class.
    chosen = first_ones[labels[first_ones].sort(stable=True).indices].tolist()
    truth = labels.numpy()
    wrong = first.wrong(truth)
    # "wrong only with augmentation": the names of arms are written so that they follow these words.
    if second is None:
        kinds = [("wrong", wrong)]
        sentence = f"the first {mistakes} further ones that the network gets wrong"
    else:
        other = second.wrong(truth)
        kinds = [(f"wrong only {first.name}", wrong & ~other), (f"wrong only {second.name}", other & ~wrong)]
        sentence = (f"the first {mistakes} further ones that are wrong only {first.name}, and the first {mistakes} that are "
                    f"wrong only {second.name}")
    groups = [Group(title=f"first {per_class} of each class" if per_class > 1 else "first of each class", indices=tuple(chosen))]
    for title, fits in kinds:
        rows = tuple(int(i) for i in np.flatnonzero(fits) if i not in set(chosen))[:mistakes]
        if rows:
            groups.append(Group(title=title, indices=rows))
    which = "image" if per_class == 1 else f"{per_class} images"
    return Gallery(rule=f"In the order of the test split: the first {which} of each class, {sentence}.", groups=tuple(groups))
