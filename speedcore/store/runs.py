"""Runs on disk: one folder each, whole or absent, never changed afterwards, found again by key. The only writer of run folders.

    RUNS/mnist-with-record-s0-1a2b3c4d/
        run.json             what was trained, how, how long, how well, on what (`RunRecord`)
        steps.csv            step, epoch, lr, loss, accuracy, seconds
        epochs.csv           progress, epoch, train and validation loss and accuracy
        weights.safetensors  the tested weights and buffers, fp32
        predictions.npz      labels (N,) int64, logits (N, K) float32, tta_logits where the recipe has TTA
        manifest.sha256      of each of these files (`speedcore.store.folders`)
    RUNS/set-aside/…         runs that were damaged, whole, as they were found

Opening a run reads and compares all of it. Runs that were written before there was a manifest are read and reused as they are;
their records are compared with their predictions all the same, and a notice says that the rest is unchecked.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from speedcore import limits
from speedcore.errors import Damaged, PluginError, RunError, notice
from speedcore.recipe.part import REMOVED
from speedcore.store import consistency, names, reading
from speedcore.store.folders import MANIFEST, Folder, scratch, set_aside, staged
from speedcore.store.run_record import SCHEMA_VERSION, DataRecord, Metrics, PeekRecord, ReplanRecord, RunRecord

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["DataRecord", "Metrics", "PeekRecord", "ReplanRecord", "Run", "RunRecord", "RunStore", "digest", "encoded"]

# Keys of runs on `folder:PATH`: a name for people, and a digest of the content and all else that decides the weights.
_OF_A_FOLDER = re.compile(r"folder-.*-([0-9a-f]{10})")
FILES = ("run.json", "steps.csv", "epochs.csv", "weights.safetensors", "predictions.npz")
_CURE = "remove the folder to train it again"


def _there(file: Path) -> bool:
    """Whether there is something of that name. Raises OSError for a name that there cannot be, which `lexists` would hide."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Run:
    """A finished run on disk."""

    path: Path
    record: RunRecord

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Read a run folder and compare all of it: files with the manifest, weights and numbers with the record.

        Raises Damaged naming the file that is not what was written, RunError for what is no run, or one of another version.
        """
        path = Path(path)
        if not _there(path / "run.json") and not _there(path / MANIFEST):
            raise RunError(f"{path} is not a run folder: it has no run.json.")
        folder = Folder(path, FILES, _CURE)
        record = _record(folder)
        if record.sealed != folder.checked:
            raise folder.damaged(MANIFEST, "it is missing" if record.sealed else "it does not belong to this run")
        if record.sealed:
            if folder.check("weights.safetensors", limits.WEIGHTS) != record.weights_sha256:
                raise folder.damaged("weights.safetensors", "its sha256 is not weights_sha256 of run.json")
        for table in ("steps.csv", "epochs.csv"):
            folder.check(table, limits.TABLE)
        try:
            content, _ = folder.content("predictions.npz", consistency.prediction_bytes(record))
            consistency.check_predictions(record, reading.arrays(content))
        except ValueError as error:
            raise folder.damaged("predictions.npz", error) from None
        return cls(path, record)

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def steps(self) -> dict[str, np.ndarray]:
        """Columns of steps.csv, each (steps,) float64."""
        return self._columns("steps.csv", consistency.check_steps)

    @cached_property
    def epochs(self) -> dict[str, np.ndarray]:
        """Columns of epochs.csv, each (validation points,) float64; NaN where nothing was measured."""
        return self._columns("epochs.csv", consistency.check_epochs)

    @cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """Arrays of predictions.npz."""
        with self._guarded("predictions.npz"):
            content = reading.content(self.path / "predictions.npz", consistency.prediction_bytes(self.record))
            return reading.arrays(content)

    def weights(self) -> dict[str, Tensor]:
        """State dict of the tested network, by name, fp32 tensors on the CPU."""
        from safetensors.torch import load

        with self._guarded("weights.safetensors"):
            found = load(reading.content(self.path / "weights.safetensors", limits.WEIGHTS))
            return {name: found[name] for name in sorted(found)}  # safetensors gives them in no order

    def network(self) -> nn.Module:
        """The tested network in eval mode on the CPU, as `speedcore.networks.build` made it.

        It takes normalised images (N, C, H, W); `speedcore.techniques.augment.Normalise.of(record.data)` makes those.
        """
        from speedcore.networks import build

        data, weights = self.record.data, self.weights()
        with self._guarded("weights.safetensors"):
            # What a record asks for must not cost more than the weights that are there.
            if sum(tensor.numel() for tensor in weights.values() if tensor.is_floating_point()) != _values(self.record):
                raise ValueError("it does not hold as many numbers as run.json says")
            network = build(self.record.recipe.network, data.channels, (data.height, data.width), len(data.classes))
            network.load_state_dict(weights)
        return network.eval()

    def _columns(self, file: str, check: Callable[[RunRecord, dict[str, np.ndarray]], None]) -> dict[str, np.ndarray]:
        with self._guarded(file):
            columns = _read_columns(reading.content(self.path / file, limits.TABLE))
            # Both tables end with the run's last step; a table that was cut off between two rows does not.
            if "step" not in columns or columns["step"][-1:].tolist() != [self.record.steps]:
                raise ValueError("it is incomplete")
            check(self.record, columns)
            return columns

    def _guarded(self, file: str) -> _Guard:
        return _Guard(self.path / file)


def _record(folder: Folder) -> RunRecord:
    """run.json, as far as it can be checked by itself. Raises Damaged, or RunError for another version."""
    text, _ = folder.content("run.json", limits.RECORD)
    try:
        version = reading.json_object(text).get("schema_version")
        if version != SCHEMA_VERSION:
            raise RunError(f"{folder.path} was written with run schema {version!r}, this version reads {SCHEMA_VERSION}; "
                           f"use another --runs folder or remove this one.")
        record = RunRecord.model_validate_json(text, strict=True)
        name = folder.path.resolve().name
        if not names.same(record.key, name):
            raise ValueError(f"it is of a run '{record.key}', and the folder is called '{name}'")
        consistency.check_record(record)
        return record
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == REMOVED:
            raise RunError(f"{folder.path} cannot be read by this version: {first['msg']}") from None
        raise folder.damaged("run.json", f"field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise folder.damaged("run.json", error) from None


def _values(record: RunRecord) -> int:
    return sum(record.parameters.get(kind, 0) for kind in ("trainable", "frozen", "buffers"))


class _Guard:
    """Turns any failure to read a file of a run into a Damaged that names it."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, PluginError):
            return  # the file is sound, and code that belongs to it is not here
        if error is not None and isinstance(error, Exception):
            raise Damaged(f"{self.path} cannot be read ({error}); {_CURE}.", self.path.parent) from None


