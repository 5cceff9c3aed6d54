"""The compute bound: at the device's peak throughput, how long would a training take, and what share of the peak is reached?

    python -m speedcore study compute-bound --data DIR --recipe page-baseline-no-repeat,page-tricks-no-cutout

The series begins with it: 2.8e9 operations for an image forward and backward, 35 epochs and 125e12 operations a second make 40
seconds, where its first training took 341. Here the operations are counted (`speedcore.planning.flops`), and the peak is the
best rate of
large matrix multiplications that this device was seen to reach in the recipe's precision, with as many threads as torch uses. The
highest one of all calls stands, since whatever else runs only slows them down.

Recipes that are named are timed over a few steps; and every run beside is asked what share it reached, if it was trained on this
device, by the `article` clock (training alone).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from speedcore import stats
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import RecipeError
from speedcore.ladders.scale import Scale
from speedcore.machine import provenance
from speedcore.machine.device import resolve
from speedcore.machine.queue import synchroniser
from speedcore.networks import build, parameter_counts
from speedcore.planning import costs, flops
from speedcore.recipe import Frozen, Recipe
from speedcore.store.fields import Name
from speedcore.store.runs import Run, RunStore
from speedcore.studies import records
from speedcore.studies.records import StudyRecord
from speedcore.training import loop
from speedcore.training.settle import settled

if TYPE_CHECKING:
    from rich.console import Console

NAME, DATASET = "compute-bound", "cifar10"
RECIPES = ("page-baseline-no-repeat", "page-tricks-no-cutout")
SOURCE = "How to train your ResNet, parts 1 and 8"
# What the series says of itself: operations an image forward and backward, epochs, images, the device's operations a second.
THE_SOURCES = {"operations": 2.8e9, "epochs": 35, "images": 50_000, "peak": 125e12, "seconds": 341.0}


class Peak(Frozen):
    """The best throughput seen: operations a second, multiplying square matrices of so many rows."""

    throughput: float
    side: int


class Bound(Frozen):
    """One network in one recipe's hands, on one data set. forward, step: operations for an image.

    images: that all runs together saw, or one training would (`timed`). epochs: of a run, on average. seconds: each run's, or the
    pace of a few steps times their number.
    """

    dataset: str
    recipe: str
    precision: str
    parameters: int
    forward: int
    step: float
    images: float
    epochs: float
    seconds: tuple[float, ...]
    timed: bool
    runs: tuple[Name, ...] = ()

    @property
    def operations(self) -> float:
        """Of one training, on average over runs."""
        return self.step * self.images / len(self.seconds)

    def bound(self, peaks: dict[str, Peak]) -> float:
        """Seconds that one training would take at the peak."""
        return self.operations / peaks[self.precision].throughput

    def share(self, peaks: dict[str, Peak]) -> float:
        """Of the peak, on average over runs."""
        return self.bound(peaks) / stats.mean(self.seconds)


class BoundRecord(StudyRecord):
    """result.json. machine: the device in words; threads: of torch; peaks: by precision, "fp32" or "bf16"."""

    machine: str
    threads: int
    peaks: dict[str, Peak]
    bounds: tuple[Bound, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(key for bound in self.bounds for key in bound.runs)


def peak(device: torch.device, precision: str, sides: Sequence[int] | None = None, seconds: float = 0.6) -> Peak:
    """The best rate of a matrix multiplication on `device`: of each size, for about `seconds`, the fastest.

    sides: rows of the square matrices; by the kind of device where None.
    """
    sides = sides or ((4096, 8192) if device.type == "cuda" else (1024, 2048))
    dtype, wait = torch.bfloat16 if precision == "bf16" else torch.float32, synchroniser(device)
    rates: list[Peak] = []
    for side in sides:
        generator = torch.Generator().manual_seed(side)
        a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
        out = a @ b  # the first one chooses kernels and buffers
        wait()
        watch, laps = Stopwatch(), 0
        while laps < 2 or watch.seconds() < seconds:
            lap = Stopwatch()
            torch.mm(a, b, out=out)
            wait()
            rates.append(Peak(throughput=2 * side**3 / lap.seconds(), side=side))
            laps += 1
    return max(rates, key=lambda found: found.throughput)


def study(dataset: Dataset, recipes: Iterable[Recipe], store: RunStore, device: str, scale: Scale,
          sides: Sequence[int] | None = None) -> tuple[BoundRecord, Path]:
    """Measure the peak, time the recipes and ask the runs beside; returns the result, which is kept, and where it lies.

    dataset: as loaded, whole; the recipes are timed at `scale` on it. Raises RecipeError.
    """
    on, recipes = resolve(device), list(recipes)
    if not recipes:
        raise RecipeError(f"study '{NAME}' needs at least one recipe; name some with --recipe.")
    small = scale.dataset(dataset)
    machine, threads = provenance.describe_device(on), torch.get_num_threads()
    path = records.folder(store, NAME, [machine, threads, small.fingerprint, vars(scale), [r.hash for r in recipes]])
    before = records.read(path, BoundRecord)
    bounds = [timed(small, scale.recipe(recipe), on) for recipe in recipes] + reached(store, machine, threads)
    peaks = dict(before.peaks) if before else {}
    for precision in sorted({bound.precision for bound in bounds}):
        found = peak(on, precision, sides)
        if precision not in peaks or found.throughput > peaks[precision].throughput:
            peaks[precision] = found
    shared = records.common(NAME, small, recipes[0], scale, device)
    record = BoundRecord(**shared, machine=machine, threads=threads, peaks=peaks, bounds=tuple(bounds))
    return record, records.write(path, record)


def timed(small: Dataset, recipe: Recipe, device: torch.device) -> Bound:
    """A recipe at the pace of a few steps. Raises RecipeError if a batch is larger than the training split."""
    recipe = settled(recipe, small, device)
    steps = loop.steps_per_epoch(small, recipe)
    if steps < 1:
        raise RecipeError(f"recipe '{recipe.name}': a batch of {recipe.batch_size} is larger than the training split of "
                          f"{len(small.train)} images; choose a larger --scale or another recipe.")
    seconds = loop.full_steps(small, recipe) * costs.measure(small, recipe, device).step_seconds
    train, _ = loop.hold_out(small.train, recipe.val_images)
    images = recipe.epochs * (len(train) if not recipe.drop_last else steps * recipe.batch_size)
    return _bound(recipe, small.name, small.channels, small.size, len(small.classes), images, recipe.epochs, (seconds,))


def reached(store: RunStore, machine: str, threads: int) -> list[Bound]:
    """The runs beside that were trained on this machine with so many threads.

    Together are those of one data set whose recipes share a name, a network, its precision and the batch: what differs in rates
    or in the number of images does not change how fast a step is.
    """
    groups: dict[tuple[str | int, ...], list[Run]] = {}
    for run in store:
        record, recipe = run.record, run.record.recipe
        if (record.provenance.get("device"), record.provenance.get("threads")) == (machine, threads):
            key = (record.data.name, recipe.name, recipe.network.model_dump_json(), recipe.precision, recipe.batch_size)
            groups.setdefault(key, []).append(run)
    found = []
    for _, runs in sorted(groups.items()):
        record, data = runs[0].record, runs[0].record.data
        found.append(_bound(record.recipe, data.name, data.channels, (data.height, data.width), len(data.classes),
                            sum(_images(run) for run in runs), stats.mean([run.record.epochs for run in runs]),
                            tuple(run.record.clocks["article"] for run in runs), tuple(run.record.key for run in runs)))
    return found


def _images(run: Run) -> float:
    """That a run's training saw, each as often as it was seen."""
    record = run.record
    keeps = not record.recipe.drop_last
    return record.epochs * record.data.train_images if keeps else record.steps * record.recipe.batch_size


