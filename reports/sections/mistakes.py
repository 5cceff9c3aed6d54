"""9 Confusion and accuracy by class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64

from reports.figures.grids import confusion
from reports.figures.pairs import ClassRow, per_class
from reports.model import Block, Cell, Column, FigureSpec, Group, Section, Table
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import ARM_LABELS, Context
from reports.sections.registry import report_section
from speedcore.store.runs import Run

_MOST_CLASSES = 16    # a larger matrix could not be read
_MOST_PAIRS = 8


@report_section("confusion", "Mistakes", 80)
def section(context: Context) -> Section:
    return Section("confusion", "", "Mistakes",
                   "Which classes are taken for which, on plain test images. Counts are added up over the seeds of an "
                   "arm and divided by the number of test images of the true class.",
                   tuple(Group(f"confusion-{one.slug}", one.title, _blocks(one)) for one in context.sets))


def confusion_counts(runs: Sequence[Run], classes: int) -> Int64[np.ndarray, "k k"]:
    """Test images by true (row) and predicted (column) class, added up over runs."""
    total = np.zeros((classes, classes), dtype=np.int64)
    for run in runs:
        truth, answers = run.predictions["labels"], run.predictions["logits"].argmax(1)
        total += np.bincount(truth * classes + answers, minlength=classes**2).reshape(classes, classes)
    return total


def _shares(counts: Int64[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _blocks(one: DatasetResults) -> tuple[Block, ...]:
    names = one.classes
    shares = {arm: _shares(confusion_counts(runs, len(names))) for arm, runs in one.arms.items()}
    blocks: list[Block] = [_per_class(one, names, shares)]
    if len(names) <= _MOST_CLASSES:
        blocks.append(_matrix(one, names, shares))
    return (*blocks, _pairs(one, names, shares))


def _per_class(one: DatasetResults, names: Sequence[str], shares: dict[str, np.ndarray]) -> FigureSpec:
    diagonal = {arm: np.diag(matrix) for arm, matrix in shares.items()}
    rows = [ClassRow(name, *(float(diagonal[arm][i]) if arm in diagonal else None for arm in ("without", "with")))
            for i, name in enumerate(names)]
    rows = sorted(rows, key=lambda r: -(r.augmented if r.augmented is not None else r.without or 0.0))[-30:]
    alt = f"Accuracy by class on {one.title}. " + "; ".join(
        f"{row.name}: {f.percent(row.without, 1)} without, {f.percent(row.augmented, 1)} with augmentation"
        for row in rows) + "."
    return FigureSpec(f"per-class-{one.slug}", per_class(one.title, rows), alt,
                      f"{one.title}: accuracy by class, best at the top"
                      + (f"; the {len(rows)} worst of {len(names)} classes." if len(rows) < len(names) else "."),
                      {row.name: (row.without, row.augmented) for row in rows})


def _matrix(one: DatasetResults, names: Sequence[str], shares: dict[str, np.ndarray]) -> FigureSpec:
    worst = [_worst(matrix, 1)[0] for matrix in shares.values()]
    alt = f"Confusion matrices of {one.title}, in percent of the true class. " + " ".join(
        f"{ARM_LABELS[arm].capitalize()}: the most frequent mistake takes {names[true]} for {names[answer]}, "
        f"{f.percent(share, 1)}."
        for arm, (true, answer, share) in zip(shares, worst, strict=True))
    return FigureSpec(f"matrix-{one.slug}", confusion(one.title, names, shares), alt,
                      f"{one.title}, percent of the true class. Only mistakes are coloured, both arms on one scale; "
                      f"those under 0.05{f.NBSP}% are left blank.",
                      {arm: matrix.tolist() for arm, matrix in shares.items()})


def _worst(matrix: Float[np.ndarray, "k k"], count: int) -> list[tuple[int, int, float]]:
    """The most frequent mistakes: (true class, prediction, share of the true class's images)."""
    off = np.where(np.eye(len(matrix), dtype=bool), -1.0, matrix)
    order = np.argsort(-off, axis=None, kind="stable")[:count]
    return [(*divmod(i, len(matrix)), float(off.flat[i])) for i in order.tolist()]


def _pairs(one: DatasetResults, names: Sequence[str], shares: dict[str, np.ndarray]) -> Table:
    """The mistakes that either arm makes most, with both arms' shares."""
    mean = np.sum(list(shares.values()), axis=0) / len(shares)
    rows = []
    for true, answer, share in _worst(mean, _MOST_PAIRS):
        if share > 0:
            without, augmented = (float(shares[arm][true, answer]) if arm in shares else None for arm in ("without", "with"))
            rows.append((Cell(f"{names[true]} taken for {names[answer]}"), Cell(f.percent(without)), Cell(f.percent(augmented)),
                         Cell(f.NONE if without is None or augmented is None else f.points(augmented - without))))
    columns = (Column("Mistake"), Column("Without augmentation", True), Column("With augmentation", True),
               Column("Difference, points", True))
    return Table(f"mistakes-{one.slug}", f"{one.title}: the most frequent mistakes", columns, tuple(rows))
