"""5 Data and 6 Augmentation: what the networks were shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from reports.figures.pixels import png
from reports.model import Facts, Group, Picture, Pictures, Prose, Section, Strip
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import Context, files_word
from reports.sections.registry import report_section
from speedcore.data import sets
from speedcore.data.dataset import Dataset
from speedcore.recipe import Augment
from speedcore.techniques import augment

_SAMPLES = 5         # images a class
_MOST_CLASSES = 12
_AUGMENTED = 10       # images in an augmentation grid
_COMBINED = 3
_SEED = 0


@report_section("data", "Data", 40)
def data(context: Context) -> Section:
    groups = tuple(Group(f"data-{one.slug}", one.title, (_facts(one), _samples(one, one.dataset) if one.dataset else
                         Prose("The images are not at hand, so no samples are shown.", "quiet")))
                   for one in context.sets)
    return Section("data", "", "Data", "", groups)


def _facts(one: DatasetResults) -> Facts:
    r = one.record
    size = f"{r.channels}×{r.height}×{r.width} (channels × height × width)"
    rows = [("Source", r.source + (f". {r.note}" if r.note else "")), ("Files", files_word(one)),
            ("Splits", f"{f.count(r.train_images)} images trained on, {f.count(r.validation_images)} held out of them "
                       f"for validation, {f.count(r.test_images)} test images, of {size}"),
            ("Mean, deviation", f"{f.vector(r.mean)}; {f.vector(r.std)} (of the training split, pixels in 0 to 1)")]
    if one.dataset:
        rows.append(("Classes", _balance(one.dataset)))
    return Facts((*rows, ("sha256", f"`{r.fingerprint}` (decoded images and labels)")))


def _balance(dataset: Dataset) -> str:
    parts = []
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        counts = torch.bincount(split.labels, minlength=len(dataset.classes))
        low, high = int(counts.min()), int(counts.max())
        parts.append((f.count(low) if low == high else f"{f.count(low)} to {f.count(high)}") + f" {name} images")
    return f"{len(dataset.classes)}, each with {parts[0]} and {parts[1]}"


def _first_of_classes(dataset: Dataset, count: int) -> list[list[int]]:
    """Rows of the training split: the first `count` of each class, for the first classes."""
    labels = dataset.train.labels.numpy()
    shown = min(len(dataset.classes), _MOST_CLASSES)
    return [np.flatnonzero(labels == label)[:count].tolist() for label in range(shown)]


def _samples(one: DatasetResults, dataset: Dataset) -> Pictures:
    strips = []
    for name, rows in zip(one.classes, _first_of_classes(dataset, _SAMPLES), strict=False):
        pictures = [Picture(png(dataset.train.images[i].numpy()), f"{name}, training image {i}") for i in rows]
        strips.append(Strip(name, tuple(pictures)))
    caption = f"{one.title}: the first {_SAMPLES} training images of each class, as they are."
    return Pictures(f"samples-{one.slug}", caption, tuple(strips), compact=True)


# --- augmentation ----------------------------------------------------------------------------------------------------

@report_section("augmentation", "Augmentation", 50)
def augmentation(context: Context) -> Section:
    groups = tuple(Group(f"augmentation-{one.slug}", one.title, _grid(one, one.dataset)) for one in context.sets
                   if one.dataset)
    return Section("augmentation", "", "Augmentation",
                   "The same training images as they are, after each operation alone, and after all of them together. "
                   "The arm without augmentation sees the first row in every epoch; the arm with it sees another draw "
                   "each time.", groups)


def _grid(one: DatasetResults, dataset: Dataset) -> tuple[Prose | Pictures, ...]:
    spec = next((run.record.recipe.augment for run in one.arms.get("with", ())), Augment())
    chosen = [rows[0] for rows in _first_of_classes(dataset, 1) if rows][:_AUGMENTED]
    strips = [_strip(dataset, one.classes, chosen, Augment(), "as they are", 0)]
    if spec.crop:
        strips.append(_strip(dataset, one.classes, chosen, Augment(crop=spec.crop), f"crop, padded by {spec.crop}", 0,
                             "padding: mirrored"))
    if spec.flip != "none":
        strips.append(_strip(dataset, one.classes, chosen, Augment(flip="random"), "flip", 0, "all mirrored here", mirror=True))
    else:
        known = sets.of(one.name)
        why = "not applied: it would change digits" if known and not known.mirrored else "not in this recipe"
        strips.append(_strip(dataset, one.classes, chosen, Augment(flip="random"), "the article’s flip", 0, why, mirror=True))
    if spec.cutout:
        strips.append(_strip(dataset, one.classes, chosen, Augment(cutout=spec.cutout), "cutout", 0,
                             f"{spec.cutout}×{spec.cutout} pixels"))
    if spec.any:
        strips += [_strip(dataset, one.classes, chosen, spec, f"all together, sample {i}", i) for i in range(1, _COMBINED + 1)]
    words = "Operations as the recipe has them" if spec.any else "This recipe augments nothing"
    return (Pictures(f"augmented-{one.slug}", f"{one.title}. {words}; sampled with seed {_SEED}.",
                     tuple(strips)),)


def _strip(dataset: Dataset, classes: Sequence[str], chosen: Sequence[int], spec: Augment, label: str, sample: int,
           detail: str = "", mirror: bool = False) -> Strip:
    index = torch.tensor(chosen)
    images = dataset.train.images[index]
    fill = augment.Normalise.of(dataset).fill
    generator = torch.Generator().manual_seed(_SEED + sample)
    parameters = augment.sample(spec, len(chosen), dataset.size, 0, generator)
    if mirror:
        parameters = replace(parameters, mirrored=torch.ones(len(chosen), dtype=torch.bool))
    changed = augment.Augmenter(spec, dataset.size, fill)(images, parameters)
    names = [classes[int(dataset.train.labels[i])] for i in chosen]
    pictures = [Picture(png(image.numpy()), f"{name}, {label}") for name, image in zip(names, changed, strict=True)]
    return Strip(label, tuple(pictures), detail)
