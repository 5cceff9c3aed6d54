"""The preregistered outcomes that are read off explanations and runs as they lie on disk: no network is run here."""

from __future__ import annotations

import numpy as np
import torch

from explain.artefact import Explanation
from explain.claim.preregistration import NORMALISED_MASS, Outcome
from explain.metrics import Score
from explain.models import ExplainError
from speedcore.store.runs import Run


def normalised_mass(explanation: Explanation, outcome: Outcome, rows: np.ndarray | None = None,
                    kind: str = "true") -> float | None:
    """Normalised mass of the true-class maps on the object (`explain.metrics.Score`), over the measured images.

    rows: bool, which of the measured images count; None: all. kind: "true", or a null control that the explanation has. None is
    returned where the explanation is not of the outcome's method, has no masks, or where no map can be scored. Raises
    ExplainError for an outcome that is not this one.
    """
    if outcome.measure != NORMALISED_MASS or outcome.target != "true":
        raise ExplainError(f"outcome '{outcome.name}' ({outcome.measure}, {outcome.target} class) is not stored with "
                           f"explanations; {NORMALISED_MASS} of the true class is.")
    layer = explanation.record.layers.get(outcome.layer)
    if explanation.record.method != outcome.method or layer is None or layer.score is None:
        return None
    if rows is None:
        return (layer.score if kind == "true" else layer.controls[kind]).score
    names = (f"{outcome.layer}_mass_{kind}", "foreground", f"{outcome.layer}_ceiling")
    return Score.of(*(torch.from_numpy(explanation.arrays[name][rows]) for name in names)).score


def both_right(explanation: Explanation, runs: tuple[Run, ...]) -> np.ndarray:
    """Which of the measured images all of `runs` classify correctly: bool (measured,)."""
    index = explanation.arrays["measured_index"]
    hits = [(run.predictions["logits"].argmax(1) == run.predictions["labels"])[index] for run in runs]
    return np.logical_and.reduce(hits)
