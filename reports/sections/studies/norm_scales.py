"""The chapter of batch-norm-scales: scales and biases layer by layer over the course of training."""

from __future__ import annotations

from reports.figures.curves import Curve, Plot, plots
from reports.model import Cell, Column, FigureSpec, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import command, name_of, of_what, recipe_option, said, strong, titled
from speedcore import stats
from speedcore.studies.batch_norm_scales import DATASET, NAME, RECIPE, SOURCE, ScalesRecord, readings, rows

_WORDS = {"scales": "Scales of batch-norm in training", "biases": "Biases of batch-norm in training"}


def section(record: ScalesRecord, number: int) -> Section:
    """The chapter; `number` tells several results of this study apart."""
    name, seeds = name_of(NAME, number), 1 + max(w.seed for w in record.watched)
    blocks = (of_what(record, SOURCE), _figure(name, record, "scales"), _figure(name, record, "biases"), _table(name, record),
              *said(record.findings, readings(record), record.left_out),
              command(NAME, record.dataset, DATASET, seeds, record.scaled, recipe_option(record, RECIPE)))
    return Section(name, "", titled("Batch-norm’s scales", record.scaled),
                   "What do the scales and biases of batch-norm do while a network trains?", blocks)


def headline(record: ScalesRecord) -> str:
    return f"**Batch-norm’s scales**, {record.scaled.text}. " + strong(record.findings[0])


def _figure(name: str, record: ScalesRecord, kind: str) -> FigureSpec:
    """kind: "scales" or "biases". Means over seeds of the channels' quantiles, a panel a layer."""
    shortest = min(len(w.steps) for w in record.watched)
    epochs = record.watched[0].epochs[:shortest]
    contents, data = [], {}
    for layer in record.layers:
        low, median, high = (tuple(stats.mean([getattr(getattr(w, kind)[layer], part)[i] for w in record.watched])
                                   for i in range(shortest)) for part in ("low", "median", "high"))
        curves = [Curve("median of the channels, with 10 to 90 %", epochs, median, 0, low, high, band=True, marks=False)]
        if kind == "scales":
            curves.append(Curve("weight decay alone", epochs, record.watched[0].decay[:shortest], 1, dashed=True))
        title = layer.removesuffix(".norm").replace(".residual", "")
        contents.append(Plot(title, "epoch", {"scales": "scale", "biases": "bias"}[kind], tuple(curves)))
        data[layer] = {"low": list(low), "median": list(median), "high": list(high)}
    alt = f"{_WORDS[kind]}, a panel a layer, {record.scaled.text}. " + " ".join(
        f"{plot.title}: the median goes from {plot.curves[0].y[0]:.2f} to {plot.curves[0].y[-1]:.2f}." for plot in contents)
    alone = " Dashed: a scale that nothing moves but weight decay." if kind == "scales" else ""
    return FigureSpec(f"{name}-{kind}", plots(_WORDS[kind], contents, 4, 1.45, shared=True), alt,
                      f"{_WORDS[kind]}, a panel a layer from the first to the last: the median channel, and the band from the "
                      f"10th to the 90th hundredth; means over {f.plural(len(record.watched), 'seed')}, {record.scaled.text}."
                      f"{alone}", data)


def _table(name: str, record: ScalesRecord) -> Table:
    columns = (Column("Layer"), *(Column(label, True) for label in (
        "Scale, middle", "Scale, end", "10 to 90 %", "Bias, end", "10 to 90 %")))
    body = tuple((Cell(layer), *(Cell(text.replace("-", f.MINUS)) for text in rest)) for layer, *rest in rows(record))
    return Table(name + "-table", f"Scales and biases by layer, {record.scaled.text}", columns, body,
                 note=f"Means over channels and {f.plural(len(record.watched), 'seed')}, in the middle of training and at its "
                      f"end; quantiles are over channels, at the end.")
