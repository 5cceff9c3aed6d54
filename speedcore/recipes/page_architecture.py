"""page-architecture: from the shortest path through a residual network to one that trains CIFAR-10 to 94 % in 79 s on one V100
("How to train your ResNet", part 4), as its notebook has it.

    python -m speedcore ladder page-architecture --data DIR
    python -m speedcore train --dataset cifar10 --recipe page-architecture-residual-24

`NETWORKS` are the fifteen of its search: the backbone, and each set of stages with one more block, or with a residual branch.

What the rungs share: batches of 512, peak rate 0.4 after a fifth of the epochs, decay 5e-4, Nesterov momentum 0.9 with the rate
inside the buffer; crop, flip and a square of 8 pixels masked. Images come from a loader in the main thread, prepared
beforehand; the partial batch at the end of an epoch is trained on, its loss summed at the rates of a full batch. Seconds are of
the clock `page-series`: the test of each epoch counts, and decides nothing.

Batch-norm's scales are drawn from U(0, 1) up to the rung that starts them at 1: that was torch's own start up to 1.1, so the
source does not write it. The accuracies reported are the post's; only for the residual network does it say of how many runs.
What differs: fp32 weights, multiplied in what the machine is quickest at, where the source has fp16 weights; images are
normalised by the training set's own moments; cutout fills with zero, the mean, as in the source.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

from speedcore.recipe import Augment, Loader, PageNetConfig, Peek, PreactNetConfig, Recipe, Schedule, SGDConfig
from speedcore.recipe.ladder import Ladder, Reported, Rung


def _knots(warm: float, epochs: float) -> dict[str, Any]:
    """Up over the first `warm` epochs, then down to nothing."""
    return {"knots": ((0.0, 0.0), (warm / epochs, 1.0), (1.0, 0.0))}


_BASE = Recipe(
    name="page-architecture-backbone",
    network=PreactNetConfig(branches=False, norm_scales="uniform"),
    optimizer=SGDConfig(lr=0.4, momentum=0.9, weight_decay=5e-4),
    schedule=Schedule(**_knots(4, 20)),
    augment=Augment(crop=4, flip="random", cutout=8),
    batch_size=512,
    epochs=20,
    precision="auto",
    data="loader",
    loader=Loader(prepared=True, worker=False),
    loss="sum",
    drop_last=False,
    val_images=0,
    peek=Peek(),
)

_SHORT = PageNetConfig(widths=(64, 128, 256, 256), kernel=1, downsample="stride", residual=(), norm_scales="uniform",
                       head="concat",
                 head_bias=True, logit_scale=1.0)

LADDER = Ladder(
    name="page-architecture",
    description="CIFAR-10, from the shortest path through a residual network to Residual:L1+L3",
    source="How to train your ResNet, part 4: architecture (one V100)",
    dataset="cifar10",
    clock="page-series",
    base=_BASE,
    start=Rung(name="backbone", what="shortcuts alone: bn-relu and 1×1 convolutions of stride 2, 20 epochs",
               reported=Reported(accuracy=0.559, seconds=36, epochs="20")),
    rungs=(
        Rung(name="no-repeat", what="one bn-relu after each convolution", change={"network": _SHORT.model_dump()},
             reported=Reported(accuracy=0.560, seconds=32, epochs="20")),
        Rung(name="3x3", what="3×3 convolutions", change={"network": {"kernel": 3}},
             reported=Reported(accuracy=0.856, seconds=36, epochs="20")),
        Rung(name="max-pool", what="stride 1 and max-pool", change={"network": {"downsample": "pool"}},
             reported=Reported(accuracy=0.897, seconds=43, epochs="20")),
        Rung(name="global-max", what="global max-pool alone, 512 channels before it",
             change={"network": {"head": "max", "widths": (64, 128, 256, 512)}},
             reported=Reported(accuracy=0.907, seconds=47, epochs="20")),
        Rung(name="scale-init", what="batch-norm scales start at 1, logits × 0.125 without a bias",
             change={"network": {"norm_scales": "one", "logit_scale": 0.125, "head_bias": False}},
             reported=Reported(accuracy=0.911, seconds=47, epochs="20")),
        Rung(name="double-width", what="twice the channels, 60 epochs", on="scale-init",
             change={"network": {"widths": (128, 256, 512, 1024)}, "epochs": 60, "schedule": _knots(12, 60)},
             reported=Reported(accuracy=0.935, seconds=321, epochs="60")),
        Rung(name="residual", what="residual branches on stages 1 and 3", on="scale-init",
             change={"network": {"residual": (1, 3)}},
             reported=Reported(accuracy=0.938, sd=0.0015, n=10, seconds=66, epochs="20")),
        Rung(name="residual-24", what="24 epochs", change={"epochs": 24, "schedule": _knots(5, 24)},
             reported=Reported(accuracy=0.9408, sd=0.0015, n=10, seconds=79, epochs="24")),
        Rung(name="extra", what="one more block in every stage, cutout 12, 60 epochs", on="scale-init",
             change={"network": {"extra": (1, 2, 3)}, "augment": {"cutout": 12}, "epochs": 60, "schedule": _knots(12, 60)},
             reported=Reported(accuracy=0.950, seconds=180, epochs="60")),
    ),
)

_STAGES: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)


def _networks() -> dict[str, PageNetConfig]:
    """The backbone, then seven with extra blocks and seven with residual branches, by the stages that have them."""
    sets = [stages for count in (1, 2, 3) for stages in combinations(_STAGES, count)]
    found = {"backbone": PageNetConfig(residual=())}
    for stages in sets:
        found["extra:" + "+".join(f"L{stage}" for stage in stages)] = PageNetConfig(residual=(), extra=stages)
    for stages in sets:
        found["residual:" + "+".join(f"L{stage}" for stage in stages)] = PageNetConfig(residual=stages)
    return found


NETWORKS = _networks()

# The same on every data set: what they were made for is CIFAR-10.
RECIPES = {recipe.name: {"*": recipe} for recipe in LADDER.recipes.values()}
