"""Is a finished run what it says it is? First every stored file is read and compared, then the run is trained again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from speedcore.data.dataset import Dataset
from speedcore.errors import RunError
from speedcore.store.runs import Run, RunStore
from speedcore.training.loop import replay


def verify(path: Path | str, load: Callable[[str], Dataset]) -> str:
    """Check the run folder at `path` and return in one sentence what was found to be the same.

    load: gives the data set of a name. Nothing is written beside the run or anywhere that its record names: the second training
    goes to a temporary folder. Raises Damaged for a file that is not what was written, RunError for other data and for weights
    that differ, naming the first.
    """
    run = Run.open(path)
    kept, network = run.weights(), run.network()
    if not (len(run.steps["step"]) == run.record.steps and len(run.epochs["step"])):
        raise RunError(f"{path}: its curves are not of {run.record.steps} steps.")
    dataset = load(run.record.data.name)
    if dataset.fingerprint != run.record.data.fingerprint:
        raise RunError(f"{path}: it was trained on other bytes than the '{dataset.name}' found here; give --data.")
    if not np.array_equal(run.predictions["labels"], dataset.test.labels.numpy()):
        raise RunError(f"{path}: its predictions are of other labels than those of the test split.")
    del network
    with tempfile.TemporaryDirectory() as folder:
        again = replay(run, dataset, RunStore(folder))
        different = _different(kept, again.weights())
        predictions = again.predictions
    if different:
        raise RunError(f"{path}: its files are what was written, but trained again, the weights differ, first in '{different}' "
                       f"(test accuracy {again.record.metrics.test_accuracy:.4f}, recorded "
                       f"{run.record.metrics.test_accuracy:.4f}). Bits agree only on the same kind of machine, thread count and "
                       f"torch version as in its run.json.")
    for name, values in run.predictions.items():
        if not np.array_equal(values, predictions[name], equal_nan=values.dtype.kind == "f"):
            raise RunError(f"{path}: trained again, the weights are the same to the bit, but its {name} are not what they "
                           f"answer.")
    files = "the files are what was written" if run.record.sealed else "it has no manifest to compare its files with"
    return f"{path}: {files}; trained again, the same weights to the bit ({again.record.weights_sha256[:16]}…)"


def _different(kept: Mapping[str, torch.Tensor], again: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor, by name, that is not the same to the bit; None where all are."""
    for name in (*again, *kept):
        one, other = kept.get(name), again.get(name)
        if one is None or other is None or one.dtype != other.dtype or one.shape != other.shape:
            return name
        if one.numpy().tobytes() != other.numpy().tobytes():  # NaN is equal to itself here
            return name
    return None
