"""README's picture, of finished runs: accuracy against seconds beside what was published, maps of both arms, a verdict.

Nothing is trained here, but heatmaps that are not there yet are made. `python -m benchmarks.readme --runs DIR` draws it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import reports
from explain import explain_runs
from explain.artefact import Explanation
from explain.inspector.overlay import Scale, overlay, pixels
from reports import findings, results
from reports.figures.canvas import ARM_STYLES, GREY, drawing
from reports.results import ARMS, DatasetResults
from speedcore import ladders, stats
from speedcore.data.dataset import Dataset
from speedcore.errors import UserError
from speedcore.store.runs import Run, RunStore

LAYER = "middle"
_IMAGES = 4
_SIZE, _DPI = (8.0, 3.45), 200  # inches; 1600 pixels across


@dataclass(frozen=True)
class Curve:
    """An arm: validation accuracy at the seconds where it was measured, then test accuracy at the end; means over seeds."""

    seconds: tuple[float, ...]
    validation: tuple[float, ...]
    end: tuple[float, float]
    runs: int


@dataclass(frozen=True)
class Point:
    """A published result. peeked: the test set decided when training stopped, so its accuracy says nothing of unseen images."""

    seconds: float
    accuracy: float
    peeked: bool


@dataclass(frozen=True)
class Looked:
    """A test image and the maps of both arms. image: (H, W, 3); maps, answers: by arm; an answer is empty where it is right."""

    image: np.ndarray
    label: str
    maps: dict[str, np.ndarray]
    wrong: dict[str, str]


@dataclass(frozen=True)
class Content:
    """What the picture shows. sources: of the published points. budget: seconds that a run may train."""

    title: str
    curves: dict[str, Curve]
    published: tuple[Point, ...]
    sources: tuple[str, ...]
    budget: float | None
    looked: tuple[Looked, ...]
    claim: str
    verdict: str
    runs: tuple[Run, ...]


def content(store: RunStore, dataset: Dataset) -> Content:
    """The content, of all runs of both arms on `dataset`. Raises UserError where an arm has none."""
    runs = [run for run in store if run.record.data.name == dataset.name and run.record.arm in ARMS]
    arms = {arm: [run for run in runs if run.record.arm == arm] for arm in ARMS}
    if not all(arms.values()):
        raise UserError(f"{store.root} has no runs of both arms on {dataset.name}; python -m reports.build --dataset "
                        f"{dataset.name} makes them.")
    made = explain_runs(arms["with"], arms["without"], dataset, store.root)
    found = results.load(reports.Inputs(datasets={dataset.name: dataset}, runs=tuple(runs),
                                        explanations=tuple(e for arm in made for e in arm)))
    one, = found.sets
    points, sources = _published(dataset.name)
    accuracy = next(claim for claim in findings.claims(found) if claim.kind == "accuracy")
    return Content(one.title, {arm: _curve(members) for arm, members in one.arms.items()}, points, sources,
                   one.runs[0].record.budget_seconds, _looked(one), accuracy.text,
                   findings.sentence(accuracy), one.runs)


def _curve(runs: tuple[Run, ...]) -> Curve:
    """Means over runs at equal shares of training: runs of a plan differ by a few steps at most."""
    grid = runs[0].epochs["progress"]
    seconds, accuracies = [], []
    for run in runs:
        looks = run.epochs
        at = run.steps["seconds"][looks["step"].astype(int) - 1]
        seconds.append(np.interp(grid, looks["progress"], at))
        accuracies.append(np.interp(grid, looks["progress"], looks["validation_accuracy"]))
    end = (stats.mean([run.record.clocks["article"] for run in runs]),
           stats.mean([run.record.metrics.test_accuracy for run in runs]))
    return Curve(tuple(np.mean(seconds, 0).tolist()), tuple(np.mean(accuracies, 0).tolist()), end, len(runs))


def _published(dataset: str) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """What the sources of the built-in ladders report on this data set, and these sources."""
    points, sources = [], []
    for ladder in ladders.built_in().values():
        told = [rung for rung in ladder.steps if rung.reported.seconds and rung.reported.mean is not None]
        if ladder.dataset == dataset and told:
            points += [Point(rung.reported.seconds, rung.reported.mean, ladder.recipes[rung.name].peeks) for rung in told]
            sources.append(ladder.source)
    return tuple(points), tuple(sources)


def _looked(one: DatasetResults) -> tuple[Looked, ...]:
    """Images of the report's gallery, from its groups in turn: the first of a class, a mistake of each arm, and so on.

    Of the pair of lowest seed, on one scale for both arms.
    """
    sides = {run.record.arm: one.explanations[run.record.key] for run in one.pairs[0].runs}
    first = sides["without"]
    index, labels = first.arrays["gallery_index"], first.arrays["gallery_label"]
    rows = _rows(first, labels)
    images = one.dataset.test.images[torch.from_numpy(index[rows])].numpy()
    scale = Scale.of([e.maps(LAYER) for e in sides.values()])
    maps = {arm: overlay(images, e.maps(LAYER)[rows], scale, e.record.layers[LAYER].extent) for arm, e in sides.items()}
    answers = {arm: e.arrays["gallery_predicted"] for arm, e in sides.items()}
    shown = pixels(images)
    return tuple(Looked(shown[i], one.classes[labels[row]], {arm: maps[arm][i] for arm in ARMS},
                        {arm: "" if answers[arm][row] == labels[row] else one.classes[answers[arm][row]] for arm in ARMS})
                 for i, row in enumerate(rows))


def _rows(explanation: Explanation, labels: np.ndarray) -> list[int]:
    """Rows of the gallery, at most four: the groups' next ones in turn; of the first group one of each class."""
    groups, row = [], 0
    for position, group in enumerate(explanation.record.gallery.groups):
        rows = list(range(row, row + len(group.indices)))
        row += len(rows)
        groups.append(list({labels[r]: r for r in reversed(rows)}.values())[::-1] if position == 0 else rows)
    turns = [group[turn] for turn in range(_IMAGES) for group in groups if turn < len(group)]
    return sorted(turns[:_IMAGES])


