"""The training loop, top to bottom.

A run: prepare the data on the device, build the network from its seed, warm up, then step until the pace says that
the run has landed; look at validation images on the way; test once; write the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch

from speedcore.clock import POLICIES, Budget, Ledger, Phase
from speedcore.data import batches as data_path
from speedcore.data.dataset import Dataset, Part, Split
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.errors import BudgetError
from speedcore.machine import gpu, provenance
from speedcore.machine.device import resolve
from speedcore.machine.memory import PeakMemory
from speedcore.machine.queue import synchroniser
from speedcore.planning.settle import settle
from speedcore.recipe import Recipe
from speedcore.replicas.peeking import Peeks
from speedcore.store.runs import DataRecord, Metrics, PeekRecord, ReplanRecord, Run, RunRecord, RunStore, digest
from speedcore.techniques.augment import Normalise
from speedcore.techniques.hooks import Techniques
from speedcore.training import evaluate, health
from speedcore.training.history import History
from speedcore.training.schedule import Replan, StepBudget, interpolate
from speedcore.training.seeding import seeded
from speedcore.training.state import TrainState, still_to_come, warm_up

# The key of a run that is trained again.
REPLAYED = "replayed"


@dataclass(frozen=True)
class Job:
    """One run to train.

    limit: seconds that training may take under the budget's rule; at most `budget.seconds`, less where a build
    shares its time among many runs. steps: how many to take (None: all epochs). wanted: how many the recipe would
    take given time. arithmetic: why the recipe's precision is what it is, in a sentence. replay: the re-plans of a
    recorded run, to train its weights again exactly.
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
    arithmetic: str = ""
    replay: tuple[Replan, ...] | None = None


@dataclass(frozen=True)
class ProgressEvent:
    """What an observer is told, a few times a second."""

    key: str
    step: int
    steps: int
    seconds: float
    limit: float
    loss: float


Observer = Callable[[ProgressEvent], None]


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


def train(dataset: Dataset, job: Job, store: RunStore, device: torch.device | str = "auto",
          observer: Observer | None = None) -> Run:
    """Train `job` on `dataset`, test it once and write the run. Returns the finished run.

    A recipe whose precision is "auto" is settled first; the run's record holds what it came to.

    Raises BudgetError if the budget cannot hold one step, DivergedError if a loss or an answer is no finite number (nothing is
    written then), DataError or RunError if files cannot be had or written.
    """
    device = resolve(device)
    if job.recipe.precision == "auto":
        found = settle(job.recipe, dataset, device)
        job = replace(job, recipe=found.recipe, arithmetic=found.why)
    recipe = job.recipe
    if job.steps < 1:
        raise _too_small(job)
    store.check_names(job.key, job.arm, dataset.name)  # before anything is trained that could not be kept
    ledger = Ledger(synchroniser(device), carried=dataset.provenance.seconds)
    peak = PeakMemory(device)
    with ExitStack() as cleanup:
        cleanup.enter_context(gpu.tuned(device))
        with ledger.phase(Phase.PREPARE):
            train_split, validation = hold_out(dataset.train, recipe.validation)
            batches = data_path.of_recipe(recipe, train_split.to(device), job.seed, Normalise.of(dataset))
            # What is looked at again and again travels once.
            test, validation = dataset.test.to(device), validation and validation.to(device)
        with ledger.phase(Phase.BUILD):
            trainee = TrainState(dataset, recipe, job.seed, device)
        if recipe.custom:
            # Its network may draw as it trains (torch's own dropout does), and so may whatever else it brings.
            cleanup.enter_context(seeded(job.seed, device))
        with ledger.phase(Phase.PREPARE):
            trainee.whiten(train_split)
        if recipe.data == "precomputed":
            with ledger.phase(Phase.PRECOMPUTE):
                folder = cleanup.enter_context(store.scratch())
                batches = cleanup.enter_context(PrecomputedEpochs(batches, job.steps, folder))
        with ledger.phase(Phase.WARM_UP):
            warm_up(trainee, batches)
            ahead = still_to_come(trainee, test, validation, strict=job.budget.policy.counts(Phase.TEST))
        peeks = Peeks(trainee, test, recipe.peek, batches.steps_per_epoch) if recipe.peek else None
        pace, history = fit(trainee, batches, train_split, validation, job, ledger, observer, ahead, peeks)
        with ledger.phase(Phase.TEST):
            seen = peeks.after(pace.done) if peeks else None
            plain = trainee.logits(test.images) if seen is None else seen
        predictions = {"labels": dataset.test.labels.numpy(), "logits": plain.cpu().numpy()}
        tta = None
        if recipe.test_time.any:
            with ledger.phase(Phase.TTA):
                further = trainee.logits(test.images, recipe.test_time)
                both = evaluate.with_views(plain, further, recipe.test_time)
            predictions["tta_logits"] = both.cpu().numpy()
            tta = evaluate.score(both, test.labels)[0]
        peak_bytes, made_by = peak.bytes(), provenance.collect(device)

    with ledger.phase(Phase.SAVE):
        weights = {name: t.detach().float().cpu() if t.is_floating_point() else t.detach().cpu()
                   for name, t in trainee.network.state_dict().items()}
        columns = history.steps(batches.steps_per_epoch)
        for answers in (name for name in predictions if name != "labels"):
            health.check_logits(job.key, predictions[answers], "test images", columns["loss"], columns["lr"][-1])
        epochs = history.epochs(columns, batches.steps_per_epoch)
        accuracy, loss = evaluate.score(plain, test.labels)
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
        provenance={**made_by, "convolutions": trainee.convolutions,
                    "arithmetic": recipe.precision, "arithmetic_reason": job.arithmetic})
    return store.save(record, columns, epochs, weights, predictions)


