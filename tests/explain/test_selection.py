"""Which images are shown and measured, and which pixels count as the object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from explain.attribution.masks import foreground
from explain.selection import Predictions, first_of_each_class, gallery
from speedcore.data.dataset import Dataset, Provenance, Split

LABELS = torch.tensor([2, 0, 0, 1, 2, 0, 1, 2])


def answers(name: str, predicted: list[int]) -> Predictions:
    return Predictions(name, np.eye(3, dtype=np.float32)[predicted])


def test_first_of_each_class_in_the_order_of_the_split():
    assert first_of_each_class(LABELS, 1).tolist() == [0, 1, 3]
    assert first_of_each_class(LABELS, 2).tolist() == [0, 1, 2, 3, 4, 6]
    assert first_of_each_class(LABELS, 9).tolist() == list(range(8))


def test_gallery_of_a_pair_holds_each_class_and_what_only_one_gets_wrong():
    #                    2  0  0  1  2  0  1  2
    first = answers("with augmentation", [2, 0, 1, 1, 0, 1, 1, 1])
    second = answers("without augmentation", [2, 0, 0, 1, 0, 0, 0, 1])
    chosen = gallery(LABELS, first, second, per_class=1, mistakes=1)
    # 2 and 5 are wrong only with, 6 only without; 4 and 7 in both. One mistake a side is kept.
    assert [(g.title, g.indices) for g in chosen.groups] == [
        ("first of each class", (1, 3, 0)), ("wrong only with augmentation", (2,)), ("wrong only without augmentation", (6,))]
    assert chosen.indices.tolist() == [1, 3, 0, 2, 6]
    assert "wrong only with augmentation" in chosen.rule and "first image of each class" in chosen.rule


def test_gallery_of_one_network_and_of_a_perfect_one():
    chosen = gallery(LABELS, answers("run", [2, 0, 1, 1, 0, 1, 1, 1]), per_class=1, mistakes=9)
    assert [(g.title, g.indices) for g in chosen.groups] == [("first of each class", (1, 3, 0)), ("wrong", (2, 4, 5, 7))]
    perfect = answers("run", LABELS.tolist())
    assert len(gallery(LABELS, perfect, perfect).groups) == 1


def _dataset(name: str, masks: torch.Tensor | None = None) -> Dataset:
    images = torch.tensor([0, 51, 52, 255], dtype=torch.uint8).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    split = Split(images, torch.tensor([0, 1]), masks)
    return Dataset.make(name, ("a", "b"), replace(split, masks=None), split, Provenance("made", False))


def test_foreground_is_the_sets_own_mask_else_the_bright_pixels_else_unknown():
    index = torch.tensor([1])
    # A fifth of the full range is 51: that pixel is not brighter than it.
    assert foreground(_dataset("mnist"), index).masks.tolist() == [[[False, False], [True, True]]]
    own = torch.tensor([[[True, False], [False, False]]] * 2)
    assert foreground(_dataset("shapes", own), index).masks.tolist() == own[1:].tolist()
    assert foreground(_dataset("cifar10"), index) is None
