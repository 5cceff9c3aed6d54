"""7 Learning rate and 8 Curves: what happened on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reports.figures.lines import Line, Panel, RatePanel, learning_rates, panels
from reports.model import Bullets, FigureSpec, Group, Section
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import ARM_LABELS, Context
from reports.sections.registry import report_section
from speedcore.recipe.schedules import interpolate
from speedcore.store.runs import Run

_MOST_POINTS = 200


@report_section("learning-rate", "Learning rate, planned and logged", 60)
def schedule(context: Context) -> Section:
    contents = [RatePanel(one.title, _plans(one),
                          {arm: tuple(_logged(run) for run in runs) for arm, runs in one.arms.items()})
                for one in context.sets]
    alt = "Learning rate against epochs, planned and logged. " + " ".join(map(_rates, context.sets))
    figure = FigureSpec("rates", learning_rates("Learning rates", contents), alt,
                        "Broad grey: the schedule as planned before the first step. Coloured: what each run logged, "
                        "step by step.",
                        {run.name: {"planned_steps": run.record.planned_steps, "steps": run.record.steps}
                         for run in context.results.runs})
    return Section("learning-rate", "", "Learning rate, planned and logged", "",
                   (figure, Bullets(tuple(_kept(one) for one in context.sets))))


def _rates(one: DatasetResults) -> str:
    """The peak, the length and the end of a data set's rates, in words."""
    lengths = f.listing([f"{line.x[-1]:.3g}" for line in _plans(one)])
    ends = f.listing(sorted({f"{run.record.final_lr:.3g}" for run in one.runs}))
    return (f"{one.title}: a peak of {one.runs[0].record.recipe.optimizer.lr:g}, planned over {lengths} epochs, "
            f"logged rates end at {ends}.")


def _plans(one: DatasetResults) -> tuple[Line, ...]:
    return tuple(_planned(run) for run in {(r.record.planned_steps, r.record.recipe.schedule): r
                                           for r in one.runs}.values())


def _kept(one: DatasetResults) -> str:
    """Whether the runs kept to the plan, checked step by step."""
    replanned = [run for run in one.runs if run.record.replans]
    followed = [run for run in one.runs if not run.record.replans]
    text = f"**{one.title}.** "
    if followed:
        worst = max(_deviation(run) for run in followed)
        text += (f"{f.plural(len(followed), 'run')} followed the plan; the largest difference of a logged rate from "
                 f"the planned one is "
                 f"{'less than a millionth of the peak' if worst < 1e-6 else f.percent(worst, 3) + ' of the peak'}. ")
    if replanned:
        reasons = sorted({replan.reason for run in replanned for replan in run.record.replans})
        text += (f"{f.plural(len(replanned), 'run')} re-planned on the way ({'; '.join(reasons)}): the same schedule "
                 f"over another number of steps. ")
    landed = sum(abs(run.record.final_factor - run.record.recipe.schedule.floor) < 1e-9 for run in one.runs)
    return text + f"{landed} of {len(one.runs)} ended at the schedule’s last value."


def _planned(run: Run) -> Line:
    record = run.record
    step = _thin(record.planned_steps)
    rates = [record.recipe.optimizer.lr * interpolate(record.recipe.schedule.knots, i / record.planned_steps,
                                                      record.recipe.schedule.shape)
             for i in step.tolist()]
    return Line(tuple((step / record.steps_per_epoch).tolist()), tuple(rates))


def _logged(run: Run) -> Line:
    keep = _thin(len(run.steps["step"])) - 1
    return Line(tuple((run.steps["step"][keep] / run.record.steps_per_epoch).tolist()),
                tuple(run.steps["lr"][keep].tolist()))


def _thin(steps: int) -> np.ndarray:
    """At most 300 of the steps 1..n, both ends among them."""
    return np.unique(np.linspace(1, steps, min(steps, _MOST_POINTS)).round().astype(int))


def _deviation(run: Run) -> float:
    """Largest |logged − planned| as a share of the peak rate, over all steps of a run that was not re-planned."""
    record = run.record
    planned = [interpolate(record.recipe.schedule.knots, i / record.planned_steps, record.recipe.schedule.shape)
               for i in run.steps["step"].tolist()]
    return float(np.abs(run.steps["lr"] / record.recipe.optimizer.lr - planned).max())


# --- curves ----------------------------------------------------------------------------------------------------------

@report_section("curves", "Accuracy and loss while training", 70)
def curves(context: Context) -> Section:
    return Section("curves", "", "Accuracy and loss while training",
                   "Training values are means over the steps since the look before, on augmented images where the arm "
                   "has them, and with label smoothing where the recipe has it; validation images are held out from "
                   "the training split and never augmented. So the two losses are not on one scale.",
                   tuple(Group(f"curves-{one.slug}", one.title, (_curves(one),)) for one in context.sets))


_COLUMNS = (("train_accuracy", "Training accuracy", True), ("validation_accuracy", "Validation accuracy", True),
            ("train_loss", "Training loss", False), ("validation_loss", "Validation loss", False))


def _curves(one: DatasetResults) -> FigureSpec:
    contents = []
    for column, label, percent in _COLUMNS:
        arms = {arm: tuple(line for run in runs if (line := _line(run, column))) for arm, runs in one.arms.items()}
        if any(arms.values()):
            contents.append(Panel(label, "epoch", "", arms, percent=percent, log=not percent))
    ends = "; ".join(f"{panel.title.lower()} " + f.listing(
        [f"{_end(lines, panel.percent)} {ARM_LABELS[arm]}" for arm, lines in panel.arms.items() if lines])
        for panel in contents)
    counts = f.listing([f"{len(runs)} {ARM_LABELS[arm]}" for arm, runs in one.arms.items()])
    return FigureSpec(f"curves-{one.slug}-figure", panels(f"Curves of {one.title}", contents, 2, 1.75),
                      f"Accuracy and loss of {one.title} against epochs, both arms. At the end: {ends}.",
                      f"{one.title}. Thin lines are runs ({counts}), bold lines their mean at equal shares of the run. "
                      f"Losses on a logarithmic scale.",
                      {p.title: {a: [line.y[-1] for line in ls] for a, ls in p.arms.items()} for p in contents})


def _end(lines: Sequence[Line], percent: bool) -> str:
    value = sum(line.y[-1] for line in lines) / len(lines)
    return f.percent(value, 1) if percent else f.decimal(value, 3)


def _line(run: Run, column: str) -> Line | None:
    known = np.isfinite(run.epochs[column])
    return Line(tuple(run.epochs["epoch"][known].tolist()),
                tuple(run.epochs[column][known].tolist())) if known.any() else None