def replay(recorded: Run, dataset: Dataset, store: RunStore, device: torch.device | str | None = None) -> Run:
    """Train a recorded run again exactly: its seed, its steps, its re-plans, no clock. Returns the new run, which is called
    "replayed" in `store`: the recorded key is a name, not a place to write to.

    On the same kind of machine, with the same thread count and libraries, the weights agree to the bit.
    """
    record = recorded.record
    changes = tuple(Replan(**change.model_dump()) for change in record.replans)
    job = Job(REPLAYED, record.recipe, record.arm, record.seed, Budget(math.inf, POLICIES[record.budget_policy]),
              math.inf, record.planned_steps, record.planned_steps, replay=changes)
    return train(dataset, job, store, device or record.device)


def fit(trainee: TrainState, batches, train_split: Split | Part, validation: Split | None, job: Job, ledger: Ledger,
        observer: Observer | None, ahead: tuple[float, float] = (0.0, 0.0),
        peeks: Peeks | None = None) -> tuple[StepBudget, History]:
    """Step until the pace has landed. The network leaves holding the weights to be tested, in eval mode.

    train_split: the images as they are, for techniques. ahead: seconds that a look, and everything after the last step,
    take away from the limit. peeks: looks at the test set that may end training, for recipes that ask for them.
    """
    recipe, network = trainee.recipe, trainee.network
    knots, shape = recipe.schedule.knots, recipe.schedule.shape
    used, (look_seconds, rest_seconds) = ledger.elapsed(job.budget.policy), ahead
    if used + look_seconds + rest_seconds >= job.limit:
        raise _too_small(job)
    replaying = job.replay is not None
    pace = StepBudget(job.steps, math.inf if replaying else job.limit, job.wanted, job.stretch and recipe.data == "device")
    changes = {r.step: r for r in job.replay or ()}
    techniques = Techniques(trainee, train_split)
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
            loss, accuracy = trainee.step(techniques.on_images(images, progress), labels, factor, progress)
            techniques.after_step(pace.done, progress)
            history.loss.append(loss)
            history.accuracy.append(accuracy)
            history.lr.append(trainee.optimizer.lr * factor)
            if pace.done in changes:
                pace.steps = changes[pace.done].steps_after
                pace.replans.append(changes[pace.done])
            looking = bool(looks) and progress >= looks[0] - 1e-9 and not pace.finished
            if pace.done % every == 0 or pace.due or looking:
                synchroniser(trainee.device)()
                health.check_losses(job.key, history.loss, history.lr, seen, pace.steps)
                now = ledger.elapsed(job.budget.policy)
                if not replaying:
                    looks_left = min(len(looks), pace.steps - pace.done) + 1
                    pace.look(now + look_seconds * looks_left + rest_seconds, now - before, pace.done - seen)
                before, seen = now, pace.done
                if observer:
                    observer(ProgressEvent(job.key, pace.done, pace.steps, now, job.limit, loss.item()))
            history.seconds.append(round(before, 6))
            if looking:
                looks = [p for p in looks if p - 1e-9 > progress]
                _look(trainee, validation, pace, history, ledger, job.key)
                before = ledger.elapsed(job.budget.policy)
            if peeks and peeks.due(pace.done):
                with ledger.phase(Phase.TEST):
                    if peeks.enough(pace.done):
                        pace.stop()
                before = ledger.elapsed(job.budget.policy)
    with ledger.phase(Phase.TRAIN):
        health.check_losses(job.key, history.loss, history.lr, seen, pace.steps)
        techniques.before_test()
    _look(trainee, validation, pace, history, ledger, job.key)
    network.eval()
    return pace, history


def _look_points(steps: int, steps_per_epoch: int) -> list[float]:
    """Progress at which validation is looked at: each epoch, but at least 8 times and at most 40."""
    count = min(max(8, round(steps / steps_per_epoch)), 40, steps)
    return [i / count for i in range(1, count)]


def _look(trainee: TrainState, validation: Split | None, pace: StepBudget, history: History, ledger: Ledger, key: str) -> None:
    with ledger.phase(Phase.VALIDATE):
        accuracy = loss = math.nan
        if validation is not None:
            accuracy, loss = evaluate.score(trainee.logits(validation.images), validation.labels)
            health.check_number(key, loss, "validation images", pace.done, history.lr[-1])
        history.looks.append((pace.done, pace.progress, accuracy, loss))


def data_record(dataset: Dataset, training: int, validation: int) -> DataRecord:
    """What a run remembers of its data set; training and validation are image counts."""
    origin = dataset.provenance
    height, width = dataset.size
    return DataRecord(name=dataset.name, fingerprint=origin.sha256, source=origin.source, official=origin.official,
                      note=origin.note, classes=dataset.classes, channels=dataset.channels, height=height, width=width,
                      train_images=training, validation_images=validation, test_images=len(dataset.test),
                      mean=dataset.mean, std=dataset.std)


def _too_small(job: Job) -> BudgetError:
    return BudgetError(f"{job.key}: a budget of {job.limit:g} s ({job.budget.policy.name} clock) is too small for one step "
                       f"of recipe '{job.recipe.name}' on this machine; raise --budget or choose a smaller recipe.")


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else seconds


__all__ = ["Job", "ProgressEvent", "fit", "full_steps", "hold_out", "replay", "steps_per_epoch", "train"]
