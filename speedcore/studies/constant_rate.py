"""Recipes as the series' second part trains them to see what a learning rate does: up over five epochs, then constant."""

from __future__ import annotations

from speedcore.errors import RecipeError
from speedcore.recipe import Recipe, Schedule, TTAConfig

WARM, EPOCHS = 5, 30


def at_constant_rate(recipe: Recipe, factor: float = 1.0) -> Recipe:
    """`recipe` for thirty epochs: its rates rise over the first five to `factor` times their peaks, and stay there.

    What is tested are the weights of the last step: averages of weights are left out, and so are views at test time. All
    training images are trained on, on the device; the test set is looked at once.
    """
    if not factor > 0:
        raise RecipeError(f"a rate of {factor:g} times the peak trains nothing; write factors above 0.")
    knots = ((0.0, 0.0), (WARM / EPOCHS, factor), (1.0, factor))
    return recipe.changed(epochs=EPOCHS, min_epochs=1.0, schedule=Schedule(knots=knots).model_dump(), average=None,
                          lookahead=None, peek=None, data="device", loader=None, val_images=0,
                          tta=TTAConfig().model_dump(), norm_precision="fp32")
