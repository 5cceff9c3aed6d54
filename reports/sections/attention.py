"""10 Heatmaps: the same held-out images in both arms, on one scale, and how much of the maps lies on the object."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from explain.artefact import Explanation
from explain.inspector.overlay import COLOURS, Scale, overlay
from reports.figures.bars import MassBar, masses
from reports.figures.grids import colour_scale
from reports.figures.pixels import png
from reports.model import (
    Block,
    Cell,
    Column,
    FigureSpec,
    Gallery,
    Group,
    Look,
    LookGroup,
    Picture,
    Prose,
    Section,
    Side,
    Table,
)
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections import claim, meanmaps, sanity
from reports.sections.context import ARM_LABELS, Context
from reports.sections.registry import report_section
from speedcore import stats
from speedcore.data.dataset import Dataset

LAYERS = ("middle", "last")
_MOST_MISTAKES = 4
_COLOURS = 96  # of an overlay's palette: no eye tells it from the whole
_CONTROLS = {"another_image": "another image’s map", "wrong_class": "map of a wrong class",
             "untrained": "untrained network",
             "gaussian": "Gaussian in the middle", "uniform": "uniform map"}


@report_section("heatmaps", "Where the networks look", 100)
def section(context: Context) -> Section:
    shown = [one for one in context.sets if one.explanations]
    lead = ("Grad-CAM maps of held-out images: which cells of a layer speak for the true class, the brighter the more. "
            "The same images are shown for both arms, on one scale; the rule that chose them is stated and includes "
            "mistakes.")
    blocks: list[Block] = [Group(f"heatmaps-{one.slug}", one.title, _blocks(one)) for one in shown]
    without = [one.title for one in context.sets if not one.explanations]
    if without:
        blocks.append(Prose(f"No heatmaps were made for {f.listing(without)}.", "quiet"))
    if shown and (absent := claim.not_run(context)):
        blocks.append(absent)
    return Section("heatmaps", "", "Where the networks look", lead if shown else "", tuple(blocks))


def _blocks(one: DatasetResults) -> tuple[Block, ...]:
    blocks: list[Block | None] = []
    if bars := _masses(one):
        blocks.append(bars)
    blocks.append(_measures(one))
    arms = _by_arm(one)
    blocks += [meanmaps.block(one, arms), sanity.cascade(one, arms), sanity.statistics_of(one, arms)]
    sides = _shown(one)
    if one.dataset is not None and sides:
        blocks.append(_gallery(one, one.dataset, sides))
    return tuple(block for block in blocks if block is not None)


def _by_arm(one: DatasetResults) -> dict[str, list[Explanation]]:
    """Explanations of each arm's runs, in the order of their seeds."""
    found = {arm: [one.explanations[run.record.key] for run in runs if run.record.key in one.explanations]
             for arm, runs in one.arms.items()}
    return {arm: made for arm, made in found.items() if made}


# --- measures --------------------------------------------------------------------------------------------------------

def _masses(one: DatasetResults) -> FigureSpec | None:
    """Normalised mass of both arms at both layers, with null controls at the primary layer."""
    arms = _by_arm(one)
    bars = []
    for layer in LAYERS:
        for arm, made in arms.items():
            scores = [s.score for e in made if (s := e.record.layers[layer].score) and s.score is not None]
            if scores:
                bars.append(MassBar(f"{layer} layer, {arm}", tuple(scores), arm))
    if not bars:
        return None
    everyone = [e for made in arms.values() for e in made]
    for kind, label in _CONTROLS.items():
        scores = [s.score for e in everyone if (s := e.record.layers["middle"].controls.get(kind))
                  and s.score is not None]
        if scores:
            bars.append(MassBar(label, tuple(scores)))
    text = "; ".join(f"{bar.label} {f.decimal(stats.mean(bar.values))}" for bar in bars)
    return FigureSpec(f"mass-{one.slug}", masses(f"Mass on the object, {one.title}", bars,
                                                 "normalised mass on the object"),
                      f"Normalised mass of the heatmaps on the object, {one.title}: {text}.",
                      f"{one.title}: how much of the maps’ positive mass lies on the object; 0 is what an even map "
                      f"has, 1 the most that a map of the layer’s resolution can have. Grey: null controls at the "
                      f"middle layer, which know nothing of the image or the class. Dots are runs. The object: "
                      f"{everyone[0].record.foreground}.",
                      {bar.label: bar.values for bar in bars})


