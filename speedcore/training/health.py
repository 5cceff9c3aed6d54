"""Is a run what it looks like? Losses and logits that are no numbers, no better than a constant, runs that lie apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speedcore import stats
from speedcore.errors import DivergedError
from speedcore.store.runs import Run

# A run lies apart if it is this far from the median of its like: points as a share, and in median deviations.
_APART, _APART_IN_DEVIATIONS = 0.05, 6.0
_REMEDY = ("Nothing of this run was kept. Try a lower rate ([optimizer] lr in the recipe), a longer rise of the schedule, or "
           "precision = \"fp32\".")


# --- while it trains -------------------------------------------------------------------------------------------------

def check_losses(key: str, losses: Sequence[Tensor], rates: Sequence[float], start: int, steps: int) -> None:
    """Raises DivergedError if a loss from `start` on (counted from 0) is no finite number.

    losses: device scalars of all steps, those before `start` known to be finite. Waits for the device, so it is called when
    the clock is looked at, which waits as well.
    """
    if start >= len(losses) or bool(torch.stack(list(losses[start:])).isfinite().all()):
        return
    at = next(i for i in range(start, len(losses)) if not math.isfinite(losses[i].item()))
    good = f"the last good value was {losses[at - 1].item():.4g}, at step {at}" if at else "there was no good value before it"
    raise DivergedError(f"{key}: the loss is {losses[at].item()} at step {at + 1} of {steps}, at a rate of {rates[at]:.3g}; "
                        f"{good}. {_REMEDY}")


def check_number(key: str, loss: float, of: str, step: int, rate: float) -> None:
    """Raises DivergedError if `loss` is no finite number. of: images it is the loss of."""
    if not math.isfinite(loss):
        raise DivergedError(f"{key}: the loss on {of} is {loss} after step {step}, at a rate of {rate:.3g}: the weights are no "
                            f"numbers, or their logits too large to be any. {_REMEDY}")


def check_logits(key: str, logits: np.ndarray, of: str, losses: Sequence[float], rate: float) -> None:
    """Raises DivergedError if a logit of the tested network is no finite number. losses: of all steps."""
    bad = int((~np.isfinite(logits)).any(axis=1).sum())
    if bad:
        raise DivergedError(f"{key}: for {bad:,} of {len(logits):,} {of} the trained network's logits are no finite numbers, "
                            f"after {len(losses)} steps (last training loss {losses[-1]:.4g}, last rate {rate:.3g}). {_REMEDY}")


# --- of a finished run -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ConstantPrediction:
    """What always predicting one class would score on a run's test images.

    share: that of the most frequent class. uneven: whether classes differ in size. no_better: whether the run's accuracy (with
    views where it has them) is no better than that as far as so many images can tell, by the exact interval of a share.
    """

    share: float
    label: str
    uneven: bool
    no_better: bool

    @property
    def sentence(self) -> str:
        """What it says of the run; "" where the run is better."""
        always = f"always predicting “{self.label}” scores {100 * self.share:.2f} %"
        return f"no better than a constant prediction: {always}" if self.no_better else ""


def constant_prediction(run: Run) -> ConstantPrediction:
    """Beside what a run's accuracy has to be seen. Read from its predictions."""
    labels, classes = run.predictions["labels"], run.record.data.classes
    counts = np.bincount(labels, minlength=len(classes))
    share = float(counts.max() / len(labels))
    low = stats.share_interval(round(run.record.accuracy * len(labels)), len(labels)).low
    return ConstantPrediction(share, classes[int(counts.argmax())], bool(counts.max() > counts.min()), low <= share)


def outlying(values: Sequence[float]) -> tuple[int, ...]:
    """Which of at least three accuracies (shares of 1) lie apart: 5 points from the median, and six times as far as half are."""
    if len(values) < 3:
        return ()
    away = [abs(value - stats.median(values)) for value in values]
    limit = max(_APART, _APART_IN_DEVIATIONS * stats.median(away))
    return tuple(i for i, distance in enumerate(away) if distance > limit)


def remarks(runs: Sequence[Run], values: Sequence[float]) -> tuple[str, ...]:
    """What has to be known of runs of one recipe before their mean is read, in sentences. values: an accuracy of each."""
    found = []
    constant = [(run, answer) for run in runs if (answer := constant_prediction(run)).no_better]
    for run, answer in constant:
        found.append(f"the run of seed {run.record.seed} did not learn: {100 * run.record.accuracy:.2f} % on the test set is "
                     f"{answer.sentence}")
    for i in outlying(values):
        others = stats.median([value for j, value in enumerate(values) if j != i])
        found.append(f"the run of seed {runs[i].record.seed} lies apart: {100 * values[i]:.2f} %, where the median of the other "
                     f"{len(values) - 1} is {100 * others:.2f} %; mean and interval are of all {len(values)}")
    return tuple(found)
