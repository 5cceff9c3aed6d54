"""Toys for the tests of the core: a clock that is moved by hand, a small data set, a small recipe, a job."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch

from speedcore.clock import POLICIES, Budget
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.recipe import Augment, Recipe, RecordNetConfig, SGDConfig
from speedcore.training.callback import Callback, ProgressEvent
from speedcore.training.job import Job


class Listener(Callback):
    """Remembers the events it was told."""

    def __init__(self):
        self.events: list[ProgressEvent] = []

    def on_progress(self, event: ProgressEvent) -> None:
        self.events.append(event)


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, now: float = 1000.0):
        self.now = now

    def __call__(self) -> float:
        return self.now

    def seconds(self) -> float:
        """As a stopwatch: since zero."""
        return self.now

    def go(self, seconds: float) -> None:
        self.now += seconds


def dataset(train: int = 160, test: int = 40, channels: int = 1, size: int = 16, classes: int = 4, name: str = "toy",
            seconds: dict[str, float] | None = None, official: bool = False) -> Dataset:
    """Noise with a bright square whose quarter of the image is the class: easy, and the same on every machine."""
    generator = torch.Generator().manual_seed(1)

    def split(n: int) -> Split:
        images = torch.randint(0, 120, (n, channels, size, size), generator=generator, dtype=torch.uint8)
        labels = torch.arange(n) % classes
        half = size // 2
        for image, label in zip(images, labels.tolist(), strict=True):
            top, left = half * (label // 2 % 2), half * (label % 2)
            image[:, top + 2:top + half - 2, left + 2:left + half - 2] += 120
        return Split(images, labels)

    return Dataset.make(name, tuple(f"class {i}" for i in range(classes)), split(train), split(test),
                        Provenance("made in a test", official, seconds=seconds or {}))


def recipe(**changes: Any) -> Recipe:
    """Four steps an epoch on `dataset()`, milliseconds a step."""
    fields = {"name": "toy", "network": RecordNetConfig(widths=(8, 8, 8)), "optimizer": SGDConfig(lr=0.05, weight_decay=1e-3),
              "augment": Augment(crop=2, flip="random", cutout=4), "batch_size": 40, "epochs": 3, "val_images": 0}
    return Recipe(**{**fields, **changes})


def job(recipe: Recipe, steps: int, seed: int = 0, limit: float = math.inf, key: str | None = None, arm: str = "with",
        policy: str = "article", full_steps: int | None = None, stretch: bool = False) -> Job:
    return Job(key or f"toy-{arm}-s{seed}", recipe, arm, seed, Budget(limit, POLICIES[policy]), limit, steps,
               full_steps or steps, stretch)


def resealed(folder: Path, record: str = "run.json", **changes: Any) -> Path:
    """A stored folder, forged with care: fields of its record changed, and a manifest that fits whatever its files hold now."""
    if changes:
        content = json.loads((folder / record).read_text())
        (folder / record).write_text(json.dumps({**content, **changes}, indent=1))
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
             for file in sorted(folder.iterdir()) if file.name != "manifest.sha256"]
    (folder / "manifest.sha256").write_text("".join(lines))
    return folder
