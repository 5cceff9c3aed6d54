"""How the test set is read. `speedcore.training.evaluate` averages the views, `speedcore.replicas.peeking` looks early."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from speedcore.recipe.base import Part


class TTAConfig(Part):
    """Views averaged at test time: the image, its mirror, and both shifted by one pixel.

    shift_share: what the shifted views count together; None: each view counts the same.
    """

    mirror: bool = False
    shifts: bool = False
    shift_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def any(self) -> bool:
        return self.mirror or self.shifts

    @property
    def count(self) -> int:
        """How many views there are, the image itself among them."""
        return (2 if self.mirror else 1) * (3 if self.shifts else 1)

    @property
    def weights(self) -> tuple[float, ...]:
        """What each view counts, 1 on average: the image, its mirror, then the shifted ones."""
        if not self.shifts or self.shift_share is None:
            return (1.0,) * self.count
        upright = self.count // 3
        return (3 * (1 - self.shift_share),) * upright + (1.5 * self.shift_share,) * (2 * upright)


class Peek(Part):
    """Looks at the *test* set after every epoch, as some published systems take them: their clocks count the time.

    stop_at: accuracy (a share of 1) at which training ends. The test set then chooses the moment at which it is read, so
    the accuracy of such a run is no estimate for unseen images: its record says so (`RunRecord.peeked`), and so does every
    table that shows it. Without `stop_at` a look decides nothing.
    """

    stop_at: Annotated[float, Field(gt=0, le=1)] | None = None
