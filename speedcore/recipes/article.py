"""The article's recipe: DavidNet, 25 epochs of one-cycle, crop, flip and cutout ("Are 1000 seconds enough to train?").

What the article leaves out is taken from the series whose network it trains: Nesterov SGD with the rate inside the
momentum buffer, batch 512, peak rate 0.4 a mean-loss batch after a fifth of the epochs, decay 5e-4, reflected
padding, cutout of 8 pixels.
"""

from __future__ import annotations

from speedcore.recipe import Augment, DavidNetConfig, Recipe, Schedule, SGDConfig

_PICTURES = Recipe(
    name="article",
    description="DavidNet, 25 epochs, one-cycle, precomputable crop, flip and cutout",
    network=DavidNetConfig(),
    optimizer=SGDConfig(lr=0.4, momentum=0.9, weight_decay=5e-4),
    schedule=Schedule(knots=((0.0, 0.0), (0.2, 1.0), (1.0, 0.0))),
    augment=Augment(crop=4, flip="random", cutout=8),
    batch_size=512,
    epochs=25,
    min_epochs=5,
    precision="auto",
    channels_last=True,
)

# The mirror image of a 2 is no digit: by default digits are cropped and cut out, not flipped.
_DIGITS = _PICTURES.changed(augment=Augment(crop=4, cutout=8))

RECIPES = {"*": _PICTURES, "mnist": _DIGITS}