def _measures(one: DatasetResults) -> Table:
    rows = []
    for layer in LAYERS:
        for arm, made in _by_arm(one).items():
            records = [e.record.layers[layer] for e in made]
            masked = [r.score for r in records if r.score and r.score.mass is not None]
            names = ("mass", "foreground", "ceiling", "score")
            cells = [f"{records[0].height}×{records[0].width}", str(len(records)), f.count(records[0].n),
                     *(_mean([getattr(score, name) for score in masked]) for name in names),
                     f.percent(stats.mean([r.dead for r in records]), 1),
                     _mean([r.gini for r in records]), _mean([r.flip_consistency for r in records])]
            rows.append((Cell(layer), Cell(arm, mark=arm), *(Cell(text) for text in cells)))
    columns = (Column("Layer"), Column("Augmentation"), Column("Cells"), Column("n", True), Column("Images", True),
               Column("Mass", True),
               Column("Area", True), Column("Ceiling", True), Column("Normalised", True), Column("Dead", True),
               Column("Gini", True),
               Column("Flip", True))
    measured = next(iter(one.explanations.values())).record.measured
    return Table(f"measures-{one.slug}", f"{one.title}: measures of the true-class maps, means over seeds", columns,
                 tuple(rows), heads=2,
                 note=f"Measured on {measured}. Mass: positive mass on the object ÷ all of it; area: the object’s "
                      f"share of the image; normalised: (mass − area) ÷ (ceiling − area). Dead: maps without any "
                      f"positive value, never scored. Gini: concentration. Flip: correlation of the map with that of "
                      f"the mirror image, where there are no masks.")


def _mean(values: Sequence[float | None]) -> str:
    return f.decimal(stats.known_mean(values))


# --- gallery ---------------------------------------------------------------------------------------------------------

def _shown(one: DatasetResults) -> dict[str, Explanation]:
    """The pair of lowest seed that both arms have; of a single arm, its first run."""
    for pair in one.pairs:
        sides = {run.record.arm: e for run in pair.runs if (e := one.explanations.get(run.record.key)) is not None}
        if len(sides) == len(pair.runs):
            return sides
    return {arm: made[0] for arm, made in _by_arm(one).items()}


def _gallery(one: DatasetResults, dataset: Dataset, sides: dict[str, Explanation]) -> Gallery:
    first = next(iter(sides.values()))
    index, labels = first.arrays["gallery_index"], first.arrays["gallery_label"]
    images = dataset.test.images[torch.from_numpy(index)].numpy()
    coloured = {}
    scales = {layer: Scale.of([e.maps(layer) for e in sides.values()]) for layer in LAYERS}
    for arm, e in sides.items():
        for layer in LAYERS:
            coloured[arm, layer] = overlay(images, e.maps(layer), scales[layer], e.record.layers[layer].extent)
    groups, row = [], 0
    for position, group in enumerate(first.record.gallery.groups):
        rows = range(row, row + len(group.indices))
        row += len(group.indices)
        looks = tuple(_look(one.classes, sides, r, images[r], coloured) for r in _few(list(rows), labels))
        # The first group holds the images of each class, of which fewer are shown here than were kept.
        title = group.title if position else "one of each class"
        groups.append(LookGroup(title[:1].upper() + title[1:], looks))
    layers = " and ".join(f"{layer} ({r.height}×{r.width} cells)" for layer in LAYERS
                          if (r := first.record.layers[layer]))
    caption = (f"{one.title}, seed {first.record.seed}: each image with what each arm predicted and with what confidence, "
               f"and its maps for the true class at two layers, {layers}. Wrong predictions are marked ×. "
               f"{first.record.gallery.rule} Shown of these: one of each class, and at most {_MOST_MISTAKES} of each "
               f"kind of mistake.")
    return Gallery(f"gallery-{one.slug}", caption, tuple(groups), _scale(one, scales))


def _few(rows: list[int], labels: np.ndarray) -> list[int]:
    """One row of each class where the classes repeat in order, else the first few."""
    by_class: dict[int, int] = {}
    for row in rows:
        by_class.setdefault(int(labels[row]), row)
    balanced = len(rows) == len(by_class) * sum(labels[row] == labels[rows[0]] for row in rows)
    return list(by_class.values()) if balanced and len(by_class) > 1 else rows[:_MOST_MISTAKES]


def _look(classes: Sequence[str], sides: dict[str, Explanation], row: int, image: np.ndarray,
          coloured: dict[tuple[str, str], np.ndarray]) -> Look:
    first = next(iter(sides.values()))
    index, label = int(first.arrays["gallery_index"][row]), int(first.arrays["gallery_label"][row])
    truth = classes[label]
    made = []
    for arm, e in sides.items():
        predicted, confidence = int(e.arrays["gallery_predicted"][row]), float(e.arrays["gallery_confidence"][row])
        answer = f"{classes[predicted]}, {f.percent(confidence, 0)}"
        maps = tuple(Picture(png(coloured[arm, layer][row].transpose(2, 0, 1), colours=_COLOURS),
                             f"Map of the {layer} layer, {ARM_LABELS[arm]}, for {truth}; it predicted {answer}")
                     for layer in LAYERS)
        made.append(Side(arm, answer, predicted == label, maps))
    return Look(Picture(png(image), f"{truth}, test image {index}"), truth, f"test image {index}", tuple(made))


def _scale(one: DatasetResults, scales: dict[str, Scale]) -> FigureSpec:
    ends = [(layer, scale.limit) for layer, scale in scales.items()]
    label = next(iter(scales.values())).label
    return FigureSpec(f"scale-{one.slug}", colour_scale("Colour scale", COLOURS, ends),
                      f"Colour scale of the heatmaps: {label}. It ends at "
                      + f.listing([f"{limit:.3g} at the {layer} layer" for layer, limit in ends]) + ".",
                      f"In each pair of maps the middle layer is on the left and the last on the right. Colours: "
                      f"{label}.")
