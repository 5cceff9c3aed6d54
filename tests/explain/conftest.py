"""Small real runs of both arms on made shapes, trained once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from speedcore.clock import Budget
from speedcore.data import make_shapes
from speedcore.data.dataset import Dataset
from speedcore.recipe import Augment, Recipe, RecordNetConfig, SGDConfig
from speedcore.store.runs import Run, RunStore
from speedcore.training.job import Job
from speedcore.training.loop import train

RECIPE = Recipe(name="tiny", network=RecordNetConfig(widths=(8, 12, 16), activation="relu"), optimizer=SGDConfig(lr=0.1),
                augment=Augment(crop=2, flip="random"), batch_size=100, epochs=2, val_images=0)


@pytest.fixture(scope="session")
def shapes() -> Dataset:
    return make_shapes(train=300, test=100)


@pytest.fixture(scope="session")
def make_run(shapes: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Run]:
    """make_run(arm, seed): a run of six steps, the same one each time it is asked for; dataset: instead of `shapes`."""
    store = RunStore(tmp_path_factory.mktemp("runs"))

    def make(arm: str, seed: int, dataset: Dataset = shapes) -> Run:
        key = f"{dataset.fingerprint[:6]}-{arm}-tiny-s{seed}"
        recipe = RECIPE if arm == "with" else RECIPE.without_augmentation()
        return store.find(key) or train(dataset, Job(key, recipe, arm, seed, Budget(1000), 1000, 6, 6), store)

    return make


@pytest.fixture(scope="session")
def pair(make_run) -> tuple[Run, Run]:
    return make_run("with", 0), make_run("without", 0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"
