"""The same ladder at a fraction of its size, for machines that cannot train it whole: less data, fewer epochs, narrower.

All rungs are cut alike, batches stay as they are, and whatever shows the result says so. What forgets by the step forgets
over the same share of a run: an average of weights that looks back over a tenth of the training does so at every scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from speedcore.data.dataset import Dataset, Provenance
from speedcore.errors import RecipeError
from speedcore.recipe import Recipe

_PARTS = ("data", "epochs", "width")
# A `Scale`, as records hold it.
ScaleTable = dict[Literal["data", "epochs", "width"], Annotated[float, Field(gt=0, le=1)]]


@dataclass(frozen=True)
class Scale:
    """Shares of the training images, of each rung's epochs and of its channels."""

    data: float = 1.0
    epochs: float = 1.0
    width: float = 1.0

    @classmethod
    def parse(cls, text: str | float) -> Scale:
        """"0.5" for all three, or "data=0.2,width=0.5" for some. Raises RecipeError."""
        try:
            if "=" not in str(text):
                scale = cls(*[float(text)] * 3)
            else:
                parts = dict(part.split("=", 1) for part in str(text).replace(" ", "").split(","))
                if set(parts) - set(_PARTS):
                    raise ValueError
                scale = cls(**{part: float(value) for part, value in parts.items()})
        except (ValueError, TypeError):
            scale = cls(data=math.nan)
        if not all(0 < value <= 1 for value in vars(scale).values()):
            raise RecipeError(f"--scale '{text}' is no scale: write one share for everything (0.5) or some of data=, epochs=, "
                              f"width= with commas between them, each above 0 and at most 1.")
        return scale

    @property
    def whole(self) -> bool:
        return self == Scale()

    @property
    def table(self) -> ScaleTable:
        """As records hold it."""
        return {"data": self.data, "epochs": self.epochs, "width": self.width}

    @property
    def text(self) -> str:
        """For tables and captions."""
        if self.whole:
            return "at full scale"
        shares = {"training images": self.data, "epochs": self.epochs, "channels": self.width}
        return "at a reduced scale: " + ", ".join(f"{100 * share:.4g} % of the {what}" for what, share in shares.items())

    def recipe(self, recipe: Recipe) -> Recipe:
        """`recipe` with this share of its epochs and channels; averages and lookahead shortened with the steps."""
        if self.whole:
            return recipe
        epochs = recipe.epochs * self.epochs
        average, lookahead = recipe.average, recipe.lookahead
        if average and average.power is None:
            average = average.model_copy(update={"decay": self._decay(average.decay)})
        if lookahead:
            lookahead = lookahead.model_copy(update={"decay": self._decay(lookahead.decay)})
        return recipe.changed(network=recipe.network.narrowed(self.width).model_dump(), epochs=epochs,
                              min_epochs=min(recipe.min_epochs, epochs), average=average, lookahead=lookahead)

    def _decay(self, decay: float) -> float:
        """The decay a step that loses over a share of the steps what `decay` loses over all of them."""
        return max(1e-6, decay ** (1 / (self.data * self.epochs)))

    def dataset(self, dataset: Dataset) -> Dataset:
        """`dataset` with this share of its training images, drawn once, and all of its test images."""
        if self.data == 1:
            return dataset
        order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(0x5CA1E))
        kept = order[:max(1, round(self.data * len(dataset.train)))].sort().values
        origin = dataset.provenance
        note = f"{len(kept)} of {len(dataset.train)} training images. {origin.note}".strip()
        return Dataset.make(dataset.name, dataset.classes, dataset.train.take(kept), dataset.test,
                            Provenance(origin.source, origin.official, "", note, origin.seconds))
