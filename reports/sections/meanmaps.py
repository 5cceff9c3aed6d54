"""What the maps of a class have in common: the mean map of each class in both arms, over its mean image, on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from explain.artefact import Explanation
from explain.inspector.overlay import Scale, overlay
from reports.figures.pixels import png
from reports.model import Picture, Pictures, Strip
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import ARM_LABELS

LAYER = "middle"
_MOST = 20  # classes
_COLOURS = 96


def block(one: DatasetResults, arms: Mapping[str, Sequence[Explanation]]) -> Pictures | None:
    """arms: explanations of each arm's runs. None without images, or where the explanations measured different ones."""
    explained = [e for made in arms.values() for e in made]
    index = explained[0].arrays["measured_index"]
    if one.dataset is None or any(not np.array_equal(index, e.arrays["measured_index"]) for e in explained):
        return None
    labels = one.dataset.test.labels[torch.from_numpy(index)].numpy()
    shown = np.unique(labels)[:_MOST]
    images = one.dataset.test.images[torch.from_numpy(index)].numpy()
    backs = np.stack([np.rint(images[labels == label].mean(0)) for label in shown]).astype(np.uint8)
    of_classes = {arm: np.stack([e.arrays[f"{LAYER}_class_mean"][shown] for e in made]) for arm, made in arms.items()}
    means = {arm: np.asarray(maps.mean(axis=0, dtype=np.float64), np.float32) for arm, maps in of_classes.items()}
    scale, extent = Scale.of(list(means.values())), explained[0].record.layers[LAYER].extent
    names = [one.classes[label] for label in shown]
    strips = [_strip("mean image", backs, [f"Mean image of {name}" for name in names])]
    for arm, maps in means.items():
        coloured = overlay(backs, maps, scale, extent).transpose(0, 3, 1, 2)
        strips.append(_strip(ARM_LABELS[arm], coloured, [f"Mean map of {name}, {ARM_LABELS[arm]}" for name in names],
                             f.plural(len(arms[arm]), "run"), _COLOURS))
    counts = {int((labels == label).sum()) for label in shown}
    each = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(min(counts))
    left_out = f", the first {_MOST} of {len(explained[0].record.classes)} classes" if len(np.unique(labels)) > _MOST else ""
    return Pictures(f"means-{one.slug}", f"{one.title}: the mean over all runs and over {each} test images a class of the maps’ "
                    f"positive part, {LAYER} layer, true class, in the order of the classes{left_out} ({f.listing(names)}). Dead "
                    f"maps count as none. Both arms are on one scale, which ends at {scale.limit:.3g}, the 95th percentile of "
                    f"these means.", tuple(strips))


def _strip(label: str, pictures: np.ndarray, words: Sequence[str], detail: str = "", colours: int | None = None) -> Strip:
    return Strip(label, tuple(Picture(png(picture) if colours is None else png(picture, colours=colours), alt)
                              for picture, alt in zip(pictures, words, strict=True)), detail)