# --- drawing -----------------------------------------------------------------------------------------------------------

def draw(shown: Content, path: Path) -> Path:
    """The picture as a PNG of 1600 pixels across."""
    from matplotlib import rc_context

    with rc_context(), drawing(_SIZE[1], shown.title, width=_SIZE[0]) as work:
        figure = work.figure
        left, right = figure.subfigures(1, 2, width_ratios=(1.12, 1), wspace=0.02)
        _accuracies(left.subplots(), shown)
        _maps(right, shown)
        figure.text(0.5, -0.02, f"Claim: “{shown.claim}.”\n{shown.verdict}", ha="center", va="top", fontsize=9, wrap=True,
                    linespacing=1.4)
        figure.savefig(path, dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.12, format="png",
                       metadata={"Software": None})
    return path


def _accuracies(ax, shown: Content) -> None:
    """Accuracy against seconds: seconds on a logarithmic scale, accuracies on one that stretches towards 100 %."""
    for arm, curve in shown.curves.items():
        style = ARM_STYLES[arm]
        ax.plot(curve.seconds, curve.validation, color=style.colour, linestyle=style.dash, linewidth=1.6,
                label=f"{style.label} (n = {curve.runs})")
        ax.plot(*curve.end, color=style.colour, marker=style.marker, markersize=8, markeredgecolor="white", linestyle="none",
                zorder=4)
    for peeked, label in ((False, "published"), (True, "published, stopped on test set")):
        points = [(p.seconds, p.accuracy) for p in shown.published if p.peeked == peeked]
        if points:
            ax.plot(*zip(*points, strict=True), linestyle="none", marker="D", markersize=5.5, color=GREY, label=label,
                    markerfacecolor="white" if peeked else GREY)
    if shown.budget:
        ax.axvline(shown.budget, color="#8a8a8a", linewidth=1, linestyle=(0, (2, 2)))
        ax.annotate(f"budget {shown.budget:g} s", (shown.budget, 0.96), xycoords=("data", "axes fraction"), xytext=(-4, 0),
                    textcoords="offset points", rotation=90, ha="right", va="top", fontsize=8.5, color="#555555")
    ax.set_xscale("log")
    ax.set_yscale("logit")
    heights = [a for curve in shown.curves.values() for a in (*curve.validation, curve.end[1])] + [
        p.accuracy for p in shown.published]
    ticks = [t for t in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998) if min(heights) <= t <= max(heights)]
    ax.set_yticks(ticks, [f"{100 * t:g} %" for t in ticks])
    ax.minorticks_off()
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.tick_params(labelsize=8.5)
    ax.set_xlabel("seconds of training", fontsize=9)
    ax.set_title(f"{shown.title}: accuracy", fontsize=10)
    ax.legend(loc="lower right", bbox_to_anchor=(0.95, 0.02), fontsize=8, handlelength=2)


def _maps(figure, shown: Content) -> None:
    """A column an image: the image, then the map of each arm."""
    axes = figure.subplots(1 + len(ARMS), len(shown.looked), squeeze=False)
    for column, looked in enumerate(shown.looked):
        strips = [(looked.image, looked.label, "#222222")] + [
            (looked.maps[arm], f"{looked.wrong[arm]} ×" if looked.wrong[arm] else "", "#b3261e") for arm in ARMS]
        for row, (picture, title, colour) in enumerate(strips):
            ax = axes[row, column]
            ax.imshow(picture, interpolation="nearest")
            ax.set_title(title, fontsize=8.5, color=colour, loc="center", pad=3, fontweight="normal")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.grid(visible=False)
            for spine in ax.spines.values():
                spine.set_visible(False)
            if column == 0:
                ax.set_ylabel("test image" if row == 0 else ARM_STYLES[ARMS[row - 1]].label.replace(" ", "\n", 1), fontsize=8.5)
