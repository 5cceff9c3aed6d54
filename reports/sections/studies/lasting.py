"""The chapter of convergence: accuracy against the length of training, the baseline and the final network."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.curves import Curve, Plot, plots
from reports.labels import title_of
from reports.model import Cell, Column, FigureSpec, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import command, first_record, name_of, said, titled
from speedcore import stats
from speedcore.ladders.result import LadderResult
from speedcore.store.runs import Run
from speedcore.studies import convergence
from speedcore.studies.convergence import BASELINE, DATASET, FINAL, LENGTHS, NAME, findings, lengths, plain, viewed
from speedcore.studies.findings import Finding

__all__ = ["NAME", "headline", "section"]


def section(climbed: LadderResult, number: int) -> Section:
    """The chapter; `number` tells several climbs apart."""
    name, record, found = name_of(NAME, number), first_record(climbed), lengths(climbed)
    files = "" if record.data.official else ", not the official files"
    intro = Prose(f"Trained on {title_of(record.data.name)} ({f.count(record.data.train_images)} training images{files}), on "
                  f"{'a GPU' if record.device == 'cuda' else 'a CPU'}, {climbed.scale.text}. Source: {climbed.ladder.source}. "
                  f"Seconds are those of the clock “{climbed.ladder.clock}”.")
    trained = [str(length.epochs) for length in found]
    more = "" if len(found) == len(LENGTHS) else "--epochs " + ",".join(trained)
    seeds = max(len(runs) for runs in climbed.runs.values())
    answers = findings(climbed)
    blocks = (intro, _figure(name, climbed), _table(name, climbed, answers), Prose(convergence.headline(answers)),
              *said(answers, left_out=climbed.left_out),
              command(NAME, record.data.name, DATASET, seeds, climbed.scale, more))
    return Section(name, "", titled("Training to convergence", climbed.scale),
                   "Do the gains in speed become gains in final accuracy?", blocks)


def headline(climbed: LadderResult) -> str:
    """Whether the lead lasts, for the summary."""
    return f"**Training to convergence**, {climbed.scale.text}. {convergence.headline(findings(climbed))}"


def _figure(name: str, climbed: LadderResult) -> FigureSpec:
    curves = []
    for style, network in enumerate((BASELINE, FINAL)):
        for label, values, dashed in ((f"{network}, with the mirror image", viewed, False), (f"{network}, plain", plain, True)):
            points = [(length.epochs * climbed.scale.epochs, [100 * v for v in values(runs)]) for length in lengths(climbed)
                      if (runs := getattr(length, network))]
            if points:
                x, groups = zip(*points, strict=True)
                low, high = ((), ()) if dashed else _bars(groups)
                curves.append(Curve(label, x, tuple(stats.mean(group) for group in groups), style, low, high, dashed=dashed))
    alt = f"Test accuracy against epochs of training, {climbed.scale.text}. " + " ".join(
        f"{curve.label}: " + ", ".join(f"{y:.2f} % after {x:g}" for x, y in zip(curve.x, curve.y, strict=True)) + "."
        for curve in curves)
    ticks = tuple(length.epochs * climbed.scale.epochs for length in lengths(climbed))
    plot = Plot("", "epochs of training", "test accuracy (%)", tuple(curves), ticks=ticks)
    return FigureSpec(name + "-figure", plots("Training to convergence", [plot]), alt,
                      f"The length of training across, test accuracy up, {climbed.scale.text}. Means over seeds; bars span the "
                      f"standard deviation to both sides.", {curve.label: list(zip(curve.x, curve.y, strict=True))
                                                            for curve in curves})


def _bars(groups: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean ∓ standard deviation."""
    around = [(stats.mean(group), stats.sd(group) or 0.0) for group in groups]
    return tuple(mean - sd for mean, sd in around), tuple(mean + sd for mean, sd in around)


def _table(name: str, climbed: LadderResult, answers: Sequence[Finding]) -> Table:
    rows = []
    for length, finding in zip(lengths(climbed), answers, strict=True):
        tested = finding.tested
        lead = f.NONE if tested.difference is None else f.signed(tested.difference)
        interval = f.bounds(tested.interval.low, tested.interval.high, sign=True) if tested.n and tested.interval else f.NONE
        rows.append((Cell(f.number(length.epochs * climbed.scale.epochs)), *_cells(climbed, length.baseline),
                     *_cells(climbed, length.final), Cell(lead), Cell(interval), Cell(finding.verdict), Cell(str(tested.n))))
    columns = (Column("Epochs", True), Column("Baseline", True), Column("plain", True), Column("Time", True),
               Column("Final", True), Column("plain", True), Column("Time", True), Column("Lead, points", True),
               Column("95 % interval", True), Column("Lead"), Column("Pairs", True))
    return Table(name + "-table", f"Baseline and final network by length of training, {climbed.scale.text}", columns, tuple(rows),
                 wide=True, note="Accuracies with the mirror image asked too, and plain; mean ± standard deviation over seeds. "
                                 "The lead is with the mirror image, over pairs of seeds.")


def _cells(climbed: LadderResult, runs: tuple[Run, ...]) -> tuple[Cell, Cell, Cell]:
    if not runs:
        return (Cell(f.NONE),) * 3
    with_mirror, without = (Cell(f.spread(stats.mean(values), stats.sd(values))) for values in (viewed(runs), plain(runs)))
    return with_mirror, without, Cell(f.seconds(convergence.seconds(climbed, runs)))