class RunStore:
    """The folder that holds the runs: --runs, else SPEEDCORE_RUNS, else runs/.

    notices: what was found wrong or could not be checked, in sentences, each of which is a warning (`errors.Notice`) as well.
    """

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or os.environ.get("SPEEDCORE_RUNS") or "runs")
        self.notices: list[str] = []

    def path_of(self, key: str) -> Path:
        """Where the run with that key lies, or will. Raises RunError for what can be no name of a folder.

        That of a folder of images may bear an older name of it before the same digest.
        """
        try:
            path = self.root / names.check(key)
        except ValueError as error:
            raise RunError(f"a run cannot be kept under that name: {error}.") from None
        if (digest := _OF_A_FOLDER.fullmatch(key)) and not os.path.lexists(path):
            return next(iter(sorted(self.root.glob(f"folder-*-{digest[1]}"))), path)
        return path

    def check_names(self, key: str, arm: str, dataset: str) -> None:
        """Raises RunError if a run of that key, arm and data set could not be kept."""
        self.path_of(key)
        try:
            names.check(arm)
            names.check_text(dataset)
        except ValueError as error:
            raise RunError(f"a run of arm {arm!r} on data set {dataset!r} cannot be kept: {error}.") from None

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new empty folder among the runs, hidden, and gone afterwards with all that is in it. Raises RunError."""
        folder = scratch(self.root / "scratch")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def find(self, key: str) -> Run | None:
        """The finished run with that key, or None.

        A damaged one is named and set aside, whole, so that it can be trained again. Raises RunError for a folder of that name
        that is no run, or one of another version: such a folder stays as it is.
        """
        if not names.valid(key) or not os.path.lexists(path := self.path_of(key)):
            return None
        try:
            return self._seen(Run.open(path))
        except Damaged as error:
            self._say(f"{error} It was set aside, in {set_aside(path)}.")
            return None

    def look(self, key: str) -> Run | None:
        """As `find`, for what is only looked at: what is no sound run is named and left where it is, and None."""
        return self._look(self.path_of(key)) if names.valid(key) and os.path.lexists(self.path_of(key)) else None

    def __iter__(self) -> Iterator[Run]:
        """All finished runs, in order of their names. Folders that are no runs are passed over; damaged runs and those of another
        version are named and left out."""
        if self.root.is_dir():
            for path in sorted(self.root.iterdir()):
                # Hidden folders are scratch: a killed process may have left one behind.
                if not path.name.startswith(".") and any((path / file).is_file() for file in ("run.json", MANIFEST)):
                    if run := self._look(path):
                        yield run

    def save(self, record: RunRecord, steps: Mapping[str, Sequence[object]], epochs: Mapping[str, Sequence[object]],
             weights: Mapping[str, Tensor], predictions: Mapping[str, np.ndarray]) -> Run:
        """Write a run folder so that it exists whole or not at all. Raises RunError if it cannot be written.

        Where a sound run of that key was finished by another process meanwhile, that one is kept, and returned.
        """
        final = self.path_of(record.key)
        if existing := self.find(record.key):
            self._say(f"{final} was finished by another process meanwhile; its run is kept, and this one is not.")
            return existing
        record = record.model_copy(update={"sealed": True})
        arrays: dict[str, Any] = {**predictions}  # Any: savez has keywords of its own beside the names
        with staged(final) as folder:
            (folder / "weights.safetensors").write_bytes(encoded(weights))
            np.savez(folder / "predictions.npz", **arrays)
            _write_columns(folder / "steps.csv", steps)
            _write_columns(folder / "epochs.csv", epochs)
            (folder / "run.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
        return Run(final, record)

    def _look(self, path: Path) -> Run | None:
        try:
            return self._seen(Run.open(path))
        except RunError as error:
            self._say(f"{error} It is left out.")
            return None

    def _seen(self, run: Run) -> Run:
        if not run.record.sealed:
            self._say(f"{run.path} was written before runs had a manifest: it is used, but damage to its weights and curves "
                      f"would not be noticed.")
        return run

    def _say(self, sentence: str) -> None:
        if sentence not in self.notices:
            self.notices.append(sentence)
            notice(sentence)


def encoded(weights: Mapping[str, Tensor]) -> bytes:
    """weights.safetensors of a state dict: the same bytes for the same names, shapes and bits, in whatever order."""
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in weights.items()})


def digest(weights: Mapping[str, Tensor]) -> str:
    """sha256 of `encoded`: two networks with the same digest are the same to the bit."""
    return hashlib.sha256(encoded(weights)).hexdigest()


def _write_columns(path: Path, columns: Mapping[str, Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _read_columns(content: bytes) -> dict[str, np.ndarray]:
    text = content.decode()
    if not text.endswith("\n"):
        raise ValueError("its last row is cut off")
    header, *rows = csv.reader(text.splitlines())
    table = np.array([[float(cell) if cell else np.nan for cell in row] for row in rows], dtype=np.float64)
    return {name: table.reshape(-1, len(header))[:, i] for i, name in enumerate(header)}
