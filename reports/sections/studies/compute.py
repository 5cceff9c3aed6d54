"""The chapter of compute-bound: seconds at the device's peak, and the share of the peak that was reached."""

from __future__ import annotations

from reports.figures.shares import Share, shares
from reports.model import Cell, Column, FigureSpec, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import command, name_of, said
from speedcore import stats
from speedcore.studies.compute_bound import DATASET, NAME, RECIPES, SOURCE, THE_SOURCES, Bound, BoundRecord, amount, readings

_BARS = 16


def section(record: BoundRecord, number: int) -> Section:
    """The chapter; `number` tells several devices apart."""
    name = name_of(NAME, number)
    timed = tuple(bound.recipe for bound in record.bounds if bound.timed)
    more = "" if timed == RECIPES else "--recipe " + ",".join(timed)
    peaks = "; ".join(f"{amount(peak.throughput)}/s in {precision}, multiplying matrices of {f.count(peak.side)} rows"
                      for precision, peak in record.peaks.items())
    blocks = (Prose(f"The peak of this device ({record.machine}, {f.plural(record.threads, 'thread')}), measured: {peaks}. "
                    f"Operations are those of convolutions and linear layers, counted; a multiplication and an addition are two. "
                    f"Source: {SOURCE}."),
              _figure(name, record), _table(name, record), *said((), readings(record), record.left_out),
              command(NAME, record.dataset, DATASET, 0, record.scaled, more))
    return Section(name, "", "The compute bound", "How long would training take if this device never did less than it can?",
                   blocks)


def headline(record: BoundRecord) -> str:
    return "**The compute bound.** " + readings(record)[0]


def _label(bound: Bound) -> str:
    size = f"{bound.parameters / 1e6:.2f} M" if bound.parameters >= 1e5 else f"{bound.parameters / 1e3:.1f} k"
    return f"{bound.recipe}, {size}, {bound.dataset}" + (" (timed)" if bound.timed else "")


def _figure(name: str, record: BoundRecord) -> FigureSpec:
    own = THE_SOURCES
    most = sorted(record.bounds, key=lambda bound: (not bound.timed, -bound.operations))[:_BARS]
    bars = [Share(_label(bound), 100 * bound.share(record.peaks)) for bound in record.bounds if bound in most]
    bars.append(Share("the source’s first training, V100", 100 * own["operations"] * own["epochs"] * own["images"] / own["peak"]
                      / own["seconds"], quiet=True))
    alt = "Share of the device's peak throughput that was reached. " + "; ".join(
        f"{bar.label}: {bar.per_cent:.3g} %" for bar in bars) + "."
    return FigureSpec(name + "-figure", shares("Share of the peak", bars, "share of the peak that was reached (%)"), alt,
                      f"What share of the measured peak training reached, by recipe, trainable parameters and data set"
                      f"{', those with the most operations' if len(most) < len(record.bounds) else ''}; grey: as the source has "
                      f"it.",
                      {bar.label: bar.per_cent for bar in bars})


def _table(name: str, record: BoundRecord) -> Table:
    columns = (Column("Recipe"), Column("Data set"), Column("Epochs", True), Column("Parameters", True),
               Column("Operations an image", True), Column("Operations in all", True), Column("At the peak", True),
               Column("Measured", True), Column("Share", True), Column("Runs", True))
    rows = tuple((
        Cell(bound.recipe), Cell(bound.dataset), Cell(f.number(bound.epochs)), Cell(f.count(bound.parameters)),
        Cell(amount(bound.step).replace(" ", f.NBSP)), Cell(amount(bound.operations).replace(" ", f.NBSP)),
        Cell(f.seconds(bound.bound(record.peaks))), Cell(f.seconds(stats.mean(bound.seconds))),
        Cell(f.percent(bound.share(record.peaks), 1)), Cell("timed" if bound.timed else str(len(bound.runs))))
        for bound in record.bounds)
    return Table(name + "-table", f"Bound and measured time by recipe; recipes were timed {record.scaled.text}", columns, rows,
                 wide=True, note="Operations an image: forward and backward. Timed: the pace of a few steps times their number. "
                                 "Others: means over the runs beside, by the clock “article”.")
