"""4 Model, 7 Learning rate, 8 Curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from reports import formats as f
from reports.figures.lines import Line, Panel, learning_rate, panels
from reports.model import Cell, Column, Facts, FigureSpec, Group, Section, Table
from reports.results import DatasetResults
from reports.sections.context import ARM_LABELS, Context
from speedcore.networks import build, parameter_counts
from speedcore.runs import Run
from speedcore.schedule import interpolate

# (channels, classes, width) of DavidNet -> (trainable, running statistics) as derived by hand from its definition.
_DAVIDNET = {(3, 10, 1.0): (6_573_120, 4_480), (1, 10, 1.0): (6_571_968, 4_480)}
_MOST_POINTS = 300


def model(context: Context) -> Section:
    blocks, seen = [_totals(context)], set()
    for one in context.sets:
        spec = one.runs[0].record.recipe.network
        if spec not in seen:
            seen.add(spec)
            blocks.append(_layers(one))
            blocks.append(_recipe(one))
    return Section("model", "", "Model", "What was trained. Parameter counts are taken from the network that is built from the "
                   "recipe and compared with what each run recorded.", tuple(blocks))


def _network(one: DatasetResults) -> nn.Module:
    record = one.record
    with torch.random.fork_rng(devices=[]):
        return build(one.runs[0].record.recipe.network, record.channels, (record.height, record.width), len(record.classes))


def _totals(context: Context) -> Table:
    rows = []
    for one in context.sets:
        record, spec = one.record, one.runs[0].record.recipe.network
        counts = parameter_counts(_network(one))
        agree = all(run.record.parameters == counts for run in one.runs)
        check = f"all {f.plural(len(one.runs), 'run')} agree" if agree else "runs disagree"
        known = _DAVIDNET.get((record.channels, len(record.classes), spec.width)) if spec.kind == "davidnet" else None
        if known:
            same = known == (counts["trainable"], counts["buffers"])
            check += (f"; {f.count(known[0])} + {f.count(known[1])} = {f.count(sum(known))} as derived by hand" if same else
                      f"; derived by hand: {f.count(known[0])} + {f.count(known[1])}")
        rows.append((Cell(one.title), Cell(_kind(spec)), Cell(f"{record.channels}×{record.height}×{record.width}"),
                     *(Cell(f.count(counts[k])) for k in ("trainable", "frozen", "buffers")), Cell(check, mark="" if agree else "warn")))
    columns = (Column("Data set"), Column("Network"), Column("Input"), Column("Trainable", True), Column("Frozen", True),
               Column("Running statistics", True), Column("Check"))
    return Table("parameters", "Numbers of values in each network", columns, tuple(rows))


def _kind(spec) -> str:
    return {"davidnet": "DavidNet", "recordnet": "RecordNet"}.get(spec.kind, spec.kind)


def _layers(one: DatasetResults) -> Table:
    """Leaf modules in the order of a forward pass, with output shapes."""
    network, record = _network(one).eval(), one.record
    rows: list[tuple[Cell, ...]] = []

    def note(name: str, module: nn.Module):
        def hook(_, inputs, output) -> None:
            own = list(module.parameters(recurse=False))
            trained, frozen = (sum(p.numel() for p in own if p.requires_grad is t) for t in (True, False))
            rows.append((Cell(name), Cell(_describe(module)), Cell("×".join(map(str, output.shape[1:]))),
                         Cell(f.count(trained) if trained else f.NONE), Cell(f.count(frozen) if frozen else f.NONE)))
        return hook

    hooks = [m.register_forward_hook(note(name, m)) for name, m in network.named_modules() if not list(m.children())]
    try:
        with torch.no_grad():
            network(torch.zeros(1, record.channels, record.height, record.width))
    finally:
        for hook in hooks:
            hook.remove()
    columns = (Column("Layer"), Column("Operation"), Column("Output", True), Column("Trainable", True), Column("Frozen", True))
    spec = one.runs[0].record.recipe.network
    knots = ", ".join(f"{k} = {v}" for k, v in spec.model_dump(exclude={"kind"}).items())
    return Table(f"layers-{one.slug}", f"{_kind(spec)}, layer by layer, as built for {one.title}", columns, tuple(rows),
                 note=f"Output: channels × height × width. Settings: {knots}.")


def _describe(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"convolution {module.kernel_size[0]}×{module.kernel_size[1]}"
    if isinstance(module, nn.BatchNorm2d):
        return "batch-norm"
    if isinstance(module, nn.MaxPool2d):
        return f"max-pool {module.kernel_size}×{module.kernel_size}"
    return "linear" if isinstance(module, nn.Linear) else type(module).__name__


def _recipe(one: DatasetResults) -> Facts:
    run = next(iter(one.arms.get("with", ())), one.runs[0])
    r = run.record.recipe
    optimiser = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in r.optimizer.model_dump(exclude={"kind"}).items())
    return Facts((
        ("Recipe", f"{r.name} (`{r.hash}`)" + (f": {r.describe}" if r.describe else "")),
        ("Optimiser", f"{r.optimizer.kind.upper() if r.optimizer.kind == 'sgd' else r.optimizer.kind.capitalize()}: {optimiser}"),
        ("Schedule", f"{r.schedule.shape}, " + " → ".join(f"{y:g} at {f.percent(x, 0)}" for x, y in r.schedule.knots) + " of the run, times the peak rate"),
        ("Batch, epochs", f"{r.batch_size} images, {r.epochs:g} epochs wanted"),
        ("Loss", "cross-entropy" + (f" with label smoothing {r.label_smoothing:g}" if r.label_smoothing else "")),
        ("Precision", r.precision),
        ("Averaging", f"weights, decay {r.average.decay:g} every {r.average.every} steps" if r.average else "none"),
    ))


# --- learning rate ---------------------------------------------------------------------------------------------------

def schedule(context: Context) -> Section:
    return Section("learning-rate", "", "Learning rate, planned and logged",
                   "The broad grey line is the schedule as planned before the first step; the lines on top of it are what each "
                   "run logged, step by step.",
                   tuple(Group(f"learning-rate-{one.slug}", one.title, (_rate(one),)) for one in context.sets))


def _rate(one: DatasetResults) -> FigureSpec:
    plans = {(r.record.planned_steps, r.record.steps_per_epoch): r for r in one.runs}
    planned = [_planned(run) for run in plans.values()]
    logged = {arm: tuple(_logged(run) for run in runs) for arm, runs in one.arms.items()}
    replanned = [run for run in one.runs if run.record.replans]
    followed = [run for run in one.runs if not run.record.replans]
    caption = f"{one.title}. "
    if followed:
        worst = max(_deviation(run) for run in followed)
        caption += (f"{f.plural(len(followed), 'run')} followed the plan: the largest difference of a logged rate from the planned one is "
                    f"{'less than one part in a million of the peak' if worst < 1e-6 else f.percent(worst, 3) + ' of the peak'}. ")
    if replanned:
        caption += (f"{f.plural(len(replanned), 'run')} re-planned on the way, because the machine was not as fast as measured: the same "
                    f"schedule over another number of steps. ")
    landed = sum(abs(run.record.final_factor - run.record.recipe.schedule.floor) < 1e-9 for run in one.runs)
    caption += f"{landed} of {len(one.runs)} ended at the schedule’s last value."
    peak = one.runs[0].record.recipe.optimizer.lr
    alt = (f"Learning rate of {one.title} against epochs: planned over {f.listing([f'{p.x[-1]:.3g}' for p in planned])} epochs with a peak of "
           f"{peak:g}; logged rates end at {f.listing(sorted({f'{r.record.final_lr:.3g}' for r in one.runs}))}.")
    return FigureSpec(f"rate-{one.slug}", learning_rate(one.title, planned, logged), alt, caption,
                      {run.name: {"planned_steps": run.record.planned_steps, "steps": run.record.steps} for run in one.runs})


def _planned(run: Run) -> Line:
    record = run.record
    step = _thin(record.planned_steps)
    rates = [record.recipe.optimizer.lr * interpolate(record.recipe.schedule.knots, i / record.planned_steps, record.recipe.schedule.shape)
             for i in step.tolist()]
    return Line(tuple((step / record.steps_per_epoch).tolist()), tuple(rates))


def _logged(run: Run) -> Line:
    keep = _thin(len(run.steps["step"])) - 1
    return Line(tuple((run.steps["step"][keep] / run.record.steps_per_epoch).tolist()), tuple(run.steps["lr"][keep].tolist()))


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

def curves(context: Context) -> Section:
    return Section("curves", "", "Accuracy and loss while training",
                   "Training values are means over the steps since the look before, on augmented images where the arm has them, "
                   "and with label smoothing where the recipe has it; validation images are held out from the training split "
                   "and never augmented. So the two losses are not on one scale.",
                   tuple(Group(f"curves-{one.slug}", one.title, (_curves(one),)) for one in context.sets))


_COLUMNS = (("train_accuracy", "Training accuracy", True), ("validation_accuracy", "Validation accuracy", True),
            ("train_loss", "Training loss", False), ("validation_loss", "Validation loss", False))


def _curves(one: DatasetResults) -> FigureSpec:
    contents = []
    for column, label, percent in _COLUMNS:
        arms = {arm: tuple(line for run in runs if (line := _line(run, column))) for arm, runs in one.arms.items()}
        if any(arms.values()):
            contents.append(Panel(label, "epoch", "", arms, percent=percent, log=not percent))
    ends = [f"{panel.title.lower()} {f.listing([f'{_end(lines, panel.percent)} {ARM_LABELS[arm]}' for arm, lines in panel.arms.items() if lines])}"
            for panel in contents]
    counts = f.listing([f"{len(runs)} {ARM_LABELS[arm]}" for arm, runs in one.arms.items()])
    return FigureSpec(f"curves-{one.slug}-figure", panels(f"Curves of {one.title}", contents, 2, 1.75),
                      f"Accuracy and loss of {one.title} against epochs, both arms. At the end: " + "; ".join(ends) + ".",
                      f"{one.title}. Thin lines are runs ({counts}), bold lines their mean at equal shares of the run. Losses on a logarithmic scale.",
                      {p.title: {a: [line.y[-1] for line in ls] for a, ls in p.arms.items()} for p in contents})


def _end(lines: Sequence[Line], percent: bool) -> str:
    value = sum(line.y[-1] for line in lines) / len(lines)
    return f.percent(value, 1) if percent else f.decimal(value, 3)


def _line(run: Run, column: str) -> Line | None:
    known = np.isfinite(run.epochs[column])
    return Line(tuple(run.epochs["epoch"][known].tolist()), tuple(run.epochs[column][known].tolist())) if known.any() else None
