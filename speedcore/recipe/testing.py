"""How the test set is read. `speedcore.training.evaluate` averages the views, `speedcore.replicas.peeking` looks early."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from speedcore.recipe.part import RecipePart, percent


class TTAConfig(RecipePart):
    """Views of each test image whose logits are averaged, beside the image itself."""

    mirror: bool = False
    """the mirror image"""
    shifts: bool = False
    """each of these shifted by a pixel up-left and down-right"""
    shift_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """what the shifted views count together (0.5: half); without it each view counts the same"""

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

    def in_words(self) -> str:
        views = [word for word, there in (("mirrored", self.mirror), ("shifted by a pixel", self.shifts)) if there]
        share = ("" if self.shift_share is None else f" (the shifted ones count {percent(self.shift_share)} together"
                 f"{'' if self.shifts else ': without effect'})")
        return f"the image{', ' if views else ' alone'}{' and '.join(views)}{share}"


class Peek(RecipePart):
    """Looks at the *test* set after every epoch, as some published systems take them: their clocks count the time.

    The accuracy of a run that one of them ends is no estimate for unseen images: its record says so (`RunRecord.peeked`), and so
    does every table that shows it. Without `stop_at` a look decides nothing.
    """

    stop_at: Annotated[float, Field(gt=0, le=1)] | None = None
    """accuracy (a share of 1) at which training ends. The test set then chooses when it is read: such a run is marked, and its
    accuracy says nothing about unseen images"""

    def in_words(self) -> str:
        return "after every epoch; " + ("they decide nothing" if self.stop_at is None else
                                        f"at {percent(self.stop_at)} training ends")
