"""A recipe that leaves its arithmetic to the machine (`precision = "auto"`) becomes one that names it.

What is decided is decided before a run is named: its recipe, its hash and its key hold the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.machine import arithmetic
from speedcore.machine.queue import synchroniser
from speedcore.recipe import Recipe
from speedcore.training.seeding import seeded
from speedcore.training.state import TrainState

# A lap grows until the quickest arithmetic takes this long, so that it is more than what each call costs.
_LAP_SECONDS, _MOST_IMAGES = 0.02, 64


@dataclass(frozen=True)
class Settled:
    """A recipe with an arithmetic, and a sentence for people that says why it is this one."""

    recipe: Recipe
    why: str


def settle(recipe: Recipe, dataset: Dataset, device: torch.device) -> Settled:
    """`recipe` in the arithmetic that is quickest on `device`; one that names its own keeps it.

    In fp32, a backend of convolutions that only bf16 has become the quickest that fp32 has.

    The race trains the recipe's own network on a few images of noise, two seconds at most; its answer is kept per machine.
    """
    decision = _decide(recipe, dataset, device)
    if recipe.precision != "auto":
        return Settled(recipe, decision.sentence(device, recipe.precision))
    changes = {"precision": decision.precision}
    if decision.precision == "fp32" and recipe.convolutions in ("amx", "winograd8"):
        changes["convolutions"] = "auto"  # what the recipe wants is speed, and these are backends of bf16 only
    return Settled(recipe.changed(**changes), decision.sentence(device))


def settled(recipe: Recipe, dataset: Dataset, device: torch.device) -> Recipe:
    """`recipe` itself where it names its arithmetic, else in the quickest one."""
    return settle(recipe, dataset, device).recipe if recipe.precision == "auto" else recipe


def _decide(recipe: Recipe, dataset: Dataset, device: torch.device) -> arithmetic.Decision:
    shape, classes = (dataset.channels, *dataset.size), len(dataset.classes)
    what = f"{recipe.network!r} channels_last={recipe.channels_last} {shape} → {classes}"
    if len(arithmetic.candidates(device)) == 1:
        return arithmetic.decide(device, what, lambda name: 0.0)
    return arithmetic.decide(device, what, _Laps(recipe, dataset, device))


class _Laps:
    """Forward and backward of a few images in each arithmetic: what nearly all of a step's seconds go to."""

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device):
        self._recipe, self._dataset, self._device = recipe, dataset, device
        self._states: dict[str, TrainState] = {}
        self._images = max(2, getattr(recipe.network, "ghost", 1))

    def __call__(self, name: str) -> float:
        if name not in self._states:
            # Direct convolutions: quicker backends would be compiled only to find out whether they are wanted.
            recipe = self._recipe.changed(precision=name, convolutions="torch", norm_precision="fp32")
            state = self._states[name] = TrainState(self._dataset, recipe, 0, self._device)
            state.network.train()
            self._seconds(name)  # chooses kernels, takes memory
            if not self._states.keys() - {name}:
                most = min(_MOST_IMAGES, self._recipe.batch_size)
                while self._images < most and min(self._seconds(name), self._seconds(name)) < _LAP_SECONDS:
                    self._images *= 2
        return self._seconds(name)

    def _seconds(self, name: str) -> float:
        state, wait = self._states[name], synchroniser(self._device)
        with seeded(0, self._device):
            images = torch.rand(self._images, self._dataset.channels, *self._dataset.size, device=self._device)
            labels = torch.zeros(self._images, dtype=torch.int64, device=self._device)
            wait()
            watch = Stopwatch()
            state.gradients(images, labels)
            state.network.zero_grad(set_to_none=True)
            wait()
            return watch.seconds()