def _bound(recipe: Recipe, dataset: str, channels: int, size: tuple[int, int], classes: int, images: float, epochs: float,
           seconds: tuple[float, ...], runs: tuple[str, ...] = ()) -> Bound:
    work = flops.of_recipe(recipe, channels, size, classes)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        parameters = parameter_counts(build(recipe.network, channels, size, classes))
    return Bound(dataset=dataset, recipe=recipe.name, precision=recipe.precision,
                 parameters=parameters["trainable"], forward=work.forward, step=work.step, images=images, epochs=epochs,
                 seconds=seconds, timed=not runs, runs=runs)


def readings(record: BoundRecord) -> tuple[str, ...]:
    """What was found, in sentences: of each recipe that was timed, of the runs beside, and of the source's own bound."""
    said = []
    for bound in record.bounds:
        if bound.timed:
            said.append(f"At 100 % efficiency {bound.recipe} ({bound.epochs:.3g} epochs of {bound.dataset}, "
                        f"{amount(bound.operations)} in {bound.precision}) takes {_seconds(bound.bound(record.peaks))} "
                        f"on this device; at the pace of a few steps {_seconds(stats.mean(bound.seconds))}, "
                        f"{100 * bound.share(record.peaks):.3g} % of the peak.")
    shares = [bound.share(record.peaks) for bound in record.bounds if not bound.timed]
    if shares:
        runs = sum(len(bound.runs) for bound in record.bounds)
        said.append(f"The {runs} {'run' if runs == 1 else 'runs'} beside reached {100 * min(shares):.3g} to "
                    f"{100 * max(shares):.3g} % of the peak, by recipe.")
    own = THE_SOURCES
    seconds = own["operations"] * own["epochs"] * own["images"] / own["peak"]
    said.append(f"The source’s own bound is {seconds:.3g} s on a V100 ({amount(own['operations'])} an image, "
                f"{amount(own['peak'])} a second), where its first training took {own['seconds']:g} s: "
                f"{100 * seconds / own['seconds']:.2g} % of the peak.")
    return tuple(said)


def amount(operations: float) -> str:
    """To three digits, with the prefix that keeps it between 1 and 1000: "2.76 GFLOP"."""
    power = min(5, max(0, math.floor(math.log10(operations) / 3 + 1e-9))) if operations > 0 else 0
    return f"{operations / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P')[power]}FLOP"


def _seconds(seconds: float) -> str:
    return costs.duration(seconds)


def show(record: BoundRecord, out: Console) -> None:
    """Print the peaks, one row a recipe, and what was found."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("recipe", no_wrap=True)
    table.add_column("data set")
    for heading in ("epochs", "parameters", "an image", "in all", "bound s", "measured s", "share %", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for bound in record.bounds:
        table.add_row(bound.recipe, bound.dataset, f"{bound.epochs:.3g}", f"{bound.parameters:,}", amount(bound.step),
                      amount(bound.operations), f"{bound.bound(record.peaks):.3g}",
                      f"{stats.mean(bound.seconds):.3g}", f"{100 * bound.share(record.peaks):.3g}",
                      "timed" if bound.timed else str(len(bound.seconds)))
    out.print(f"{record.machine}, {record.threads} {'thread' if record.threads == 1 else 'threads'}; peak "
              + ", ".join(f"{amount(peak.throughput)}/s in {precision} (matrices of {peak.side} rows)"
                          for precision, peak in record.peaks.items())
              + f". Recipes were timed {record.scaled.text}.", markup=False, soft_wrap=True)
    out.print(table)
    for sentence in (*readings(record), *record.left_out):
        out.print(sentence, markup=False, soft_wrap=True)
