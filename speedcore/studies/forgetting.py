"""Forgetting, the second experiment of the series' second part: a trained network is shown its last batches again.

    python -m speedcore study forgetting --data DIR --scale data=0.1,epochs=0.5,width=0.25

Three trainings, each with a rate that rises over five epochs and stays for twenty-five: (a) half of the images without
augmentation, (b) all images, augmented, and (c) as (b) at a lower rate. The weights of (b) and (c) are then frozen, and the loss
of the batches of the last epochs is computed once more in the order in which they were trained. The source sees that (a) and (b)
end at the same training loss, as if what a network can hold were limited by what it forgets; that recent batches have a lower
loss than older ones; and that the loss rises more gradually at a lower rate.

The source names no rates: here 4 times and 1 times the recipe's peak. Batches are normalised by their own statistics, as in
training. With its batches an image is augmented just as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from speedcore import stats
from speedcore.data import streams
from speedcore.data.dataset import Dataset
from speedcore.ladders.printing import spread
from speedcore.ladders.scale import Scale
from speedcore.machine.device import resolve
from speedcore.planning.rounds import Training, check_steps, in_rounds
from speedcore.recipe import Frozen, Recipe
from speedcore.store.fields import Count, Name, Seed, Share, Some
from speedcore.store.runs import Run, RunStore
from speedcore.studies import records
from speedcore.studies.constant_rate import at_constant_rate
from speedcore.studies.findings import RULE, Finding, Question, answer
from speedcore.studies.records import StudyRecord
from speedcore.training import evaluate
from speedcore.training.callback import Callback
from speedcore.training.loop import hold_out
from speedcore.training.state import TrainState

if TYPE_CHECKING:
    from rich.console import Console

NAME, RECIPE, DATASET = "forgetting", "page-baseline-main-thread", "cifar10"
HIGH, LOW = 4.0, 1.0
HALF, ALL, ALL_LOW = "half", "all", "all, lower rate"
# Epochs whose batches are shown again, and nats within which two training losses count as equal.
WINDOW, EQUAL = 5, 0.05
SOURCE = "How to train your ResNet, part 2: mini-batches"


class Again(Frozen):
    """Losses of a trained network on the batches of its last epochs, the oldest first."""

    losses: tuple[float, ...]


class Trained(Frozen):
    """One run. curve: mean training loss of each epoch. again: the trained network's loss on each of its last batches, the
    oldest first (none for (a)); then: the loss that training itself saw on them. Nats an image."""

    arm: str
    factor: float
    seed: Seed
    run: Name
    images: Count
    steps_per_epoch: Some
    curve: tuple[float, ...]
    again: tuple[float, ...]
    then: tuple[float, ...]
    test_loss: float
    accuracy: Share

    @property
    def end(self) -> float:
        """Training loss at the end: the mean over the last epochs, at most a third of all."""
        return stats.mean(self.curve[-max(1, min(WINDOW, len(self.curve) // 3)):])

    @property
    def rise(self) -> float:
        """How fast the loss rises with age over the last epoch, the least-squares slope in nats an epoch."""
        last = self.again[-self.steps_per_epoch:]
        ages = np.arange(len(last), 0, -1) / self.steps_per_epoch
        return float(np.polyfit(ages, last, 1)[0]) if len(last) > 1 and np.isfinite(last).all() else math.nan


class ForgettingRecord(StudyRecord):
    """result.json."""

    trained: tuple[Trained, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(t.run for t in self.trained)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        return _findings(self)

    def of(self, arm: str) -> dict[int, Trained]:
        """By seed."""
        return {t.seed: t for t in self.trained if t.arm == arm}


@dataclass(frozen=True)
class Remembering:
    """A task: a run, and its last batches shown again to what it ended with."""

    training: Training
    arm: str
    factor: float

    def _path(self, run: Run) -> Path:
        return records.folder(self.training.store, "losses-again", [run.record.key, run.record.weights_sha256, WINDOW])

    def exists(self, seed: int) -> bool:
        return self.training.exists(seed)

    def seconds(self, result: tuple[Run, Trained]) -> float:
        return self.training.seconds(result[0])

    def do(self, seed: int) -> tuple[Run, Trained]:
        run = self.training.do(seed)
        record = run.record
        again: tuple[float, ...] = ()
        if self.arm != HALF:
            path = self._path(run)
            kept = records.read(path, Again)
            if kept is None:
                kept = Again(losses=tuple(losses_again(run, self.training.dataset, self.training.device)))
                records.write(path, kept)
            again = kept.losses
        epoch = record.steps_per_epoch
        seen = run.steps["loss"]
        curve = tuple(float(part.mean()) for part in np.split(seen, range(epoch, len(seen), epoch)))
        return run, Trained(arm=self.arm, factor=self.factor, seed=seed, run=record.key, images=record.data.train_images,
                            steps_per_epoch=epoch, curve=curve, again=again, then=tuple(seen[len(seen) - len(again):].tolist()),
                            test_loss=record.metrics.test_loss, accuracy=record.metrics.test_accuracy)


@torch.no_grad()
def losses_again(run: Run, dataset: Dataset, device: str, epochs: int = WINDOW) -> list[float]:
    """The loss of the run's network on each batch of its last `epochs`, in the order of training.

    dataset: the one that it was trained on. The stream of batches is that of the run's seed, drawn anew. For runs without an
    average of weights, whose tested weights are those of the last step.
    """
    record, recipe = run.record, run.record.recipe
    train, _ = hold_out(dataset.train, recipe.val_images)
    state = TrainState(dataset, recipe, record.seed, resolve(device))
    state.network.load_state_dict(run.weights())
    state.network.train()
    batches = streams.of_recipe(recipe, train.to(device), record.seed, state.normalise)
    losses = []
    for images, labels in islice(batches, max(0, record.steps - epochs * batches.steps_per_epoch), record.steps):
        x = (images if images.is_floating_point() else state.normalise(images)).to(memory_format=state.layout)
        with evaluate.autocast(recipe.precision, state.device):
            logits = state.network(x)
        losses.append(F.cross_entropy(logits.float(), labels, label_smoothing=recipe.label_smoothing).item())
    return losses


def study(dataset: Dataset, recipe: Recipe, store: RunStore, device: str, scale: Scale, seeds: int | None = None,
          within: float | None = None, callback: Callback | None = None) -> tuple[ForgettingRecord, Path]:
    """Train what is missing, show the last batches again, and keep the result; returns it and where it lies.

    dataset: as loaded, whole. recipe: as it is known, whole. Raises RecipeError for a scale that leaves nothing to train.
    """
    whole, half = scale.dataset(dataset), Scale(data=scale.data / 2).dataset(dataset)
    high, low = (scale.recipe(at_constant_rate(recipe, factor)) for factor in (HIGH, LOW))
    check_steps(NAME, half, high)
    plain = high.without_augmentation()
    tasks = {HALF: Remembering(Training(half, plain, store, device, callback, arm="without"), HALF, HIGH),
             ALL: Remembering(Training(whole, high, store, device, callback), ALL, HIGH),
             ALL_LOW: Remembering(Training(whole, low, store, device, callback), ALL_LOW, LOW)}
    path = records.folder(store, NAME, [recipe.hash, vars(scale), whole.fingerprint, resolve(device).type])
    before = records.read(path, ForgettingRecord)
    trained = {(t.arm, t.seed): t for t in before.trained} if before else {}
    shared = records.common(NAME, whole, recipe, scale, device)

    def keep(found: dict[str, list[tuple[Run, Trained]]], left_out: tuple[str, ...]) -> None:
        trained.update({(arm, one.seed): one for arm, done in found.items() for _, one in done})
        order = sorted(trained, key=lambda key: (list(tasks).index(key[0]), key[1]))
        records.write(path, ForgettingRecord(**shared, left_out=left_out, trained=tuple(trained[key] for key in order)))

    in_rounds(tasks, seeds, within, keep)
    return records.just_kept(path, ForgettingRecord), path / "result.json"


def _findings(record: ForgettingRecord) -> tuple[Finding, ...]:
    """The source's three findings, seed by seed."""
    half, whole, low = (record.of(arm) for arm in (HALF, ALL, ALL_LOW))
    ends = _finite(whole[seed].end - half[seed].end for seed in sorted(whole.keys() & half.keys()))
    rises = _finite(one.rise for _, one in sorted(whole.items()))
    gentler = _finite(whole[seed].rise - low[seed].rise for seed in sorted(whole.keys() & low.keys()))
    return answer([
        Question("half of the images without augmentation and all of them augmented end at the same training loss",
                 "all less half, nats", ends, bound=EQUAL),
        Question("recent batches have a lower loss than older ones",
                 "rise of the loss with a batch’s age, over the last epoch, nats an epoch", rises),
        Question("at a lower rate the loss rises more gradually",
                 "rise at the higher rate less rise at the lower, nats an epoch", gentler)])


