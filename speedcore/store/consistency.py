"""What a run's record says, compared with what lies beside it: nothing is believed that can be computed again."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int64

from speedcore.clock import POLICIES
from speedcore.store.run_record import RunRecord

# Losses are sums in fp32, in another order on every machine; accuracies are counts.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-6
# In fp32 what is larger than this may have become infinite on its way.
_LARGE = 1e37


def score(logits: Float[np.ndarray, "n k"], labels: Int64[np.ndarray, " n"]) -> tuple[float, float]:
    """(accuracy as a share of 1, mean cross-entropy in nats), in double precision."""
    accuracy = float((logits.argmax(1) == labels).mean())
    with np.errstate(all="ignore"):
        wide = logits.astype(np.float64)
        largest = wide.max(1)
        normaliser = largest + np.log(np.exp(wide - largest[:, None]).sum(1))
        return accuracy, float((normaliser - wide[np.arange(len(labels)), labels]).mean())


def prediction_bytes(record: RunRecord) -> int:
    """The most that the predictions of such a run take on disk."""
    images, classes = record.data.test_images, len(record.data.classes)
    return images * (8 + 2 * 4 * classes) + (16 << 10)


def check_record(record: RunRecord) -> None:
    """Raises ValueError if the record contradicts itself."""
    if record.recipe_hash != record.recipe.hash:
        raise ValueError(f"its recipe is not the one that recipe_hash ({record.recipe_hash}) names")
    for name, policy in POLICIES.items():
        try:
            expected = policy.seconds(record.ledger)
        except ValueError:
            raise ValueError("its ledger names a phase that there is not") from None
        if not math.isclose(record.clocks.get(name, math.nan), expected, rel_tol=1e-9, abs_tol=1e-6):
            raise ValueError(f"its clock '{name}' shows {record.clocks.get(name)} s, and its ledger {expected:.6g} s")
    if len(record.data.mean) != record.data.channels or len(record.data.std) != record.data.channels:
        raise ValueError("its mean and std are not of as many channels as its data")


def check_predictions(record: RunRecord, found: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if accuracies and loss of the record are not those of the predictions."""
    metrics, images, classes = record.metrics, record.data.test_images, len(record.data.classes)
    expected = {"labels": ((images,), np.int64), "logits": ((images, classes), np.float32)}
    if metrics.tta_accuracy is not None:
        expected["tta_logits"] = expected["logits"]
    if found.keys() != expected.keys():
        raise ValueError(f"it holds {', '.join(found) or 'nothing'}, and not {', '.join(expected)}")
    for name, (shape, dtype) in expected.items():
        if found[name].shape != shape or found[name].dtype != dtype:
            raise ValueError(f"{name} are {found[name].dtype} of shape {found[name].shape}, not {np.dtype(dtype)} of {shape}")
    labels = found["labels"]
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels are not among {classes} classes")
    accuracy, loss = score(found["logits"], labels)
    _compare("test_accuracy", metrics.test_accuracy, accuracy, 0.5 / images)
    _compare("test_loss", metrics.test_loss, loss, _ABSOLUTE, _RELATIVE)
    if metrics.tta_accuracy is not None:
        _compare("tta_accuracy", metrics.tta_accuracy, score(found["tta_logits"], labels)[0], 0.5 / images)


def check_steps(record: RunRecord, columns: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if the training loss and accuracy of the record are not those of its last steps."""
    last = max(1, record.steps // 20)
    for name in ("loss", "accuracy"):
        found = float(columns[name][-last:].mean())
        _compare(f"train_{name}", getattr(record.metrics, f"train_{name}"), found, _ABSOLUTE, _RELATIVE)


def check_epochs(record: RunRecord, columns: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError if the validation accuracy of the record is not that of its last validation point."""
    if record.metrics.validation_accuracy is not None:
        _compare("validation_accuracy", record.metrics.validation_accuracy, float(columns["validation_accuracy"][-1]), _ABSOLUTE)


def _compare(name: str, recorded: float, found: float, absolute: float, relative: float = 0.0) -> None:
    lost = [not math.isfinite(value) or abs(value) > _LARGE for value in (recorded, found)]
    if lost[0] != lost[1] or (not any(lost) and not math.isclose(recorded, found, rel_tol=relative, abs_tol=absolute)):
        raise ValueError(f"the record's {name} is {recorded:.6g}, and these numbers say {found:.6g}")
