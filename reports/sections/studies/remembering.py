"""The chapter of forgetting: training losses beside each other, and what a trained network makes of its last batches."""

from __future__ import annotations

from reports.figures.curves import Curve, Plot, plots
from reports.model import Cell, Column, FigureSpec, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import command, name_of, of_what, recipe_option, said, strong, titled
from speedcore import stats
from speedcore.studies.forgetting import (
    ALL,
    ALL_LOW,
    DATASET,
    HALF,
    NAME,
    RECIPE,
    SOURCE,
    WINDOW,
    ForgettingRecord,
    by_age,
    rows,
)

_LABELS = {HALF: "half, not augmented", ALL: "all, augmented", ALL_LOW: "all, augmented, lower rate"}


def section(record: ForgettingRecord, number: int) -> Section:
    """The chapter; `number` tells several results of this study apart."""
    name, seeds = name_of(NAME, number), 1 + max((t.seed for t in record.trained), default=0)
    blocks = (of_what(record, SOURCE), _figure(name, record), _table(name, record),
              *said(record.findings, left_out=record.left_out),
              command(NAME, record.dataset, DATASET, seeds, record.scaled, recipe_option(record, RECIPE)))
    return Section(name, "", titled("Forgetting", record.scaled),
                   "Does a network forget a batch while it trains on others, and sooner at a higher rate?", blocks)


def headline(record: ForgettingRecord) -> str:
    return f"**Forgetting**, {record.scaled.text}. " + " ".join(strong(finding) for finding in record.findings[1:])


def _figure(name: str, record: ForgettingRecord) -> FigureSpec:
    training, ages = [], []
    data: dict[str, object] = {}
    for style, arm in enumerate((HALF, ALL, ALL_LOW)):
        seeds = list(record.of(arm).values())
        if not seeds:
            continue
        epochs = range(min(len(t.curve) for t in seeds))
        training.append(Curve(_LABELS[arm], tuple(float(e + 1) for e in epochs),
                              tuple(stats.mean([t.curve[e] for t in seeds]) for e in epochs), style, marks=False))
        data[f"training loss, {arm}"] = list(training[-1].y)
        for attribute, label in (("again", _LABELS[arm]), ("then", "the same batches when they were trained")):
            binned = by_age(seeds, attribute) if getattr(seeds[0], attribute) else []
            if binned:
                means = tuple(stats.mean(values) for _, values in binned)
                ages.append(Curve(label, tuple(-age for age, _ in binned), means, style,
                                  tuple(min(v) for _, v in binned) if attribute == "again" else (),
                                  tuple(max(v) for _, v in binned) if attribute == "again" else (), band=True,
                                  dashed=attribute == "then", marks=False))
                data[f"{attribute}, {arm}"] = [(-age, mean) for (age, _), mean in zip(binned, means, strict=True)]
    contents = [Plot("Training", "epoch", "loss (nats)", tuple(training)),
                Plot("The last batches again", "epochs before the end", "", tuple(ages))]
    shown = [plot for plot in contents if plot.curves]
    alt = "Left, training loss by epoch: " + "; ".join(f"{curve.label} ends at {curve.y[-1]:.3f}" for curve in training) + (
        ". Right, loss of the trained network on its last batches: " + "; ".join(
            f"{curve.label} from {curve.y[0]:.3f} for the oldest to {curve.y[-1]:.3f} for the newest"
            for curve in ages if not curve.dashed) if ages else "") + "."
    return FigureSpec(name + "-figure", plots("Forgetting", shown, 2), alt,
                      f"Left: training loss, means over seeds. Right: the weights at the end, shown the batches of the last "
                      f"{WINDOW} epochs once more, the newest at the right; the band spans the seeds. Dashed: the loss of the "
                      f"same batches when they were trained. {record.scaled.text[:1].upper()}{record.scaled.text[1:]}.", data)


def _table(name: str, record: ForgettingRecord) -> Table:
    columns = (Column("Training"), *(Column(label, True) for label in (
        "Rate", "Images", "Training loss", "Test loss", "Accuracy, %", "Rise, nats an epoch", "n")))
    body = tuple((Cell(_LABELS[arm]), *(Cell(text.replace(" ± ", f"{f.NBSP}±{f.NBSP}").replace("-", f.MINUS)) for text in rest))
                 for arm, *rest in rows(record))
    return Table(name + "-table", f"Trained at constant rates, {record.scaled.text}", columns, body,
                 note="Losses in nats an image, mean ± standard deviation over n seeds. Training loss: over the last epochs. "
                      "Rise: how much higher the trained network’s loss is on a batch for each epoch that has passed since, over "
                      "the last epoch.")
