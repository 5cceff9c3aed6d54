"""Where techniques take part in a run: on the images of a step, after the step, before the test. Ours and a user's are the same.

A technique is an object with any of the methods of `Technique`. A recipe's own fields ask for ours (`lookahead`, `average`,
`bn_recalibration_images`); `techniques` lists further ones, each made by its factory: `factory(state, train, **arguments)`,
where `state` is the `TrainState` (network, optimizer, recipe, device) and `train` the training images as they are.
"""

from __future__ import annotations

from typing import Protocol

from jaxtyping import UInt8
from torch import Tensor

from speedcore.data.dataset import Part, Split
from speedcore.errors import PluginError, UserError
from speedcore.recipe import CustomTechnique
from speedcore.techniques.averaging import Lookahead, WeightAverage
from speedcore.training.state import TrainState


class Technique(Protocol):
    """Each method is optional. step counts from 1; progress runs from 0 to 1, and is 1 in the last step."""

    def on_images(self, images: UInt8[Tensor, "n c h w"], progress: float) -> UInt8[Tensor, "n c h w"]:
        """The images to train on in place of these, augmented and on the device; other sides are allowed. Where the recipe's data
        come from a loader they are normalised already."""

    def after_step(self, step: int, progress: float) -> None:
        """Called after each optimiser step."""

    def before_test(self) -> None:
        """Called once, after the last step: the network is to hold the weights that are tested."""


class Techniques:
    """Those of a run, called one after the other, each for what it has.

    The order: a user's own; then lookahead, from whose weights training goes on; then the average, which is one of what lookahead
    leaves; then batch-norm's statistics, which are to be those of the tested weights.
    """

    def __init__(self, state: TrainState, train: Split | Part):
        recipe, network = state.recipe, state.network
        found: list[object] = [_made(spec, state, train) for spec in recipe.techniques]
        if recipe.lookahead:
            found.append(Lookahead(network, recipe.lookahead))
        if recipe.average:
            found.append(WeightAverage(network, recipe.average))
        if recipe.bn_recalibration_images:
            found.append(Recalibration(state, train))
        self._on_images, self._after_step, self._before_test = (
            [getattr(one, hook) for one in found if hasattr(one, hook)] for hook in ("on_images", "after_step", "before_test"))

    def on_images(self, images: Tensor, progress: float) -> Tensor:
        for change in self._on_images:
            images = change(images, progress)
        return images

    def after_step(self, step: int, progress: float) -> None:
        for act in self._after_step:
            act(step, progress)

    def before_test(self) -> None:
        for act in self._before_test:
            act()


class Recalibration:
    """The recipe's `bn_recalibration_images`, over training images as they are."""

    def __init__(self, state: TrainState, train: Split | Part):
        self._state, self._train = state, train

    def before_test(self) -> None:
        self._state.recalibrate_batch_norm(self._train)


def _made(spec: CustomTechnique, state: TrainState, train: Split | Part) -> object:
    factory = spec.load()
    try:
        made = factory(state, train, **spec.arguments)
    except UserError:
        raise
    except Exception as error:
        raise PluginError(f"technique '{spec.factory}' could not be made: {type(error).__name__}: {error}.") from error
    if not any(hasattr(made, hook) for hook in ("on_images", "after_step", "before_test")):
        raise PluginError(f"technique '{spec.factory}' returned {type(made).__name__}, which has none of the methods on_images, "
                          f"after_step and before_test; see docs/extending.md.")
    return made
