"""Precomputed epochs: all augmented batches of a run, written to disk before training and streamed back.

The article's data mode. The store is one raw uint8 file of batches beside one of labels, read from front to back; a
thread fetches the next batch while the current one trains, so that reading never holds training up. Its images are to
the bit those that augmentation on the device would have made.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import BufferedReader, FileIO
from itertools import islice
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from speedcore.data.batches import Batches
from speedcore.errors import DataError

_IMAGES, _LABELS = "images.u8", "labels.i64"


class PrecomputedEpochs:
    """`steps` batches of `batches`, stored in `folder`. Iterates like `Batches`, but ends. Close it to free the disk."""

    def __init__(self, batches: Batches, steps: int, folder: Path):
        self.batch_size, self.steps_per_epoch, self.size = batches.batch_size, batches.steps_per_epoch, batches.size
        self.steps = steps
        self.folder = Path(folder)
        first_images, first_labels = next(iter(batches))
        self._device = first_labels.device
        self._shape = (self.batch_size, *first_images.shape[1:])
        self._write(batches)

    @property
    def bytes(self) -> int:
        """Size of the stored images."""
        return self.steps * prod(self._shape)

    def _write(self, batches: Batches) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
            if free < 1.05 * self.bytes:
                raise DataError(f"precomputed epochs need {self.bytes / 1e9:.1f} GB in {self.folder}, which has "
                                f"{free / 1e9:.1f} GB free; free some, or train with data = \"device\".")
            # Written as files, not through a map: a disk that fills up is then an error and not a crash.
            with (self.folder / _IMAGES).open("wb") as images, (self.folder / _LABELS).open("wb") as labels:
                for batch, target in islice(batches, self.steps):
                    images.write(batch.cpu().contiguous().numpy().data)
                    labels.write(target.cpu().numpy().data)
        except OSError as error:
            self.close()
            raise DataError(f"precomputed epochs cannot be written to {self.folder}: {error.strerror or error}.") from None
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        pin = self._device.type == "cuda"

        def fetch(stream: FileIO | BufferedReader, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            # Read, not mapped: a fault for each page costs more than the copy, and mapped pages would count as memory.
            buffer = torch.empty(shape, dtype=dtype, pin_memory=pin)
            if stream.readinto(buffer.numpy().data) != buffer.nbytes:
                raise DataError(f"{stream.name} is shorter than when it was written; something else changed it.")
            return buffer.to(self._device, non_blocking=True)

        with ((self.folder / _IMAGES).open("rb", buffering=0) as images, (self.folder / _LABELS).open("rb") as labels,
              ThreadPoolExecutor(1, thread_name_prefix="precomputed-epochs") as reader):
            _read_ahead(images)

            def both() -> tuple[Tensor, Tensor]:
                return fetch(images, self._shape, torch.uint8), fetch(labels, self._shape[:1], torch.int64)

            coming = reader.submit(both)
            for step in range(self.steps):
                batch = coming.result()
                if step + 1 < self.steps:
                    coming = reader.submit(both)
                yield batch

    def close(self) -> None:
        """Delete the stored files, and the folder if nothing else is in it."""
        with suppress(OSError):
            (self.folder / _IMAGES).unlink(missing_ok=True)
            (self.folder / _LABELS).unlink(missing_ok=True)
            self.folder.rmdir()

    def __enter__(self) -> PrecomputedEpochs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read_ahead(stream: BinaryIO) -> None:
    """Tell the kernel, where it listens, that the file will be read from front to back."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
