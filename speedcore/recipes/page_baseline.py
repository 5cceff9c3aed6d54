"""page-baseline: the fastest single-GPU DAWNBench entry of 2018 on CIFAR-10, from 341 s to 154 s on one V100 ("How to train your
ResNet", parts 1 to 3), as its notebook has it.

    python -m speedcore ladder page-baseline --data DIR
    python -m speedcore train --dataset cifar10 --recipe page-baseline-batch-768

Rungs 2 to 4 change nothing but the way of the images to the network, which is a choice here too (`loader`), so that their effect
is measured. The start fetches, pads and normalises image by image through Pillow, in a process of its own, and draws the random
choices of each image as it comes. The accuracies reported are of one saved run each, where there is one.

What the rungs share: Nesterov momentum 0.9 with the rate inside the buffer, decay 5e-4, crop and flip; the partial batch at the
end of an epoch is trained on, its loss summed at the rates of a full batch; batch-norm's scales are drawn from U(0, 1), as torch
did then. Seconds are of the clock `page-series`: the test of each epoch counts, and decides nothing.

What differs: fp32 weights under bf16 autocast where the source has fp16 weights. Up to rung batch-512 it keeps batch-norm in
fp16, which took a slow path; here that is bf16, with three bits less. Images are normalised by the training set's own moments.
"""

from __future__ import annotations

from typing import Any

from speedcore.recipe import Augment, Loader, Peek, PreactNetConfig, Recipe, Schedule, SGDConfig
from speedcore.recipe.ladder import Ladder, Reported, Rung


def _knots(peak: float) -> dict[str, Any]:
    """[0, 15, 30, 35] epochs to rates of [0, peak, 0.005, 0]."""
    return {"knots": ((0.0, 0.0), (15 / 35, 1.0), (30 / 35, 0.005 / peak), (1.0, 0.0))}


_BASE = Recipe(
    name="page-baseline-start",
    network=PreactNetConfig(prep_norm=True, norm_scales="uniform"),
    optimizer=SGDConfig(lr=0.1, momentum=0.9, weight_decay=5e-4),
    schedule=Schedule(**_knots(0.1)),
    augment=Augment(crop=4, flip="random"),
    batch_size=128,
    epochs=35,
    precision="bf16",
    norm_precision="bf16",
    data="loader",
    loader=Loader(choices="single", worker=True),
    loss="sum",
    drop_last=False,
    val_images=0,
    peek=Peek(),
)

LADDER = Ladder(
    name="page-baseline",
    description="CIFAR-10 to 94 %, from DAWNBench's 341 s to 154 s",
    source="How to train your ResNet, parts 1 to 3 (one V100)",
    dataset="cifar10",
    clock="page-series",
    base=_BASE,
    start=Rung(name="start", what="DAWNBench's fastest, 35 epochs of batches of 128", note="6 of the source's 7 runs reach 94 %",
               reported=Reported(accuracies=(0.9408,), seconds=341, epochs="35")),
    rungs=(
        Rung(name="no-repeat", what="no bn-relu twice after the first convolution", change={"network": {"prep_norm": False}},
             reported=Reported(seconds=323, epochs="35")),
        Rung(name="prepared", what="images normalised and padded once, before training", change={"loader": {"prepared": True}},
             reported=Reported(seconds=308, epochs="35")),
        Rung(name="bulk-choices", what="random choices drawn once an epoch", change={"loader": {"choices": "bulk"}},
             reported=Reported(accuracies=(0.9398,), seconds=301, epochs="35")),
        Rung(name="main-thread", what="images fetched in the main thread", change={"loader": {"worker": False}},
             reported=Reported(accuracies=(0.9412,), seconds=297, epochs="35")),
        Rung(name="batch-512", what="batches of 512, the rate a tenth higher for each image",
             change={"batch_size": 512, "optimizer": {"lr": 0.44}, "schedule": _knots(0.44)},
             note="3 of the source's 5 runs reach 94 %",
             reported=Reported(accuracies=(0.9412,), seconds=256, epochs="35")),
        Rung(name="norm-fp32", what="batch-norm in fp32", without=("norm_precision",),
             reported=Reported(accuracies=(0.9370,), seconds=186, epochs="35")),
        Rung(name="cutout", what="cutout 8, peak rate 0.4, 30 epochs",
             change={"augment": {"cutout": 8}, "optimizer": {"lr": 0.4}, "epochs": 30,
                     "schedule": {"knots": ((0.0, 0.0), (8 / 30, 1.0), (1.0, 0.0))}},
             reported=Reported(accuracies=(0.9414,), seconds=161, epochs="30")),
        Rung(name="batch-768", what="batches of 768, peak rate 0.6", change={"batch_size": 768, "optimizer": {"lr": 0.6}},
             reported=Reported(accuracies=(0.9360,), seconds=154, epochs="30")),
    ),
)

# The same on every data set: what they were made for is CIFAR-10.
RECIPES = {recipe.name: {"*": recipe} for recipe in LADDER.recipes.values()}
