"""Learning-rate range test (Smith, 2015): train while the rate rises geometrically, watch where the loss turns.

It trains a throwaway network on its own stream of batches: whatever network, optimiser, loader and generators exist
beside it are bit-identical afterwards to what they would be had it never run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from speedcore.data import streams
from speedcore.data.dataset import Dataset
from speedcore.errors import RecipeError
from speedcore.ladders.scale import Scale
from speedcore.machine.device import resolve
from speedcore.recipe import Recipe
from speedcore.store.runs import RunStore
from speedcore.studies import records
from speedcore.studies.records import StudyRecord
from speedcore.training.loop import hold_out
from speedcore.training.settle import settled
from speedcore.training.state import TrainState

NAME = "lr-finder"


@dataclass(frozen=True)
class RangeTest:
    """Rates, the smoothed training loss at each, the recipe's own peak, and two readings of the curve.

    steepest: the rate at which the loss falls fastest. highest: the last rate before the loss turns up for good,
    which is the curvature limit; None if it never turned.
    """

    dataset: str
    recipe: str
    recipe_hash: str
    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    peak: float
    steepest: float
    highest: float | None


def range_test(dataset: Dataset, recipe: Recipe, seed: int = 0, device: torch.device | str = "auto", steps: int = 100,
               lowest: float = 1e-3, highest: float = 100.0) -> RangeTest:
    """Rates from `lowest` to `highest` times the recipe's peak over `steps` steps; ends early once the loss explodes."""
    device = resolve(device)
    recipe = settled(recipe, dataset, device)
    train, _ = hold_out(dataset.train, recipe.val_images)
    state = TrainState(dataset, recipe, seed, device)
    state.whiten(train)
    state.network.train()
    batches = iter(streams.of_recipe(recipe, train.to(device), seed, state.normalise))
    rates, losses, smooth = [], [], 0.0
    for i in range(steps):
        factor = lowest * (highest / lowest) ** (i / (steps - 1))
        loss, _ = state.step(*next(batches), factor=factor)
        # Bias-corrected exponential smoothing over about ten steps: single batches are too noisy to read.
        smooth = 0.9 * smooth + 0.1 * loss.item()
        corrected = smooth / (1 - 0.9 ** (i + 1))
        if not math.isfinite(corrected):
            break
        rates.append(state.optimizer.lr * factor)
        losses.append(corrected)
        if corrected > 3 * min(losses) + 1:
            break
    if not losses:
        raise RecipeError(f"recipe '{recipe.name}' on {dataset.name}: the loss is no number at the very first step, before "
                          f"any rate could matter; look at its network and logit_scale.")
    falls = [(losses[i + 1] - losses[i - 1]) for i in range(1, len(losses) - 1)]
    steepest = rates[1 + min(range(len(falls)), key=falls.__getitem__)] if falls else rates[0]
    lowest_at = min(range(len(losses)), key=losses.__getitem__)
    turned = losses[-1] > 1.1 * losses[lowest_at]
    return RangeTest(dataset.name, recipe.name, recipe.hash, seed, tuple(rates), tuple(losses), state.optimizer.lr,
                     steepest, rates[lowest_at] if turned else None)


def drawing(result: RangeTest, height: int = 12, width: int = 70) -> list[str]:
    """The curve as lines of text: log rate across, loss up."""
    width = min(width, len(result.losses))
    columns = [result.losses[int(i * len(result.losses) / width)] for i in range(width)]
    low, high = min(columns), min(max(columns), 2 * columns[0])
    rows = [[" "] * len(columns) for _ in range(height)]
    for x, loss in enumerate(columns):
        y = (min(loss, high) - low) / (high - low or 1)
        rows[height - 1 - round(y * (height - 1))][x] = "•"
    lines = [f"{high:8.3f} ┤{''.join(rows[0])}", *(f"{'':8} │{''.join(row)}" for row in rows[1:-1]),
             f"{low:8.3f} ┤{''.join(rows[-1])}"]
    limit = "the loss never turned" if result.highest is None else f"it turns up beyond {result.highest:.3g}"
    return [*lines, f"{'':9} {result.rates[0]:.2g} … {result.rates[-1]:.2g} (learning rate, log scale)",
            f"the loss falls fastest at {result.steepest:.3g}; {limit}; the recipe's peak is {result.peak:.3g}"]


class RangeRecord(StudyRecord):
    """result.json: the test with its provenance. Fields as in `RangeTest`."""

    seed: int
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    peak: float
    steepest: float
    highest: float | None


def save(result: RangeTest, dataset: Dataset, recipe: Recipe, store: RunStore, device: str = "auto") -> Path:
    """Write the result beside the runs and return its path. dataset, recipe: those that were tested."""
    fields = RangeRecord.model_fields.keys() - {"dataset", "recipe"}
    own = {name: value for name, value in asdict(result).items() if name in fields}
    record = RangeRecord(**records.common(NAME, dataset, recipe, Scale(), device), **own)
    asked = [recipe.hash, dataset.fingerprint, result.seed, len(result.rates), record.device]
    return records.write(records.folder(store, NAME, asked), record)
