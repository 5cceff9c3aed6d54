"""Looks at the test set while training goes on, for replicas of systems that take them (`recipe.Peek` says what is wrong
with stopping by them)."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from speedcore.recipe import Peek

Logits = Float[Tensor, "n k"]


class Peeks:
    """A look after each epoch. `seen` lists (step, accuracy).

    test: tests the network as it is: (logits of the test set, accuracy as a share of 1).
    """

    def __init__(self, test: Callable[[], tuple[Logits, float]], spec: Peek, steps_per_epoch: int):
        self._test, self._spec, self._steps_per_epoch = test, spec, steps_per_epoch
        self._logits: Logits | None = None
        self.seen: list[tuple[int, float]] = []

    def due(self, step: int) -> bool:
        """Whether an epoch ends with `step` (counted from 1)."""
        return step % self._steps_per_epoch == 0

    def enough(self, step: int) -> bool:
        """Look: whether the accuracy is one to stop at."""
        self._logits, accuracy = self._test()
        self.seen.append((step, accuracy))
        return self._spec.stop_at is not None and accuracy >= self._spec.stop_at

    def after(self, step: int) -> Logits | None:
        """Logits of the test set from the look after `step`, if there was one: nothing need be tested twice."""
        return self._logits if self.seen and self.seen[-1][0] == step else None
