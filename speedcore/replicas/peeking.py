"""Looks at the test set while training goes on, for replicas of systems that take them (`recipe.Peek` says what is wrong
with stopping by them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from speedcore.data.dataset import Split
from speedcore.recipe import Peek
from speedcore.training import evaluate

if TYPE_CHECKING:
    from speedcore.training.state import TrainState


class Peeks:
    """A look after each epoch. `seen` lists (step, accuracy)."""

    def __init__(self, trainee: TrainState, test: Split, spec: Peek, steps_per_epoch: int):
        self._trainee, self._test, self._spec, self._steps_per_epoch = trainee, test, spec, steps_per_epoch
        self._logits: Float[Tensor, "n k"] | None = None
        self.seen: list[tuple[int, float]] = []

    def due(self, step: int) -> bool:
        """Whether an epoch ends with `step` (counted from 1)."""
        return step % self._steps_per_epoch == 0

    def enough(self, step: int) -> bool:
        """Look: whether the accuracy is one to stop at."""
        self._logits = self._trainee.logits(self._test.images)
        accuracy, _ = evaluate.score(self._logits, self._test.labels)
        self.seen.append((step, accuracy))
        return self._spec.stop_at is not None and accuracy >= self._spec.stop_at

    def after(self, step: int) -> Float[Tensor, "n k"] | None:
        """Logits of the test set from the look after `step`, if there was one: nothing need be tested twice."""
        return self._logits if self.seen and self.seen[-1][0] == step else None
