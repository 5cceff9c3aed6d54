"""The chapter of lr-finder: the loss while the rate rises."""

from __future__ import annotations

from reports.figures.curves import Curve, Plot, plots
from reports.model import FigureSpec, Prose, Section
from reports.renderers import formats as f
from reports.sections.studies.overview import command, name_of, of_what, recipe_option
from speedcore.studies.lr_finder import NAME, RangeRecord


def section(record: RangeRecord, number: int) -> Section:
    """The chapter; `number` tells several tests apart."""
    name = name_of(NAME, number)
    more = " ".join(words for words in (recipe_option(record, "record"), f"--steps {len(record.rates)}",
                                        f"--seed {record.seed}" if record.seed else "") if words)
    blocks = (of_what(record, "L. N. Smith, Cyclical learning rates for training neural networks, 2015"), _figure(name, record),
              Prose(_reading(record)), command(NAME, record.dataset, "mnist", 0, record.scaled, more))
    return Section(name, "", f"Learning-rate range test of {record.recipe.name}",
                   "Where does the loss turn while the learning rate rises?", blocks)


def headline(record: RangeRecord) -> str:
    return f"**Learning-rate range test** of {record.recipe.name} on {record.dataset}: {_reading(record)}"


def _reading(record: RangeRecord) -> str:
    turn = "it never turned up" if record.highest is None else f"it turned up beyond {f.number(record.highest)}"
    return (f"The loss fell fastest at a rate of {f.number(record.steepest)}; {turn}. The recipe’s peak is "
            f"{f.number(record.peak)}.")


def _figure(name: str, record: RangeRecord) -> FigureSpec:
    marks = [(record.peak, "the recipe’s peak"), (record.steepest, "falls fastest")]
    if record.highest is not None:
        marks.append((record.highest, "turns up"))
    plot = Plot("", "learning rate", "training loss (nats), smoothed", (Curve("loss", record.rates, record.losses, marks=False),),
                log=10, top=min(2 * record.losses[0], 1.05 * max(record.losses)),
                lines=tuple(mark for mark in marks if mark[0] <= record.rates[-1]))
    alt = (f"Training loss against a learning rate that rises from {record.rates[0]:.2g} to {record.rates[-1]:.2g}: from "
           f"{record.losses[0]:.3f} to at least {min(record.losses):.3f}. {_reading(record)}")
    return FigureSpec(name + "-figure", plots("Range test", [plot], legend=False), alt,
                      f"The rate across, rising geometrically over {f.plural(len(record.rates), 'step')}; the smoothed training "
                      f"loss up.", {"rates": list(record.rates), "losses": list(record.losses)})
