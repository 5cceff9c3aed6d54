"""The training loop, top to bottom.

A run: prepare the data on the device, build the network from its seed, warm up, then step until the step budget is spent
and the rate annealed to its end; validate on the way; test once; write the run.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor

from speedcore.clock import POLICIES, WALL, Budget, Clock, Ledger, Phase
from speedcore.data import streams
from speedcore.data.batches import Batches, count
from speedcore.data.dataset import Dataset, Part, Split
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.errors import BudgetError
from speedcore.machine import gpu, provenance
from speedcore.machine.device import resolve
from speedcore.machine.memory import PeakMemory
from speedcore.machine.queue import synchroniser
from speedcore.recipe import Recipe
from speedcore.recipe.schedules import interpolate
from speedcore.replicas.peeking import Peeks
from speedcore.store.runs import DataRecord, Metrics, PeekRecord, ReplanRecord, Run, RunRecord, RunStore, digest
from speedcore.techniques.augment import Normalise
from speedcore.training import evaluate, health
from speedcore.training.callback import Callback, ProgressEvent
from speedcore.training.history import History
from speedcore.training.hooks import Techniques
from speedcore.training.job import Job
from speedcore.training.schedule import Replan, StepBudget
from speedcore.training.seeding import seeded
from speedcore.training.settle import settle
from speedcore.training.state import TrainState, still_to_come, warm_up

# The key of a run that is trained again.
REPLAYED = "replayed"


def hold_out(split: Split, count: int) -> tuple[Split | Part, Split | None]:
    """(training, validation): `count` images set aside, the same in every run whatever its seed."""
    count = min(count, len(split) // 10)
    if count == 0:
        return split, None
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0x5EED))
    return Part(split, order[count:].sort().values), split.take(order[:count].sort().values)


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Batches in one pass over the images that training may see."""
    held_out = min(recipe.val_images, len(dataset.train) // 10)
    return count(len(dataset.train) - held_out, recipe.batch_size, recipe.drop_last)


def full_steps(dataset: Dataset, recipe: Recipe) -> int:
    """Steps in all the epochs that the recipe wants."""
    return max(1, round(recipe.epochs * steps_per_epoch(dataset, recipe)))


def train(dataset: Dataset, job: Job, store: RunStore, device: torch.device | str = "auto",
          callback: Callback | None = None, *, clock: Clock = WALL) -> Run:
    """Train `job` on `dataset`, test it once and write the run. Returns the finished run, of which `callback` is told too.

    A recipe whose precision is "auto" is settled first; the run's record holds what it came to. clock: what the ledger reads, in
    seconds.

    Raises BudgetError if the budget cannot hold one step, DivergedError if a loss or a logit is no finite number (nothing is
    written then), DataError or RunError if files cannot be read or written.
    """
    device, callback = resolve(device), callback or Callback()
    if job.recipe.precision == "auto":
        found = settle(job.recipe, dataset, device)
        job = replace(job, recipe=found.recipe, arithmetic=found.why)
    recipe = job.recipe
    if job.steps < 1:
        raise _too_small(job)
    store.check_names(job.key, job.arm, dataset.name)  # before anything is trained that could not be kept
    callback.on_run_start(job)
    ledger = Ledger(synchroniser(device), carried=dataset.provenance.seconds, clock=clock)
    peak = PeakMemory(device)
    with ExitStack() as cleanup:
        cleanup.enter_context(gpu.tuned(device))
        with ledger.phase(Phase.PREPARE):
            train_split, validation = hold_out(dataset.train, recipe.val_images)
            batches: streams.Stream = streams.of_recipe(recipe, train_split.to(device), job.seed, Normalise.of(dataset))
            # Images that are tested again and again travel once.
            test, validation = dataset.test.to(device), validation and validation.to(device)
        with ledger.phase(Phase.BUILD):
            state = TrainState(dataset, recipe, job.seed, device)
        if recipe.custom:
            # Its network may draw as it trains (torch's own dropout does), and so may whatever else it brings.
            cleanup.enter_context(seeded(job.seed, device))
        with ledger.phase(Phase.PREPARE):
            state.whiten(train_split)
        if recipe.data == "precomputed":
            assert isinstance(batches, Batches)  # only what comes from a loader is not
            with ledger.phase(Phase.PRECOMPUTE):
                folder = cleanup.enter_context(store.scratch())
                batches = cleanup.enter_context(PrecomputedEpochs(batches, job.steps, folder))
        with ledger.phase(Phase.WARM_UP):
            warm_up(state, batches)
            ahead = still_to_come(state, test, validation, strict=job.budget.policy.counts(Phase.TEST), clock=clock)
        peeks = None if recipe.peek is None else Peeks(lambda: _tested(state, test), recipe.peek, batches.steps_per_epoch)
        step_budget, history = fit(state, batches, train_split, validation, job, ledger, callback, ahead, peeks)
        with ledger.phase(Phase.TEST):
            seen = peeks.after(step_budget.done) if peeks else None
            plain = state.logits(test.images) if seen is None else seen
        predictions = {"labels": dataset.test.labels.numpy(), "logits": plain.cpu().numpy()}
        tta = None
        if recipe.tta.any:
            with ledger.phase(Phase.TTA):
                further = state.logits(test.images, recipe.tta)
                both = evaluate.with_views(plain, further, recipe.tta)
            predictions["tta_logits"] = both.cpu().numpy()
            tta = evaluate.score(both, test.labels)[0]
        peak_bytes, made_by = peak.bytes(), provenance.collect(device)

    with ledger.phase(Phase.SAVE):
        weights = {name: t.detach().float().cpu() if t.is_floating_point() else t.detach().cpu()
                   for name, t in state.network.state_dict().items()}
        columns = history.steps(batches.steps_per_epoch)
        for logits in (array for name, array in predictions.items() if name != "labels"):
            health.check_logits(job.key, logits, "test images", columns["loss"], columns["lr"][-1])
        epochs = history.epochs(columns, batches.steps_per_epoch)
        accuracy, loss = evaluate.score(plain, test.labels)
    last = max(1, len(columns["loss"]) // 20)
    metrics = Metrics(test_accuracy=accuracy, test_loss=loss, tta_accuracy=tta,
                      train_accuracy=sum(columns["accuracy"][-last:]) / last,
                      train_loss=sum(columns["loss"][-last:]) / last,
                      validation_accuracy=epochs["validation_accuracy"][-1] if validation else None)
    seconds = ledger.seconds()
    factor = interpolate(recipe.schedule.knots, step_budget.progress, recipe.schedule.shape)
    record = RunRecord(
        key=job.key, data=data_record(dataset, len(train_split), len(validation or ())), arm=job.arm, recipe=recipe,
        recipe_hash=recipe.hash, seed=job.seed, budget_seconds=_finite(job.budget.seconds),
        budget_policy=job.budget.policy.name, limit_seconds=_finite(job.limit), steps=step_budget.done, planned_steps=job.steps,
        steps_per_epoch=batches.steps_per_epoch, epochs=step_budget.done / batches.steps_per_epoch,
        final_lr=state.optimizer.lr * factor, final_factor=factor,
        replans=tuple(ReplanRecord(**vars(r)) for r in step_budget.replans),
        peeks=tuple(PeekRecord(step=step, accuracy=share) for step, share in (peeks.seen if peeks else ())),
        parameters=state.parameters,
        ledger=seconds, clocks={name: policy.seconds(seconds) for name, policy in POLICIES.items()}, metrics=metrics,
        peak_memory_bytes=peak_bytes, weights_sha256=digest(weights), device=device.type,
        provenance={**made_by, "convolutions": state.convolutions,
                    "arithmetic": recipe.precision, "arithmetic_reason": job.arithmetic})
    run = store.save(record, columns, epochs, weights, predictions)
    callback.on_run_end(run, reused=False)
    return run


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


def fit(state: TrainState, batches: streams.Stream, train_split: Split | Part, validation: Split | None, job: Job, ledger: Ledger,
        callback: Callback | None, ahead: tuple[float, float] = (0.0, 0.0),
        peeks: Peeks | None = None) -> tuple[StepBudget, History]:
    """Step until the budget of steps is spent. The network leaves holding the weights to be tested, in eval mode.

    train_split: the images as they are, for techniques. ahead: seconds that a validation, and everything after
    the last step, take away from the limit. peeks: looks at the test set that may end training, for recipes that ask for them.
    """
    recipe, network = state.recipe, state.network
    knots, shape = recipe.schedule.knots, recipe.schedule.shape
    used, (validation_seconds, rest_seconds) = ledger.elapsed(job.budget.policy), ahead
    if used + validation_seconds + rest_seconds >= job.limit:
        raise _too_small(job)
    replaying = job.replay is not None
    step_budget = StepBudget(job.steps, math.inf if replaying else job.limit, job.full_steps,
                             job.stretch and recipe.data == "device")
    changes = {r.step: r for r in job.replay or ()}
    techniques = Techniques(state, train_split)
    history, stream = History(), iter(batches)
    points = _validation_points(job.steps, batches.steps_per_epoch)
    # On a GPU the host runs ahead of the device: look at the clock only now and then, after waiting for the queue.
    every = 1 if state.device.type == "cpu" else max(1, job.steps // 100)
    network.train()
    with ledger.phase(Phase.TRAIN):
        before, seen = used, 0
        while not step_budget.finished:
            progress = step_budget.advance()
            factor = interpolate(knots, progress, shape)
            images, labels = next(stream)
            loss, accuracy = state.step(techniques.on_images(images, progress), labels, factor, progress)
            techniques.after_step(step_budget.done, progress)
            history.loss.append(loss)
            history.accuracy.append(accuracy)
            history.lr.append(state.optimizer.lr * factor)
            if step_budget.done in changes:
                step_budget.steps = changes[step_budget.done].steps_after
                step_budget.replans.append(changes[step_budget.done])
            validating = bool(points) and progress >= points[0] - 1e-9 and not step_budget.finished
            if step_budget.done % every == 0 or step_budget.update_due or validating:
                synchroniser(state.device)()
                health.check_losses(job.key, history.loss, history.lr, seen, step_budget.steps)
                now = ledger.elapsed(job.budget.policy)
                if not replaying:
                    validations_left = min(len(points), step_budget.steps - step_budget.done) + 1
                    elapsed = now + validation_seconds * validations_left + rest_seconds
                    step_budget.update(elapsed, now - before, step_budget.done - seen)
                before, seen = now, step_budget.done
                if callback:
                    callback.on_progress(ProgressEvent(job.key, step_budget.done, step_budget.steps, now, job.limit, loss.item()))
            history.seconds.append(round(before, 6))
            if validating:
                points = [p for p in points if p - 1e-9 > progress]
                _validate(state, validation, step_budget, history, ledger, job.key)
                before = ledger.elapsed(job.budget.policy)
            if peeks and peeks.due(step_budget.done):
                with ledger.phase(Phase.TEST):
                    if peeks.enough(step_budget.done):
                        step_budget.stop()
                before = ledger.elapsed(job.budget.policy)
    with ledger.phase(Phase.TRAIN):
        health.check_losses(job.key, history.loss, history.lr, seen, step_budget.steps)
        techniques.before_test()
    _validate(state, validation, step_budget, history, ledger, job.key)
    network.eval()
    return step_budget, history


def _validation_points(steps: int, steps_per_epoch: int) -> list[float]:
    """Progress of the validation points: one an epoch, but at least 8 and at most 40."""
    points = min(max(8, round(steps / steps_per_epoch)), 40, steps)
    return [i / points for i in range(1, points)]


def _validate(state: TrainState, validation: Split | None, step_budget: StepBudget, history: History, ledger: Ledger,
              key: str) -> None:
    with ledger.phase(Phase.VALIDATE):
        accuracy = loss = math.nan
        if validation is not None:
            accuracy, loss = evaluate.score(state.logits(validation.images), validation.labels)
            health.check_number(key, loss, "validation images", step_budget.done, history.lr[-1])
        history.validations.append((step_budget.done, step_budget.progress, accuracy, loss))


def _tested(state: TrainState, test: Split) -> tuple[Tensor, float]:
    """(logits, accuracy) of the network as it is."""
    logits = state.logits(test.images)
    return logits, evaluate.score(logits, test.labels)[0]


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
