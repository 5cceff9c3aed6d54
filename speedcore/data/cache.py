"""The user cache: obtained files, and decoded copies of what is slow to decode. Whole or absent, verified when read."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from speedcore.data.dataset import Split
from speedcore.data.dataset_files import RawDataset
from speedcore.errors import DataError
from speedcore.machine.cache import ENVIRONMENT, cache_folder

SOURCE_FILE = "source.txt"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cache:
    """The cache in the folder `root`: one folder a data set, and `decoded/`."""

    root: Path

    @classmethod
    def at(cls, root: Path | str | None = None) -> Cache:
        """The cache in `root`, else in SPEEDCORE_CACHE, else in the user's own cache folder."""
        return cls(cache_folder(root))

    def keep(self, name: str, files: Mapping[str, bytes], source: str) -> Path:
        """Put the obtained `files` of data set `name` into the cache; returns their folder. Raises DataError."""
        target = self.root / name
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self.root))
            try:
                for file, content in {**files, SOURCE_FILE: source.encode()}.items():
                    (made / file).write_bytes(content)
                made.chmod(0o755)
                if target.exists():  # What lies there was not found to hold the set.
                    target.rename(made / "replaced")
                made.rename(target)
                shutil.rmtree(target / "replaced", ignore_errors=True)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise DataError(f"the cache {self.root} cannot be written ({error.strerror or error}). Free some space, or "
                            f"name a folder that can be written with {ENVIRONMENT}.") from error
        return target

    def read(self, key: str) -> RawDataset | None:
        """The decoded copy named `key`; None if there is none, or if it is not what was written."""
        path = self._decoded(key)
        try:
            with safe_open(path, "pt") as file:
                about, digest = (file.metadata()[key] for key in ("about", "digest"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            intact = _digest(about, tensors) == digest
            about = json.loads(about)
            train, test = (Split(tensors[f"{split}.images"], tensors[f"{split}.labels"], tensors.get(f"{split}.masks"))
                           for split in ("train", "test"))
            decoded = RawDataset(tuple(about["classes"]), train, test, about["official"], about["note"])
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            intact = False
        if not intact:
            _log.warning("the decoded copy %s is damaged; decoding again", path)
            return None
        return decoded

    def write(self, key: str, decoded: RawDataset) -> None:
        """Keep a decoded copy. A cache that cannot be written costs time at the next call, nothing else."""
        path = self._decoded(key)
        tensors = {f"{name}.{part}": tensor.contiguous()
                   for name, split in (("train", decoded.train), ("test", decoded.test))
                   for part in ("images", "labels", "masks") if (tensor := getattr(split, part)) is not None}
        about = json.dumps({"classes": decoded.classes, "official": decoded.official, "note": decoded.note})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, made = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
            os.close(handle)
            try:
                save_file(tensors, made, {"about": about, "digest": _digest(about, tensors)})
                os.chmod(made, 0o644)  # a cache may be shared
                os.replace(made, path)
            finally:
                Path(made).unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            _log.warning("no decoded copy kept in %s (%s); the next call decodes again", path.parent, error)

    def _decoded(self, key: str) -> Path:
        return self.root / "decoded" / f"{key}.safetensors"


def _digest(about: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
