"""page-tricks: CIFAR-10 to 94 % in thirteen steps, 75 s to 26 s on one V100 ("How to train your ResNet", part 8: bag of tricks),
as its notebook has them.

    python -m speedcore ladder page-tricks --data DIR           fourteen rungs, beside what the source reported
    python -m speedcore train --dataset cifar10 --recipe page-tricks-no-cutout

The accuracies reported are means of 50 runs, whose standard deviation the source gives as roughly 0.15 points. It trades each
gain of accuracy for epochs; a rung here is what was left after the trade. Seconds are of the clock `dawnbench`: all work on the
data counts, tests do not. On what the rungs share:

- Loss summed over the batch of 512 with rate/512 and decay 5e-4 · 512: the mean loss at these rates and decays. Nesterov
  momentum 0.9 with the rate inside the buffer. Knots are stepped per batch, the first step at the rate of progress 1/steps.
  The last, partial batch of an epoch is dropped; all 50,000 images are trained on.
- The start loads image by image from images that were normalised and padded beforehand, in the main thread. From the next rung on
  groups of images share a choice, at most 200 groups an epoch and operation; here their pixels are moved by one gather for all.
- With frozen scales only biases are one-dimensional: `bias_lr` multiplies their rate and divides their decay.
- Whitening comes from the first 10,000 images. Ghost batch-norm's running statistics are the mean of the groups'.
- The moving average begins at the untrained weights, is updated after steps 1, 6, 11, ... and holds running statistics too.

What differs: fp32 weights, multiplied in what the machine is quickest at, where the source has fp16 weights; images are
normalised by the training set's own moments, which the source rounds to two digits; cutout fills with the mean colour rounded
to a grey level.
"""

from __future__ import annotations

from typing import Any

from speedcore.recipe import Augment, Loader, PageNetConfig, Recipe, Schedule, SGDConfig
from speedcore.recipe.ladder import Ladder, Reported, Rung

_RUNS: dict[str, Any] = {"sd": 0.0015, "n": 50}


def _knots(epochs: float, warm: float, floor: float | None = None) -> dict[str, Any]:
    """Up over the first `warm` epochs, then down to nothing; or to `floor` of the peak two epochs before the end."""
    if floor is None:
        return {"knots": ((0.0, 0.0), (warm / epochs, 1.0), (1.0, 0.0))}
    return {"knots": ((0.0, 0.0), (warm / epochs, 1.0), ((epochs - 2) / epochs, floor), (1.0, floor))}


_BASE = Recipe(
    name="page-tricks-start",
    network=PageNetConfig(residual=(1, 3)),
    optimizer=SGDConfig(lr=0.4, momentum=0.9, weight_decay=5e-4),
    schedule=Schedule(**_knots(24, 5)),
    augment=Augment(crop=4, flip="random", cutout=8),
    batch_size=512,
    epochs=24,
    precision="auto",
    data="loader",
    loader=Loader(prepared=True, worker=False),
    val_images=0,
)

LADDER = Ladder(
    name="page-tricks",
    description="CIFAR-10 to 94 %, from 75 s to 26 s by a bag of tricks",
    source="How to train your ResNet, part 8: bag of tricks (one V100)",
    dataset="cifar10",
    clock="dawnbench",
    base=_BASE,
    start=Rung(name="start", what="part 4's network, images from a loader, 24 epochs",
               reported=Reported(accuracy=0.941, sd=0.0015, seconds=75, epochs="24")),
    rungs=(
        Rung(name="gpu-data", what="augmented on the device in groups that share a choice",
             change={"data": "device", "augment": {"groups": 200}}, without=("loader",),
             reported=Reported(accuracy=0.941, seconds=70, epochs="24", **_RUNS)),
        Rung(name="pool-before-relu", what="max-pool before ReLU, the same function", change={"network": {
             "pool": "before-activation"}}, note="the source's 3 s are taken off its 70",
             reported=Reported(accuracy=0.941, seconds=67, epochs="24", **_RUNS)),
        Rung(name="pool-before-norm", what="max-pool before batch-norm, 25 epochs", change={
             "network": {"pool": "before-norm"}, "epochs": 25, "schedule": _knots(25, 5)},
             reported=Reported(accuracy=0.941, seconds=64, epochs="25", **_RUNS)),
        Rung(name="label-smoothing", what="label smoothing 0.2, 23 epochs", change={
             "label_smoothing": 0.2, "epochs": 23, "schedule": _knots(23, 23 / 5)},
             reported=Reported(accuracy=0.941, seconds=59, epochs="23", **_RUNS)),
        Rung(name="celu", what="CELU 0.075 for ReLU, 20 epochs", change={
             "network": {"activation": "celu", "celu_alpha": 0.075}, "epochs": 20},
             reported=Reported(accuracy=0.941, seconds=52, epochs="20", **_RUNS)),
        Rung(name="ghost", what="batch-norm over groups of 32, peak rate 0.6, 18 epochs", change={
             "network": {"ghost": 16}, "optimizer": {"lr": 0.6}, "epochs": 18},
             reported=Reported(accuracy=0.941, seconds=46, epochs="18", **_RUNS)),
        Rung(name="frozen-scales", what="batch-norm scales frozen at 1, biases at 16 times the rate", change={
             "network": {"norm_scales": "frozen", "celu_alpha": 0.3, "logit_scale": 1 / 16}, "optimizer": {"bias_lr": 16}},
             reported=Reported(accuracy=0.942, epochs="18", **_RUNS)),
        Rung(name="bias-rate", what="biases at 64 times the rate, 17 epochs", change={
             "optimizer": {"bias_lr": 64}, "epochs": 17},
             reported=Reported(accuracy=0.941, seconds=43, epochs="17", **_RUNS)),
        Rung(name="whitening", what="frozen 3×3 whitening of patches, then 1×1 filters, 15 epochs", change={
             "network": {"prep": "whiten"}, "epochs": 15},
             reported=Reported(accuracy=0.941, seconds=39, epochs="15", **_RUNS)),
        Rung(name="rate-up", what="peak rate 1.0, cutout 5, 14 epochs", change={
             "optimizer": {"lr": 1.0}, "augment": {"cutout": 5}, "epochs": 14},
             reported=Reported(accuracy=0.941, seconds=36, epochs="14", **_RUNS)),
        Rung(name="ema", what="moving average of the weights, rate kept at 0.1 for the last 2 epochs, 13 epochs", change={
             "average": {"decay": 0.99, "every": 5, "initial": True}, "epochs": 13,
             "schedule": _knots(13, 13 / 5, floor=0.1)},
             reported=Reported(accuracy=0.941, seconds=34, epochs="13", **_RUNS)),
        Rung(name="tta", what="the mirror image is asked too", change={"tta": {"mirror": True}},
             reported=Reported(accuracy=0.946, epochs="13", **_RUNS)),
        Rung(name="no-cutout", what="no cutout, 10 epochs", change={
             "augment": {"cutout": 0}, "epochs": 10, "schedule": _knots(10, 2, floor=0.1)},
             reported=Reported(accuracy=0.941, seconds=26, epochs="10", **_RUNS)),
    ),
)

# The same on every data set: what they were made for is CIFAR-10.
RECIPES = {recipe.name: {"*": recipe} for recipe in LADDER.recipes.values()}
