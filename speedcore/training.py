"""The training loop, top to bottom.

A run: prepare the data on the device, build the network from its seed, warm up, then step until the pace says that
the run has landed; look at validation images on the way; test once; write the run.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

from speedcore import averaging, evaluate, optimizers, provenance
from speedcore.allocator import keep_memory
from speedcore.augment import Normalise
from speedcore.clock import POLICIES, Budget, Ledger, Phase, Stopwatch
from speedcore.data import batches as data_path
from speedcore.data.dataset import Dataset, Part, Split
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.errors import BudgetError
from speedcore.memory import PeakMemory
from speedcore.networks import build, parameter_counts
from speedcore.peeking import Peeks
from speedcore.recipe import Recipe
from speedcore.runs import DataRecord, Metrics, PeekRecord, ReplanRecord, Run, RunRecord, RunStore
from speedcore.schedule import Pace, Replan, interpolate

# Whitening filters settle long before this many images have been seen.
_WHITENING_IMAGES, _WHITENING_BATCH = 5000, 100


@dataclass(frozen=True)
class Job:
    """One run to train.

    limit: seconds that training may take under the budget's rule; at most `budget.seconds`, less where a build
    shares its time among many runs. steps: how many to take (None: all epochs). wanted: how many the recipe would
    take given time. replay: the re-plans of a recorded run, to train its weights again exactly.
    """

    key: str
    recipe: Recipe
    arm: str
    seed: int
    budget: Budget
    limit: float
    steps: int
    wanted: int
    stretch: bool = False
    replay: tuple[Replan, ...] | None = None


@dataclass(frozen=True)
class Moment:
    """What an observer is told, a few times a second."""

    key: str
    step: int
    steps: int
    seconds: float
    limit: float
    loss: float


Observer = Callable[[Moment], None]


@dataclass
class History:
    """Columns of steps.csv and epochs.csv. Device scalars stay on the device until the end."""

    lr: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    loss: list[torch.Tensor] = field(default_factory=list)
    accuracy: list[torch.Tensor] = field(default_factory=list)
    looks: list[tuple] = field(default_factory=list)

    def steps(self, steps_per_epoch: int) -> dict[str, list]:
        loss, accuracy = (torch.stack(v).float().tolist() for v in (self.loss, self.accuracy))
        count = range(1, len(loss) + 1)
        return {"step": list(count), "epoch": [round(i / steps_per_epoch, 6) for i in count], "lr": self.lr,
                "loss": loss, "accuracy": accuracy, "seconds": self.seconds}

    def epochs(self, columns: dict[str, list], steps_per_epoch: int) -> dict[str, list]:
        """One row a look: validation, beside the mean training loss and accuracy since the look before."""
        names = ("step", "epoch", "progress", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
        rows, before = [], 0
        for step, progress, accuracy, loss in self.looks:
            mean = [sum(columns[c][before:step]) / max(1, step - before) for c in ("loss", "accuracy")]
            rows.append((step, round(step / steps_per_epoch, 6), progress, *mean, loss, accuracy))
            before = step
        return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def hold_out(split: Split, count: int) -> tuple[Split | Part, Split | None]:
    """(training, validation): `count` images set aside, the same in every run whatever its seed."""
    count = min(count, len(split) // 10)
    if count == 0:
        return split, None
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0x5EED))
    return Part(split, order[count:].sort().values), split.take(order[:count].sort().values)


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Batches in one pass over the images that training may see."""
    held_out = min(recipe.validation, len(dataset.train) // 10)
    return data_path.count(len(dataset.train) - held_out, recipe.batch_size, recipe.last_batch)


def full_steps(dataset: Dataset, recipe: Recipe) -> int:
    """Steps in all the epochs that the recipe wants."""
    return max(1, round(recipe.epochs * steps_per_epoch(dataset, recipe)))


class Trainee:
    """A network with what steps it: built from a seed, on a device, in the recipe's precision."""

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device):
        self.recipe, self.device = recipe, device
        if device.type == "cpu":
            keep_memory()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU as well
            network = build(recipe.network, dataset.channels, dataset.size, len(dataset.classes))
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        dtype = torch.bfloat16 if recipe.precision == "bf16-weights" else torch.float32
        self.network = network.to(device, memory_format=self.layout)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Running statistics in bf16 may lose the updates that matter: fp32 unless a recipe insists.
                module.to(torch.bfloat16 if recipe.norm_precision == "bf16" else torch.float32)
            else:
                for parameter in module.parameters(recurse=False):
                    parameter.data = parameter.data.to(dtype)
        self.normalise = Normalise.of(dataset)
        self.optimizer = optimizers.make(recipe.optimizer, self.network)
        self.parameters = parameter_counts(self.network)  # now: what is trained for a while only is frozen at the end

    def whiten(self, train: Split | Part) -> None:
        """Set data-dependent filters, where the network has any, from the first training images."""
        if hasattr(self.network, "prepare"):
            most = min(len(train), getattr(self.network, "whitening_images", _WHITENING_IMAGES))
            first = torch.arange(most).split(_WHITENING_BATCH)
            self.network.prepare(self.normalise(train.take(rows).images.to(self.device)) for rows in first)

    def gradients(self, images, labels) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward and backward of one batch: (mean loss, accuracy) as device scalars."""
        images = images.to(self.device)
        x = (images if images.is_floating_point() else self.normalise(images)).to(memory_format=self.layout)
        with evaluate.autocast(self.recipe.precision, self.device):
            logits = self.network(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        # Rates are for a mean loss: a sum over a batch that is not full is worth the share of it that there is.
        share = len(labels) / self.recipe.batch_size if self.recipe.loss == "sum" else 1
        (loss if share == 1 else share * loss).backward()
        return loss.detach(), (logits.detach().argmax(1) == labels).float().mean()

    def step(self, images, labels, factor: float, progress: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """One optimiser step at `factor` times the peak rates; parts with a schedule of their own look at `progress`."""
        seen = self.gradients(images, labels)
        self.optimizer.step(factor, progress)
        return seen

    def throwaway(self) -> Trainee:
        """A copy that may be trained and dropped: this network and its optimiser stay as they are."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network)
        other.optimizer = optimizers.make(self.recipe.optimizer, other.network)
        return other

    def logits(self, images, views=None) -> torch.Tensor:
        # On a CPU not in larger batches than training's: a look must not be what sets the peak of memory.
        return evaluate.logits(self.network, images, self.normalise, precision=self.recipe.precision,
                               channels_last=self.recipe.channels_last, views=views,
                               batch_size=2000 if self.device.type == "cuda" else min(250, self.recipe.batch_size))


