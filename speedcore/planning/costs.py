"""What a recipe costs on this machine: a second of throwaway training, timed step by step."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch

from speedcore.clock import Stopwatch
from speedcore.data import streams
from speedcore.data.dataset import Dataset, Split
from speedcore.machine.queue import synchroniser
from speedcore.recipe import Recipe
from speedcore.training.state import TrainState

# A plan fills this share of a limit: machines here and there are noisy.
PLANNED_SHARE = 0.96
_PROBE_SECONDS, _PROBE_IMAGES = 0.5, 64


@dataclass(frozen=True)
class Throughput:
    """Seconds of one training step at the recipe's batch, and of the forward pass of one image."""

    step_seconds: float
    forward_seconds: float


def measure(dataset: Dataset, recipe: Recipe, device: torch.device) -> Throughput:
    """Train a throwaway network for a moment and time its steps.

    On a CPU a few images stand for a batch: gradients cost as much image by image, an update is taken whole.
    """
    images = recipe.batch_size if device.type != "cpu" else _few_images(recipe)
    few = Split(dataset.train.images[:2 * images], dataset.train.labels[:2 * images])
    trial = recipe.changed(batch_size=min(images, len(few)))
    state = TrainState(dataset, trial, 0, device)
    batches = iter(streams.of_recipe(trial, few.to(device), 0, state.normalise))
    state.network.train()
    wait = synchroniser(device)
    for _ in range(1 if device.type == "cpu" else 5):
        state.step(*next(batches), factor=0.01)
    wait()
    watch = Stopwatch()
    gradients: list[float] = []
    updates: list[float] = []
    while len(gradients) < 2 or (watch.seconds() < _PROBE_SECONDS and len(gradients) < 100):
        lap = Stopwatch()
        state.gradients(*next(batches))
        wait()
        gradients.append(lap.seconds())
        lap = Stopwatch()
        state.optimizer.step(0.01)
        wait()
        updates.append(lap.seconds())
    # The median: one interruption by another program must not decide what fits.
    step_seconds = statistics.median(gradients) * recipe.batch_size / trial.batch_size + statistics.median(updates)
    state.network.eval()
    batch = few.images[:trial.batch_size]
    state.logits(batch)
    wait()
    watch = Stopwatch()
    state.logits(batch)
    wait()
    return Throughput(step_seconds, watch.seconds() / len(batch))


def _few_images(recipe: Recipe) -> int:
    """About `_PROBE_IMAGES`, in as many groups as the network's ghost batch-norm wants."""
    groups = getattr(recipe.network, "ghost", 1)
    return min(recipe.batch_size, max(1, _PROBE_IMAGES // groups) * groups)


def duration(seconds: float) -> str:
    """Seconds for people: seconds, minutes or hours to three digits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
