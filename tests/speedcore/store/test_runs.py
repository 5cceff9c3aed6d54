"""Runs on disk: whole or absent, and every broken file named."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from speedcore.errors import RunError
from speedcore.store import runs
from speedcore.store.folders import staged
from speedcore.store.runs import Run, RunStore
from speedcore.training.loop import train
from tests.speedcore import toys


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    """A finished run, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    return train(toys.dataset(), toys.job(toys.recipe(val_images=10), 6), RunStore(folder))


@pytest.fixture
def copied(finished: Run, store: RunStore) -> Path:
    """A copy of the finished run, to be broken."""
    return Path(shutil.copytree(finished.path, store.root / finished.name))


def names_under(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_run_is_read_back_as_it_was_written(finished: Run) -> None:
    again = Run.open(finished.path)
    assert again.record == finished.record
    assert again.steps["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert again.epochs["step"][-1] == 6
    assert again.predictions["logits"].shape == (40, 4)
    labels = toys.dataset().test.labels.numpy()
    assert (again.predictions["labels"] == labels).all()
    accuracy = (again.predictions["logits"].argmax(1) == labels).mean()
    assert accuracy == pytest.approx(again.record.metrics.test_accuracy)
    assert not again.network().training


def test_the_store_finds_runs_by_key_and_lists_them_in_order(finished: Run, store: RunStore) -> None:
    for key in ("b", "a"):
        toys.resealed(Path(shutil.copytree(finished.path, store.root / key)), key=key)
    shutil.copytree(finished.path, store.root / ".c.scratch")
    (store.root / "plans").mkdir()
    (store.root / "notes.txt").write_text("mine")
    assert [run.name for run in store] == ["a", "b"]
    assert store.find("a").name == "a"
    assert store.find("z") is None
    assert list(RunStore(store.root / "nowhere")) == []


def test_a_diverged_run_can_be_read_back(finished: Run, store: RunStore) -> None:
    """A loss that is no number is a result, and must not make the folder unreadable."""
    lost = {**finished.predictions, "logits": np.full_like(finished.predictions["logits"], np.nan)}
    steps = {**finished.steps, "loss": np.full_like(finished.steps["loss"], np.inf)}
    metrics = finished.record.metrics.model_copy(update={  # the largest of four NaN is the first
        "test_loss": math.nan, "train_loss": math.inf, "test_accuracy": (lost["labels"] == 0).mean().item()})
    record = finished.record.model_copy(update={"key": "diverged", "metrics": metrics})
    store.save(record, steps, finished.epochs, finished.weights(), lost)
    again = store.find("diverged").record.metrics
    assert math.isnan(again.test_loss) and again.train_loss == math.inf


# --- whole or absent -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_inside_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "run") as folder:
        (folder / "file").write_text("half")
        assert not (tmp_path / "run").exists()
        raise error
    assert names_under(tmp_path) == set()


def test_success_leaves_the_folder_and_nothing_else(tmp_path: Path) -> None:
    with staged(tmp_path / "new" / "run") as folder:
        (folder / "file").write_text("whole")
    assert names_under(tmp_path / "new") == {"run"}
    assert (tmp_path / "new" / "run" / "file").read_text() == "whole"
    assert (tmp_path / "new" / "run" / "manifest.sha256").read_text() == f"{hashlib.sha256(b'whole').hexdigest()}  file\n"


@pytest.mark.parametrize("where", ["write_columns", "fsync", "replace", "savez"])
def test_a_full_disk_is_one_message_and_what_stands_stays(finished: Run, copied: Path, store: RunStore, where: str,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args, **_named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = {"write_columns": (runs, "_write_columns"), "fsync": (os, "fsync"), "replace": (os, "replace"),
              "savez": (np, "savez")}[where]
    monkeypatch.setattr(*target, full)
    record = finished.record.model_copy(update={"key": "new"})
    with pytest.raises(RunError, match="new: No space left on device.*Free space"):
        store.save(record, finished.steps, finished.epochs, finished.weights(), finished.predictions)
    assert names_under(store.root) == {copied.name}
    assert Run.open(copied).record == finished.record


def test_a_disk_that_is_full_when_weights_are_written(finished: Run, store: RunStore, monkeypatch) -> None:
    def full(path, content):
        assert path.name == "weights.safetensors"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RunError, match="No space left"):
        store.save(finished.record, finished.steps, finished.epochs, finished.weights(), finished.predictions)
    assert names_under(store.root) == set()


def test_a_folder_that_cannot_be_written_is_named(finished: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file.*--runs"):
        RunStore(tmp_path / "file" / "runs").save(finished.record, finished.steps, finished.epochs, {}, {})


def test_a_read_only_root_is_named(finished: Run, tmp_path: Path, monkeypatch) -> None:
    def denied(*_args, **_named):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    with pytest.raises(RunError, match="cannot write to .*Permission denied.*SPEEDCORE_RUNS"):
        RunStore(tmp_path).save(finished.record, finished.steps, finished.epochs, {}, {})


ENDLESS = """
import sys
sys.path.insert(0, sys.argv[2])
import torch
torch.set_num_threads(1)
from speedcore.store.runs import RunStore
from speedcore.training.loop import train
from tests.speedcore import toys
store, data = RunStore(sys.argv[1]), toys.dataset()
for i in range(10_000):
    train(data, toys.job(toys.recipe(), 3, key=f"run-{i}"), store)
"""


def test_a_killed_process_leaves_finished_runs_whole_and_no_half_ones(store: RunStore, checkout: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(store.root), str(checkout)])
    try:
        deadline = time.monotonic() + 60
        while len([n for n in names_under(store.root) if n.startswith("run-")]) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    keys = {name for name in names_under(store.root) if not name.startswith(".")}
    assert len(keys) >= 3
    for key in keys:
        run = store.find(key)
        assert run.steps["step"].tolist() == [1, 2, 3]
        assert len(run.epochs["step"]) and run.predictions["logits"].shape == (40, 4) and run.network() is not None
    assert {run.name for run in store} == keys


# --- broken files ----------------------------------------------------------------------------------------------------

def cut(path: Path, keep: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:int(keep * len(content))])


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize(("file", "read"), [
    ("weights.safetensors", lambda run: run.weights()), ("weights.safetensors", lambda run: run.network()),
    ("predictions.npz", lambda run: run.predictions),
    ("steps.csv", lambda run: run.steps), ("epochs.csv", lambda run: run.epochs),
])
def test_a_truncated_file_is_named(copied: Path, file: str, read, keep: float) -> None:
    cut(copied / file, keep)
    with pytest.raises(RunError, match=f"{file}.*remove the folder"):
        read(Run.open(copied))


@pytest.mark.parametrize("file", ["steps.csv", "epochs.csv"])
def test_a_table_cut_off_between_two_rows_is_named(copied: Path, file: str) -> None:
    lines = (copied / file).read_text().splitlines(keepends=True)
    (copied / file).write_text("".join(lines[:-1]))
    toys.resealed(copied)
    with pytest.raises(RunError, match=f"{file}.*incomplete"):
        getattr(Run.open(copied), file.removesuffix(".csv"))


@pytest.mark.parametrize(("file", "read"), [
    ("weights.safetensors", lambda run: run.weights()), ("predictions.npz", lambda run: run.predictions),
    ("steps.csv", lambda run: run.steps)])
def test_a_missing_file_is_named(copied: Path, file: str, read) -> None:
    (copied / file).unlink()
    with pytest.raises(RunError, match=file):
        read(Run.open(copied))


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_record_is_named(copied: Path, keep: float) -> None:
    cut(copied / "run.json", keep)
    with pytest.raises(RunError, match="run.json.*remove the folder"):
        Run.open(copied)


@pytest.mark.parametrize(("change", "words"), [
    ({"schema_version": 2}, "schema 2.*reads 1.*--runs"), ({"schema_version": None}, "schema None"),
    ({"steps": "many"}, "field steps"), ({"surprise": 1}, "field surprise"), ({"recipe": {}}, "field recipe"),
])
def test_a_record_of_another_version_or_shape_is_named(copied: Path, store: RunStore, change: dict, words: str) -> None:
    toys.resealed(copied, **change)
    with pytest.raises(RunError, match=words) as raised:
        Run.open(copied)
    assert str(copied) in str(raised.value)


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(RunError, match="no object"):
        Run.open(tmp_path)


def test_predictions_with_pickled_objects_are_refused(copied: Path) -> None:
    np.savez(copied / "predictions.npz", logits=np.array([{}], dtype=object))
    with pytest.raises(RunError, match="predictions.npz.*plain numbers"):
        Run.open(toys.resealed(copied))


def test_weights_of_the_tested_network_reproduce_its_logits(finished: Run) -> None:
    from speedcore.techniques.augment import Normalise
    from speedcore.training import evaluate

    record = finished.record
    logits = evaluate.logits(finished.network(), toys.dataset().test.images, Normalise.of(record.data), batch_size=250)
    assert torch.equal(logits, torch.from_numpy(finished.predictions["logits"]))
