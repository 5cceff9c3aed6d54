"""Runs on disk: one folder each, whole or absent, found again by key. The only writer of run folders.

    RUNS/mnist-with-record-s0-1a2b3c4d/
        run.json             what was trained, how, how long, how well, on what (`RunRecord`)
        steps.csv            step, epoch, lr, loss, accuracy, seconds
        epochs.csv           progress, epoch, train and validation loss and accuracy
        weights.safetensors  the tested weights and buffers, fp32
        predictions.npz      labels (N,) int64, logits (N, K) float32, tta_logits where the recipe has TTA
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from speedcore.errors import RunError, UserError
from speedcore.recipe import Frozen, Recipe

SCHEMA_VERSION = 1
# Keys of runs on `folder:PATH`: a name for people, and a digest of the content and all else that decides the weights.
_OF_A_FOLDER = re.compile(r"folder-.*-([0-9a-f]{10})")


class DataRecord(Frozen):
    """The data set of a run, without its images."""

    name: str
    fingerprint: str
    source: str
    official: bool
    note: str = ""
    classes: tuple[str, ...]
    channels: int
    height: int
    width: int
    train_images: int
    validation_images: int
    test_images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class ReplanRecord(Frozen):
    step: int
    steps_before: int
    steps_after: int
    reason: str


class PeekRecord(Frozen):
    """A look at the test set in mid-training: after `step`, the share of its images classified correctly."""

    step: int
    accuracy: float


class Metrics(Frozen):
    """Shares of 1. `tta_accuracy` is None where the recipe has no test-time augmentation."""

    test_accuracy: float
    test_loss: float
    tta_accuracy: float | None = None
    train_accuracy: float
    train_loss: float
    validation_accuracy: float | None = None


class RunRecord(Frozen):
    """run.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    data: DataRecord
    arm: str
    recipe: Recipe
    recipe_hash: str
    seed: int
    budget_seconds: float | None
    budget_policy: str
    limit_seconds: float | None
    steps: int
    planned_steps: int
    steps_per_epoch: int
    epochs: float
    final_lr: float
    final_factor: float
    replans: tuple[ReplanRecord, ...] = ()
    peeks: tuple[PeekRecord, ...] = ()
    parameters: dict[str, int]
    ledger: dict[str, float]
    clocks: dict[str, float]
    metrics: Metrics
    peak_memory_bytes: int
    weights_sha256: str
    device: str
    provenance: dict

    @property
    def accuracy(self) -> float:
        """The accuracy that the recipe is judged by: with TTA where it has one."""
        return self.metrics.test_accuracy if self.metrics.tta_accuracy is None else self.metrics.tta_accuracy

    @property
    def peeked(self) -> bool:
        """Whether the test set decided when training ended: then `accuracy` is no estimate for unseen images."""
        return self.recipe.peeks


@dataclass(frozen=True)
class Run:
    """A finished run on disk."""

    path: Path
    record: RunRecord

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Read a run folder. Raises RunError naming what is wrong with it."""
        path = Path(path)
        try:
            content = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path} is not a run folder: it has no run.json.") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{path / 'run.json'} cannot be read ({error}); remove the folder to train it again.") from None
        version = content.get("schema_version") if isinstance(content, dict) else None
        if version != SCHEMA_VERSION:
            raise RunError(f"{path} was written with run schema {version!r}, this version reads {SCHEMA_VERSION}; "
                           f"use another --runs folder or remove this one.")
        try:
            return cls(path, RunRecord.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(f"{path / 'run.json'}: field {'.'.join(map(str, first['loc']))}: {first['msg']}; "
                           f"remove the folder to train it again.") from None

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        """Columns of steps.csv, each (steps,) float64."""
        return self._columns("steps.csv")

    @cached_property
    def epochs(self) -> dict[str, np.ndarray]:
        """Columns of epochs.csv, each (looks,) float64; NaN where nothing was measured."""
        return self._columns("epochs.csv")

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Arrays of predictions.npz."""
        with self._guarded("predictions.npz"), np.load(self.path / "predictions.npz", allow_pickle=False) as arrays:
            return dict(arrays)

    def weights(self) -> dict:
        """State dict of the tested network, fp32 tensors on the CPU."""
        from safetensors.torch import load_file

        with self._guarded("weights.safetensors"):
            return load_file(self.path / "weights.safetensors")

    def network(self):
        """The tested network in eval mode on the CPU, as `speedcore.networks.build` made it.

        It takes normalised images (N, C, H, W); `speedcore.augment.Normalise.of(record.data)` makes those.
        """
        from speedcore.networks import build

        data = self.record.data
        network = build(self.record.recipe.network, data.channels, (data.height, data.width), len(data.classes))
        network.load_state_dict(self.weights())
        return network.eval()

    def _columns(self, file: str) -> dict[str, np.ndarray]:
        with self._guarded(file):
            columns = _read_columns(self.path / file)
            # Both tables end with the run's last step; a table that was cut off between two rows does not.
            if "step" not in columns or columns["step"][-1:].tolist() != [self.record.steps]:
                raise ValueError("it is incomplete")
            return columns

    def _guarded(self, file: str):
        return _Guard(self.path / file)


