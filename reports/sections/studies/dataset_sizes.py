"""The chapter of lr-by-dataset-size: the loss against the rate, a curve for each size of the training set."""

from __future__ import annotations

import math

from reports.figures.curves import Curve, Plot, plots
from reports.model import Cell, Column, FigureSpec, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import command, name_of, of_what, recipe_option, said, strong, titled
from speedcore import stats
from speedcore.studies.lr_by_dataset_size import (
    DATASET,
    FACTORS,
    NAME,
    RECIPE,
    SOURCE,
    SizeRecord,
    loss_text,
    readings,
)


def section(record: SizeRecord, number: int) -> Section:
    """The chapter; `number` tells several results of this study apart."""
    name, seeds = name_of(NAME, number), 1 + max((p.seed for p in record.points), default=0)
    factors = "" if record.factors == FACTORS else "--factors " + ",".join(f"{factor:g}" for factor in record.factors)
    more = " ".join(words for words in (recipe_option(record, RECIPE), factors) if words)
    blocks = (of_what(record, SOURCE), _figure(name, record), _table(name, record),
              *said(record.findings, readings(record), record.left_out),
              command(NAME, record.dataset, DATASET, seeds, record.scaled, more))
    return Section(name, "", titled("Learning rate by training-set size", record.scaled),
                   "Does a larger training set ask for a lower rate?", blocks)


def headline(record: SizeRecord) -> str:
    return f"**Learning rate by training-set size**, {record.scaled.text}. " + strong(record.findings[0])


def _means(record: SizeRecord, images: int, part: str) -> list[tuple[float, float]]:
    """(factor, mean over seeds) where there are runs; infinite where one of them ended at no number."""
    found = []
    for factor in record.factors:
        values = [getattr(p, part) for p in record.at(images, factor)]
        if values:
            mean = stats.mean(values) if all(map(math.isfinite, values)) else math.inf
            found.append((factor, mean))
    return found


def _figure(name: str, record: SizeRecord) -> FigureSpec:
    contents: list[Plot] = []
    data: dict[str, object] = {}
    for part, title in (("test_loss", "on the test images"), ("train_loss", "in training, at the end")):
        curves = []
        for style, images in enumerate(record.sizes):
            means = _means(record, images, part)
            curves.append(Curve(f"{images:,} images", tuple(x for x, _ in means), tuple(y for _, y in means), style))
            data[f"{title}, {images} images"] = [(x, None if math.isinf(y) else y) for x, y in means]
        # Guessing has a loss of ln K: far above it nothing is to be seen but that training failed.
        finite = [y for curve in curves for y in curve.y if math.isfinite(y)]
        top = min(1.05 * max(finite, default=1), 1.5 * math.log(record.classes))
        contents.append(Plot(title, "multiple of the rate", "loss (nats)" if not contents else "", tuple(curves), log=2, top=top,
                             ticks=record.factors))
    alt = f"Loss against learning rate, {record.scaled.text}. " + " ".join(
        f"{curve.label}: " + ", ".join("no number" if math.isinf(y) else f"{y:.3f}" for y in curve.y) + f" at "
        f"{', '.join(f'{x:g}' for x in curve.x)} times the rate." for curve in contents[0].curves)
    return FigureSpec(name + "-figure", plots("Loss against learning rate", contents, 2), alt,
                      f"The rate across, as a multiple of {record.rate:g}; the loss up; a curve for each size of the training "
                      f"set, {record.scaled.text}. Means over seeds. Triangles at the edge: a loss above the frame, or none.",
                      data)


def _table(name: str, record: SizeRecord) -> Table:
    columns = (Column("Images", True), *(Column(f"×{f.NBSP}{factor:g}", True) for factor in record.factors))
    rows = tuple((Cell(f.count(images)), *(Cell(loss_text(record.at(images, factor)).replace(" ", f.NBSP))
                                           for factor in record.factors)) for images in record.sizes)
    seeds = max((len(record.at(images, factor)) for images in record.sizes for factor in record.factors), default=0)
    return Table(name + "-table", f"Test loss by training-set size and multiple of the rate, {record.scaled.text}", columns, rows,
                 wide=True, note=f"Nats an image, mean ± standard deviation over {f.plural(seeds, 'seed')}.")
