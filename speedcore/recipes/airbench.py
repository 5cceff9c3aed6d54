"""The airbench methods for CIFAR-10 as published (Keller Jordan, 2024), in this project's terms: the record's base recipes.

| recipe | published for CIFAR-10 on one A100 | n |
|---|---|---|
| airbench94 | 94.01 % in 3.83 s, 9.9 epochs of Nesterov SGD with lookahead | 1000 |
| airbench94-muon | 94.01 % in 2.59 s, 8 epochs of Muon | 200 |

The published rates are for a loss summed over the batch; here the loss is a mean, so that they are multiplied by the
batch size. All training images are trained on: none are set aside for curves. What differs from the published programs:
fp32 weights, multiplied in what the machine is quickest at, where they have half-precision weights; the rate falls by
1/steps before the first step instead of after it; the head's weights are drawn from a normal distribution of the same
deviation; Muon's whitening bias starts at zero. The other data sets get the same methods with a batch of 1000; digits are not
mirrored, neither in training nor at test time.

Rates and lookahead are made for whole runs: on MNIST cut to 20 steps (0.35 epochs, one seed), airbench94 ended at chance on
held-out images (9.5 %), airbench94-muon at 98.65 %. As base recipes both are therefore not cut below three epochs by plans.
"""

from __future__ import annotations

from typing import Any

from speedcore.recipe import (
    Augment,
    LookaheadConfig,
    MuonConfig,
    Recipe,
    RecordNetConfig,
    Schedule,
    SGDConfig,
    TTAConfig,
    WhitenBias,
)
from speedcore.recipe.schedules import interpolate

_WIDTHS = (64, 256, 256)
_NETWORK = RecordNetConfig(widths=_WIDTHS, whiten_kernel=2, norm_momentum=0.4, norm_eps=1e-12)
# A linear layer's default is uniform within ±1/√inputs, whose standard deviation is 1/√(3·inputs).
_DEFAULT_HEAD = _NETWORK.model_copy(update={"logit_scale": 1 / 9, "head_std": (3 * _WIDTHS[-1]) ** -0.5})
_UNIT_HEAD = _NETWORK.model_copy(update={"logit_scale": 1 / _WIDTHS[-1], "head_std": 1.0})
_WHITEN_EPOCHS = 3


def _sgd(batch_size: int, epochs: float, schedule: Schedule) -> SGDConfig:
    """airbench94's rate (11.5) and decay (0.0153), published for 1024 images and for steps as if without momentum.

    Under a constant gradient, Nesterov momentum m makes a step 1 + 1/(1 − m) times as long: both are divided by that.
    """
    momentum = 0.85
    share = batch_size / 1024 / (1 + 1 / (1 - momentum))
    lr, decay = 11.5 * share, 0.0153 * share
    # The whitening's bias goes with the filters' rate, not with that of the other biases, and stops at full height.
    stop = _WHITEN_EPOCHS / epochs
    before = tuple(knot for knot in schedule.knots if knot[0] < stop)
    own = Schedule(knots=(*before, (stop, interpolate(schedule.knots, stop)), (stop, 0.0), (1.0, 0.0)))
    return SGDConfig(lr=lr, momentum=momentum, weight_decay=decay / lr, lr_in_buffer=False, bias_lr=64.0,
               whiten_bias=WhitenBias(lr=lr, schedule=own))


def _muon(batch_size: int, epochs: float) -> MuonConfig:
    """airbench94_muon's rates: 0.24 for filters, 0.67 and 0.053 an image for head and biases, decay 2e-6 an image."""
    own = Schedule(knots=((0.0, 1.0), (_WHITEN_EPOCHS / epochs, 0.0), (1.0, 0.0)))
    return MuonConfig(lr=0.24, momentum=0.6, newton_schulz_steps=3, head_lr=0.67 * batch_size, bias_lr=0.053 * batch_size,
                sgd_momentum=0.85, decay=2e-6 * batch_size,
                whiten_bias=WhitenBias(lr=0.053 * batch_size, schedule=own))


def _recipe(name: str, description: str, batch_size: int, mirror: bool = True, **fields: Any) -> Recipe:
    """What both methods share. Shifted views count half, the image and its mirror the other half."""
    return Recipe(name=name, description=description, augment=Augment(crop=2, flip="alternating" if mirror else "none"),
                  batch_size=batch_size, min_epochs=3, label_smoothing=0.2,
                  tta=TTAConfig(mirror=mirror, shifts=True, shift_share=0.5), precision="auto", channels_last=True,
                  val_images=0, **fields)


def _airbench94(batch_size: int, mirror: bool = True) -> Recipe:
    epochs, schedule = 9.9, Schedule(knots=((0.0, 0.2), (0.23, 1.0), (1.0, 0.07)))
    return _recipe("airbench94", "airbench94 as published: Nesterov SGD with lookahead, 6 views", batch_size, mirror,
                   network=_DEFAULT_HEAD, optimizer=_sgd(batch_size, epochs, schedule), schedule=schedule, epochs=epochs,
                   lookahead=LookaheadConfig(decay=0.95, every=5, power=3.0))


def airbench94_muon(batch_size: int, mirror: bool = True, epochs: float = 8) -> Recipe:
    """The method of Muon, as published but for its length: the whitening's bias is trained for three epochs in any case."""
    return _recipe("airbench94-muon", "airbench94_muon as published: Muon for the filters, 6 views", batch_size, mirror,
                   network=_UNIT_HEAD, optimizer=_muon(batch_size, epochs), epochs=epochs,
                   schedule=Schedule(knots=((0.0, 1.0), (1.0, 0.0))))


AIRBENCH94 = {"*": _airbench94(1000), "cifar10": _airbench94(1024), "mnist": _airbench94(1000, mirror=False)}
AIRBENCH94_MUON = {"*": airbench94_muon(1000), "cifar10": airbench94_muon(2000),
                   "mnist": airbench94_muon(1000, mirror=False)}
