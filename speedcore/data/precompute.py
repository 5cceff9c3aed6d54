"""Precomputed epochs: all augmented batches of a run, written to disk before training and streamed back.

The article's data mode. The store is one raw uint8 file of batches (channels innermost) beside one of labels,
memory-mapped for reading; a thread fetches the next batch while the current one trains, so that reading never
holds training up. Its images are to the bit those that augmentation on the device would have made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
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
        self._shape = (steps, self.batch_size, *self.size, first_images.shape[1])
        self._write(batches)

    @property
    def bytes(self) -> int:
        """Size of the stored images."""
        return int(np.prod(self._shape))

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
                    images.write(batch.permute(0, 2, 3, 1).cpu().contiguous().numpy())
                    labels.write(target.cpu().numpy())
        except OSError as error:
            self.close()
            raise DataError(f"precomputed epochs cannot be written to {self.folder}: {error.strerror or error}.") from None
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[tuple[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"]]]:
        images = np.memmap(self.folder / _IMAGES, np.uint8, "r", shape=self._shape)
        labels = np.memmap(self.folder / _LABELS, np.int64, "r", shape=self._shape[:2])

        def fetch(step: int) -> tuple[Tensor, Tensor]:
            batch = torch.from_numpy(np.array(images[step])).permute(0, 3, 1, 2)
            target = torch.from_numpy(np.array(labels[step]))
            if self._device.type == "cuda":
                batch, target = (t.pin_memory().to(self._device, non_blocking=True) for t in (batch, target))
            return batch, target

        with ThreadPoolExecutor(1, thread_name_prefix="precomputed-epochs") as reader:
            coming = reader.submit(fetch, 0)
            for step in range(self.steps):
                batch = coming.result()
                if step + 1 < self.steps:
                    coming = reader.submit(fetch, step + 1)
                yield batch

    def close(self) -> None:
        """Delete the stored files, and the folder if nothing else is in it."""
        with suppress(OSError):
            (self.folder / _IMAGES).unlink(missing_ok=True)
            (self.folder / _LABELS).unlink(missing_ok=True)
            self.folder.rmdir()

    def __enter__(self) -> PrecomputedEpochs:
        return self

    def __exit__(self, *_) -> None:
        self.close()
