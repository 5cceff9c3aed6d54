"""One whole report for all tests that only look at it: a set with six pairs, and an unofficial one with two."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import reports
from explain import explain_runs
from reports.compose import compose
from reports.inputs import Inputs
from reports.model import ReportModel
from reports.results import load
from speedcore.planning.planned_runs import PlannedRuns
from speedcore.store.runs import ReplanRecord, RunStore
from tests.reports import making

WITHOUT, AUGMENTED = (20, 21, 22, 20, 21, 22), (24, 24, 27, 26, 25, 24)
ENVIRONMENT = {"revision": "c" * 40, "dirty": True, "finished": "2032-01-01T00:00:00+00:00", "command": "anything"}


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Whole:
    """A rendered report and what it was made from."""

    inputs: Inputs
    model: ReportModel
    files: dict[str, Path]

    @property
    def html(self) -> str:
        return self.files["html"].read_text(encoding="utf-8")


@pytest.fixture(scope="package")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    store = RunStore(tmp_path_factory.mktemp("runs"))
    mnist, folder = making.dataset(), making.dataset("folder:/somewhere/cats", channels=3, official=False)
    runs = making.pairs(store, mnist, WITHOUT, AUGMENTED)
    runs += making.pairs(store, folder, (15, 16), (18, 15), steps=6,
                         replans=[ReplanRecord(step=2, steps_before=8, steps_after=6, reason="slower than planned")])
    explanations = []
    for data in (mnist, folder):
        arms = [[r for r in runs if r.record.data.name == data.name and r.record.arm == arm]
                for arm in ("with", "without")]
        for arm in explain_runs(*arms, data, store.root, images_per_class=3):
            explanations += arm
    planned = PlannedRuns(dataset="mnist", fingerprint=mnist.fingerprint, recipe=making.RECIPE, reason="asked for", seeds=6,
                    steps=8, full_steps=8, steps_per_epoch=4, step_seconds=5.0, limit=1000.0, run_seconds=46.0,
                    explain_seconds=1.0)
    return Inputs(
        datasets={"mnist": mnist, folder.name: folder}, runs=tuple(runs), explanations=tuple(explanations),
        missing=(reports.Missing("cifar10", "no file was found", "Give it with `--data DIR`"),), plan=(planned,),
        notes=("With an hour more all would be better: `make report`.",), budget_seconds=1000.0, within_seconds=900.0,
        status="partial", command="python -m reports.build --all", environment=ENVIRONMENT,
        shortcuts=(making.shortcut_study(),), registered=(making.claim_study(),))


@pytest.fixture(scope="package")
def whole(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    files = reports.render(inputs, tmp_path_factory.mktemp("out"))
    return Whole(inputs, compose(load(inputs)), files)