def synchroniser(device: torch.device) -> Callable[[], None]:
    """Waits for the device's queue; nothing to wait for on a CPU."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def train(dataset: Dataset, job: Job, store: RunStore, device: torch.device | str = "cpu",
          observer: Observer | None = None) -> Run:
    """Train `job` on `dataset`, test it once and write the run. Returns the finished run.

    Raises BudgetError if the budget cannot hold one step, DataError or RunError if files cannot be had or written.
    """
    device, recipe = torch.device(device), job.recipe
    if job.steps < 1:
        raise _too_small(job)
    ledger = Ledger(synchroniser(device), carried=dataset.provenance.seconds)
    peak = PeakMemory(device)
    with ExitStack() as cleanup:
        with ledger.phase(Phase.PREPARE):
            train_split, validation = hold_out(dataset.train, recipe.validation)
            batches = data_path.of_recipe(recipe, train_split.to(device), job.seed, Normalise.of(dataset))
        with ledger.phase(Phase.BUILD):
            trainee = Trainee(dataset, recipe, job.seed, device)
        with ledger.phase(Phase.PREPARE):
            trainee.whiten(train_split)
        if recipe.data == "precomputed":
            with ledger.phase(Phase.PRECOMPUTE):
                folder = store.root / f".precomputed-{job.key}"
                batches = cleanup.enter_context(PrecomputedEpochs(batches, job.steps, folder))
        with ledger.phase(Phase.WARM_UP):
            warm_up(trainee, batches)
            ahead = still_to_come(trainee, dataset.test, validation) if job.budget.policy.counts(Phase.TEST) else (0.0, 0.0)
        peeks = Peeks(trainee, dataset.test, recipe.peek, batches.steps_per_epoch) if recipe.peek else None
        pace, history = fit(trainee, batches, validation, job, ledger, observer, ahead, peeks)
        with ledger.phase(Phase.TEST):
            seen = peeks.after(pace.done) if peeks else None
            plain = trainee.logits(dataset.test.images) if seen is None else seen
        predictions = {"labels": dataset.test.labels.numpy(), "logits": plain.cpu().numpy()}
        tta = None
        if recipe.test_time.any:
            with ledger.phase(Phase.TTA):
                further = trainee.logits(dataset.test.images, recipe.test_time)
                both = evaluate.with_views(plain, further, recipe.test_time)
            predictions["tta_logits"] = both.cpu().numpy()
            tta = evaluate.score(both, dataset.test.labels)[0]
        peak_bytes = peak.bytes()

    with ledger.phase(Phase.SAVE):
        weights = {name: t.detach().float().cpu() if t.is_floating_point() else t.detach().cpu()
                   for name, t in trainee.network.state_dict().items()}
        columns = history.steps(batches.steps_per_epoch)
        epochs = history.epochs(columns, batches.steps_per_epoch)
        accuracy, loss = evaluate.score(plain, dataset.test.labels)
    last = max(1, len(columns["loss"]) // 20)
    metrics = Metrics(test_accuracy=accuracy, test_loss=loss, tta_accuracy=tta,
                      train_accuracy=sum(columns["accuracy"][-last:]) / last,
                      train_loss=sum(columns["loss"][-last:]) / last,
                      validation_accuracy=epochs["validation_accuracy"][-1] if validation else None)
    seconds = ledger.seconds()
    factor = interpolate(recipe.schedule.knots, pace.progress, recipe.schedule.shape)
    record = RunRecord(
        key=job.key, data=data_record(dataset, len(train_split), len(validation or ())), arm=job.arm, recipe=recipe,
        recipe_hash=recipe.hash, seed=job.seed, budget_seconds=_finite(job.budget.seconds),
        budget_policy=job.budget.policy.name, limit_seconds=_finite(job.limit), steps=pace.done, planned_steps=job.steps,
        steps_per_epoch=batches.steps_per_epoch, epochs=pace.done / batches.steps_per_epoch,
        final_lr=trainee.optimizer.lr * factor, final_factor=factor,
        replans=tuple(ReplanRecord(**vars(r)) for r in pace.replans),
        peeks=tuple(PeekRecord(step=step, accuracy=share) for step, share in (peeks.seen if peeks else ())),
        parameters=trainee.parameters,
        ledger=seconds, clocks={name: policy.seconds(seconds) for name, policy in POLICIES.items()}, metrics=metrics,
        peak_memory_bytes=peak_bytes, weights_sha256=digest(weights), device=device.type,
        provenance=provenance.collect(device))
    return store.save(record, columns, epochs, weights, predictions)


def replay(recorded: Run, dataset: Dataset, store: RunStore, device: torch.device | str | None = None) -> Run:
    """Train a recorded run again exactly: its seed, its steps, its re-plans, no clock. Returns the new run.

    On the same kind of machine, with the same thread count and libraries, the weights agree to the bit.
    """
    record = recorded.record
    changes = tuple(Replan(**change.model_dump()) for change in record.replans)
    job = Job(record.key, record.recipe, record.arm, record.seed, Budget(math.inf, POLICIES[record.budget_policy]),
              math.inf, record.planned_steps, record.planned_steps, replay=changes)
    return train(dataset, job, store, device or record.device)


def warm_up(trainee: Trainee, batches) -> None:
    """One discarded step (three on a GPU): kernels are chosen and buffers allocated before the clock counts."""
    other = trainee.throwaway()
    other.network.train()
    for _, (images, labels) in zip(range(3 if trainee.device.type == "cuda" else 1), batches, strict=False):
        other.step(images, labels, factor=0.1)


def still_to_come(trainee: Trainee, test: Split, validation: Split | None) -> tuple[float, float]:
    """Seconds, a little too many, of one look and of everything after training: for strict clocks."""
    images = test.images[:500]
    trainee.logits(images)  # the first pass at a shape chooses kernels
    watch = Stopwatch()
    trainee.logits(images)
    synchroniser(trainee.device)()
    each = 1.2 * watch.seconds() / len(images)
    looked_at = len(validation or ()) + (len(test) if trainee.recipe.peek else 0)
    return each * looked_at, each * len(test) * trainee.recipe.test_time.count + 0.5


def fit(trainee: Trainee, batches, validation: Split | None, job: Job, ledger: Ledger, observer: Observer | None,
        ahead: tuple[float, float] = (0.0, 0.0), peeks: Peeks | None = None) -> tuple[Pace, History]:
    """Step until the pace has landed. The network leaves holding the weights to be tested, in eval mode.

    ahead: seconds that a look and everything after training take away from the limit. peeks: looks at the test set that
    may end training, for recipes that ask for them.
    """
    recipe, network = trainee.recipe, trainee.network
    knots, shape = recipe.schedule.knots, recipe.schedule.shape
    used, (look_seconds, rest_seconds) = ledger.elapsed(job.budget.policy), ahead
    if used + look_seconds + rest_seconds >= job.limit:
        raise _too_small(job)
    replaying = job.replay is not None
    pace = Pace(job.steps, math.inf if replaying else job.limit, job.wanted, job.stretch and recipe.data == "device")
    changes = {r.step: r for r in job.replay or ()}
    averages = averaging.make(network, recipe)
    history, stream = History(), iter(batches)
    looks = _look_points(job.steps, batches.steps_per_epoch)
    # On a GPU the host runs ahead of the device: look at the clock only now and then, after waiting for the queue.
    every = 1 if trainee.device.type == "cpu" else max(1, job.steps // 100)
    network.train()
    with ledger.phase(Phase.TRAIN):
        before, seen = used, 0
        while not pace.finished:
            progress = pace.advance()
            factor = interpolate(knots, progress, shape)
            images, labels = next(stream)
            loss, accuracy = trainee.step(images, labels, factor, progress)
            for average in averages:
                average.update(pace.done, progress)
            history.loss.append(loss)
            history.accuracy.append(accuracy)
            history.lr.append(trainee.optimizer.lr * factor)
            if pace.done in changes:
                pace.steps = changes[pace.done].steps_after
                pace.replans.append(changes[pace.done])
            looking = bool(looks) and progress >= looks[0] - 1e-9 and not pace.finished
            if pace.done % every == 0 or pace.due or looking:
                synchroniser(trainee.device)()
                now = ledger.elapsed(job.budget.policy)
                if not replaying:
                    looks_left = min(len(looks), pace.steps - pace.done) + 1
                    pace.look(now + look_seconds * looks_left + rest_seconds, now - before, pace.done - seen)
                before, seen = now, pace.done
                if observer:
                    observer(Moment(job.key, pace.done, pace.steps, now, job.limit, loss.item()))
            history.seconds.append(round(before, 6))
            if looking:
                looks = [p for p in looks if p - 1e-9 > progress]
                _look(trainee, validation, pace, history, ledger)
                before = ledger.elapsed(job.budget.policy)
            if peeks and peeks.due(pace.done):
                with ledger.phase(Phase.TEST):
                    if peeks.enough(pace.done):
                        pace.stop()
                before = ledger.elapsed(job.budget.policy)
    for average in averages:
        average.install()
    _look(trainee, validation, pace, history, ledger)
    network.eval()
    return pace, history


def _look_points(steps: int, steps_per_epoch: int) -> list[float]:
    """Progress at which validation is looked at: each epoch, but at least 8 times and at most 40."""
    count = min(max(8, round(steps / steps_per_epoch)), 40, steps)
    return [i / count for i in range(1, count)]


def _look(trainee: Trainee, validation: Split | None, pace: Pace, history: History, ledger: Ledger) -> None:
    with ledger.phase(Phase.VALIDATE):
        accuracy = loss = math.nan
        if validation is not None:
            accuracy, loss = evaluate.score(trainee.logits(validation.images), validation.labels)
        history.looks.append((pace.done, pace.progress, accuracy, loss))


def data_record(dataset: Dataset, training: int, validation: int) -> DataRecord:
    """What a run remembers of its data set; training and validation are image counts."""
    origin = dataset.provenance
    height, width = dataset.size
    return DataRecord(name=dataset.name, fingerprint=origin.sha256, source=origin.source, official=origin.official,
                      note=origin.note, classes=dataset.classes, channels=dataset.channels, height=height, width=width,
                      train_images=training, validation_images=validation, test_images=len(dataset.test),
                      mean=dataset.mean, std=dataset.std)


def digest(weights: dict) -> str:
    """sha256 over names and bytes: two networks with the same digest are the same to the bit."""
    total = hashlib.sha256()
    for name, tensor in weights.items():
        total.update(name.encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def _too_small(job: Job) -> BudgetError:
    return BudgetError(f"{job.key}: a budget of {job.limit:g} s ({job.budget.policy.name} clock) is too small for one step "
                       f"of recipe '{job.recipe.name}' on this machine; raise --budget or choose a smaller recipe.")


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds


__all__ = ["Job", "Moment", "Trainee", "fit", "full_steps", "hold_out", "replay", "steps_per_epoch", "train", "warm_up"]