class _Guard:
    """Turns any failure to read a file of a run into a RunError that names it."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, trace) -> None:
        if error is not None and isinstance(error, Exception):
            raise RunError(f"{self.path} cannot be read ({error}); remove the folder to train it again.") from None


class RunStore:
    """The folder that holds the runs: --runs, else SPEEDCORE_RUNS, else runs/."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or os.environ.get("SPEEDCORE_RUNS") or "runs")

    def path_of(self, key: str) -> Path:
        """The folder of the run `key`. That of a folder of images may bear an older name of it before the same digest."""
        path = self.root / key
        if (digest := _OF_A_FOLDER.fullmatch(key)) and not path.exists():
            return next(iter(sorted(self.root.glob(f"folder-*-{digest[1]}"))), path)
        return path

    def find(self, key: str) -> Run | None:
        """The finished run with that key, or None. A folder of another version raises RunError."""
        path = self.path_of(key)
        return Run.open(path) if path.exists() else None

    def __iter__(self) -> Iterator[Run]:
        """All finished runs, in order of their names; folders that are no runs are passed over."""
        if self.root.is_dir():
            for path in sorted(self.root.iterdir()):
                # Hidden folders are scratch: a killed process may have left one behind.
                if not path.name.startswith(".") and (path / "run.json").is_file():
                    yield Run.open(path)

    def save(self, record: RunRecord, steps: Mapping[str, list], epochs: Mapping[str, list], weights: Mapping,
             predictions: Mapping[str, np.ndarray]) -> Run:
        """Write a run folder so that it exists whole or not at all. Raises RunError if it cannot be written."""
        from safetensors.torch import save_file

        final = self.path_of(record.key)
        with staged(final) as folder:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "weights.safetensors")
            np.savez(folder / "predictions.npz", **predictions)
            _write_columns(folder / "steps.csv", steps)
            _write_columns(folder / "epochs.csv", epochs)
            (folder / "run.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return Run(final, record)


class staged:
    """Context manager: a scratch folder beside `final`, renamed to it on success and removed on any failure."""

    def __init__(self, final: Path):
        self.final = Path(final)

    def __enter__(self) -> Path:
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            self.scratch = Path(tempfile.mkdtemp(prefix=f".{self.final.name}.", dir=self.final.parent))
        except OSError as error:
            raise RunError(f"cannot write to {self.final.parent}: {error.strerror or error}; choose another folder "
                           f"(--runs DIR or SPEEDCORE_RUNS).") from None
        return self.scratch

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is None:
                for file in self.scratch.iterdir():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
                self.scratch.chmod(0o755)
                if self.final.exists():
                    shutil.rmtree(self.final)
                os.replace(self.scratch, self.final)
        except OSError as failure:
            error = failure
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
        if isinstance(error, OSError) or (isinstance(error, Exception) and not isinstance(error, UserError)
                                          and "No space left" in str(error)):
            raise RunError(f"cannot write {self.final}: {getattr(error, 'strerror', None) or error}; nothing of it was "
                           f"kept, and everything finished before stands. Free space or choose another folder.") from error


def _write_columns(path: Path, columns: Mapping[str, list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    text = path.read_bytes().decode()
    if not text.endswith("\n"):
        raise ValueError("its last row is cut off")
    header, *rows = csv.reader(text.splitlines())
    table = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows], dtype=np.float64)
    return {name: table.reshape(-1, len(header))[:, i] for i, name in enumerate(header)}
