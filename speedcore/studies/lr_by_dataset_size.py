"""Learning rate by training-set size, the first experiment of the series' second part: the loss after a fixed number of epochs,
against the rate, a curve for each of four sizes.

    python -m speedcore study lr-by-dataset-size --data DIR --scale data=0.1,epochs=0.3,width=0.25

What limits the rate? The curvature of the loss would do so at the same rate whatever the size of the set. Forgetting would do so
sooner the larger the set is: by the time an image comes again, more steps have been taken since. The source trains an eighth, a
quarter, half and all of CIFAR-10 at 1/8 to 16 times the rate that it had found, and sees the loss of the larger sets rise
earlier; at about 8 times curvature ends it for all.

The source says neither of how many epochs nor of what schedule: here the rate rises over five of thirty epochs and then stays.
The network and batch are those of part 1, crop and flip. Smaller sets are parts of the larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from speedcore import stats
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.errors import DivergedError
from speedcore.ladders.scale import Scale
from speedcore.machine.device import resolve
from speedcore.planning.rounds import Training, check_steps, in_rounds
from speedcore.recipe import Frozen, Recipe
from speedcore.store.fields import Count, Name, Seed, Share
from speedcore.store.runs import RunStore
from speedcore.studies import records
from speedcore.studies.constant_rate import at_constant_rate
from speedcore.studies.findings import RULE, Finding, Question, answer
from speedcore.studies.records import StudyRecord
from speedcore.training.callback import Callback

if TYPE_CHECKING:
    from rich.console import Console

NAME, RECIPE, DATASET = "lr-by-dataset-size", "page-baseline-main-thread", "cifar10"
SHARES = (0.125, 0.25, 0.5, 1.0)
FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SOURCE = "How to train your ResNet, part 2: mini-batches"


class Point(Frozen):
    """One run: losses (nats, an image) at its end, in training and on the test images; accuracy as a share of 1.

    Where training diverged there is no run: its key is empty, the losses are infinite, the accuracy is 0. seconds: what it took.
    """

    images: Count
    factor: float
    seed: Seed
    run: Name | Literal[""]
    train_loss: float
    test_loss: float
    accuracy: Share
    seconds: float = 0.0

    def failed(self, classes: int) -> bool:
        """Whether training ended no better than by guessing."""
        return not self.train_loss < math.log(classes)


class SizeRecord(StudyRecord):
    """result.json. rate: the recipe's peak, of which factors are multiples."""

    rate: float
    factors: tuple[float, ...]
    points: tuple[Point, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(sorted({p.images for p in self.points}))

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(p.run for p in self.points if p.run)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        return _findings(self)

    def at(self, images: int, factor: float) -> tuple[Point, ...]:
        """The points of all seeds."""
        return tuple(p for p in self.points if (p.images, p.factor) == (images, factor))

    def best(self, images: int) -> dict[int, float]:
        """seed -> log2 of the factor at which a set of that size is left with the least test loss, of seeds with all factors.

        Losses far beyond guessing's count as twice its: how far a training failed says nothing about where the least one is.
        """
        found, most = {}, 2 * math.log(self.classes)
        for seed in sorted({p.seed for p in self.points}):
            losses = [min(p.test_loss, most) if math.isfinite(p.test_loss) else most
                      for factor in self.factors for p in self.at(images, factor) if p.seed == seed]
            if len(losses) == len(self.factors):
                found[seed] = least(self.factors, losses)
        return found


def study(dataset: Dataset, recipe: Recipe, store: RunStore, device: str, scale: Scale, seeds: int | None = None,
          within: float | None = None, callback: Callback | None = None, factors: Sequence[float] = FACTORS,
          shares: Sequence[float] = SHARES) -> tuple[SizeRecord, Path]:
    """Train what is missing and keep the result; returns it and where it lies.

    dataset: as loaded, whole. recipe: as it is known, whole; factors multiply its peak rates. Raises RecipeError for a scale
    that leaves nothing to train.
    """
    factors, shares = tuple(sorted(set(factors))), tuple(sorted(set(shares)))
    sets = {share: Scale(data=scale.data * share).dataset(dataset) for share in shares}
    recipes = {factor: scale.recipe(at_constant_rate(recipe, factor)) for factor in factors}
    check_steps(NAME, sets[shares[0]], recipes[factors[0]])
    tasks = {f"{len(small.train)} images at {factor:g} times the rate":
             Trial(Training(small, recipes[factor], store, device, callback), factor)
             for small in sets.values() for factor in factors}
    whole = sets[shares[-1]]
    asked = [recipe.hash, vars(scale), whole.fingerprint, resolve(device).type, factors, shares]
    path = records.folder(store, NAME, asked)
    before = records.read(path, SizeRecord)
    points = {(p.images, p.factor, p.seed): p for p in before.points} if before else {}
    shared = records.common(NAME, whole, recipe, scale, device)

    def keep(found: dict[str, list[Point]], left_out: tuple[str, ...]) -> None:
        points.update({(p.images, p.factor, p.seed): p for of_name in found.values() for p in of_name})
        records.write(path, SizeRecord(**shared, rate=recipe.optimizer.lr, factors=factors, left_out=left_out,
                                       points=tuple(points[key] for key in sorted(points))))

    in_rounds(tasks, seeds, within, keep)
    return records.just_kept(path, SizeRecord), path / "result.json"


def count(factors: Sequence[float] = FACTORS, shares: Sequence[float] = SHARES) -> int:
    """Runs of one seed."""
    return len(set(factors)) * len(set(shares))


@dataclass(frozen=True)
class Trial:
    """A task: a run, or the answer that training diverges at that rate."""

    training: Training
    factor: float

    def exists(self, seed: int) -> bool:
        return self.training.exists(seed)

    def seconds(self, result: Point) -> float:
        return result.seconds

    def do(self, seed: int) -> Point:
        watch, images = Stopwatch(), len(self.training.dataset.train)
        try:
            run = self.training.do(seed)
        except DivergedError:
            return Point(images=images, factor=self.factor, seed=seed, run="", train_loss=math.inf, test_loss=math.inf,
                         accuracy=0.0, seconds=watch.seconds())
        metrics = run.record.metrics
        return Point(images=images, factor=self.factor, seed=seed, run=run.record.key, train_loss=metrics.train_loss,
                     test_loss=metrics.test_loss, accuracy=metrics.test_accuracy, seconds=self.training.seconds(run))


def least(factors: Sequence[float], losses: Sequence[float]) -> float:
    """log2 of the factor of least loss: the vertex of the parabola through the least one and its neighbours.

    The least one itself where it stands at an end.
    """
    x, i = [math.log2(factor) for factor in factors], losses.index(min(losses))
    if not 0 < i < len(x) - 1:
        return x[i]
    curvature, slope, _ = np.polyfit(np.subtract(x[i - 1:i + 2], x[i]), losses[i - 1:i + 2], 2)
    return x[i] - slope / (2 * curvature) if curvature > 1e-12 else x[i]


def _findings(record: SizeRecord) -> tuple[Finding, ...]:
    """Whether larger sets are best served by lower rates: the slope over sizes of each seed's best rate."""
    best = {images: record.best(images) for images in record.sizes}
    seeds = set.intersection(*(set(found) for found in best.values())) if len(best) > 1 else set()
    x = [math.log2(images) for images in record.sizes]
    falls = tuple(-float(np.polyfit(x, [best[images][seed] for images in record.sizes], 1)[0]) for seed in sorted(seeds))
    return answer([Question("the larger the training set, the lower the rate of least test loss",
                            "doublings by which that rate falls with each doubling of the set", falls, digits=2)])


def readings(record: SizeRecord) -> tuple[str, ...]:
    """What the curves show beside the finding, in sentences."""
    best = {images: stats.mean(list(found.values())) for images in record.sizes if (found := record.best(images))}
    said = []
    if best:
        said.append("The test loss is least at " + ", ".join(f"{2**x:.2g} times the rate for {images:,} images"
                                                             for images, x in best.items()) + " (means over seeds).")
    failed = {factor: [p.failed(record.classes) for p in record.points if p.factor == factor] for factor in record.factors}
    ended = [f"{sum(at)} of {len(at)} runs at {factor:g} times the rate" for factor, at in failed.items() if any(at)]
    said.append(f"No better than guessing ended {', '.join(ended)}; the source sees curvature take over at about 8 times."
                if ended else f"No run up to {max(record.factors):g} times the rate ended at a training loss no better than that "
                              f"of guessing; the source sees curvature take over at about 8 times.")
    return tuple(said)


def loss_text(points: Sequence[Point]) -> str:
    """Mean ± sd of the test loss over seeds; of losses far beyond guessing's only how large."""
    losses = [p.test_loss for p in points]
    if not losses:
        return "–"
    if not all(map(math.isfinite, losses)):
        return "no number"
    mean, spread = stats.mean(losses), stats.sd(losses)
    return f"{mean:.1e}" if mean >= 100 else f"{mean:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def show(record: SizeRecord, out: Console) -> None:
    """Print one row a size, one column a rate, and what was found."""
    from rich.table import Table

    table = Table("images", *(f"×{factor:g}" for factor in record.factors), box=None, header_style="bold", pad_edge=False)
    for images in record.sizes:
        table.add_row(f"{images:,}", *(loss_text(record.at(images, factor)) for factor in record.factors))
    out.print(f"Test loss (nats) by training-set size and multiple of the rate {record.rate:g}, {record.caption}.", markup=False,
              soft_wrap=True)
    out.print(table)
    for sentence in (*(finding.sentence for finding in record.findings), *readings(record), f"{RULE}.", *record.left_out):
        out.print(sentence, markup=False, soft_wrap=True)