def _finite(values: Iterable[float]) -> tuple[float, ...]:
    """Without those of trainings that diverged."""
    return tuple(value for value in values if math.isfinite(value))


def by_age(trained: Sequence[Trained], attribute: str = "again", bins: int = 8) -> list[tuple[float, list[float]]]:
    """(epochs ago, mean loss of each seed) over the last epochs, the oldest first; `bins` to an epoch."""
    found = []
    epoch = min(t.steps_per_epoch for t in trained)
    bins = min(bins, epoch)
    for i in range(bins * min(WINDOW, len(getattr(trained[0], attribute)) // epoch), 0, -1):
        means = []
        for t in trained:
            losses = getattr(t, attribute)
            old, new = (len(losses) - round(age * t.steps_per_epoch / bins) for age in (i, i - 1))
            means.append(stats.mean(losses[old:new]))
        found.append(((i - 0.5) / bins, means))
    return found


def show(record: ForgettingRecord, out: Console) -> None:
    """Print one row a training, and what was found."""
    from rich.table import Table

    table = Table("training", "rate", "images", "training loss", "test loss", "accuracy %", "rise, nats an epoch", "n", box=None,
                  header_style="bold", pad_edge=False)
    for row in rows(record):
        table.add_row(*row)
    out.print(f"Trained at constant rates, {record.caption}; losses in nats.", markup=False, soft_wrap=True)
    out.print(table)
    for sentence in (*(finding.sentence for finding in record.findings), f"{RULE}.", *record.left_out):
        out.print(sentence, markup=False, soft_wrap=True)


def rows(record: ForgettingRecord) -> list[tuple[str, ...]]:
    """One a training: name, rate, images, mean ± sd of its losses, accuracy and rise, number of seeds."""
    found: list[tuple[str, ...]] = []
    for arm in (HALF, ALL, ALL_LOW):
        seeds = list(record.of(arm).values())
        if seeds:
            rise = [t.rise for t in seeds if t.again and math.isfinite(t.rise)]
            found.append((arm, f"{record.recipe.optimizer.lr * seeds[0].factor:g}", f"{seeds[0].images:,}",
                          spread([t.end for t in seeds], 3), spread([t.test_loss for t in seeds], 3),
                          spread([100 * t.accuracy for t in seeds], 2), spread(rise, 3) if rise else "–", str(len(seeds))))
    return found
