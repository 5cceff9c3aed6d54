"""The project's own recipes for small machines, one a data set: whitened network, Muon, label smoothing.

`record` is made for the 1000-second budget of two CPU cores; `sprint` is the same idea on a narrower network, for runs of
seconds to a few minutes; `dash` is for the first good accuracy, in seconds. Rates were set on 5,000 held-out training
images, never on the test set.
"""

from __future__ import annotations

from typing import Any

from speedcore.recipe import Augment, AverageConfig, MuonConfig, Network, Recipe, RecordNetConfig, Schedule, TTAConfig, WhitenBias
from speedcore.recipes.airbench import airbench94_muon

# Per-image rates of head and biases follow the airbench networks' proportions (0.67 : 0.053), an eighth as high:
# batches here are an eighth as large, and at the full rate the first steps diverge.
# The rate of the filters: on the half-wide network, 0.24 did best over 1.5 epochs (80.5 % against 78.9 at 0.1 and 78.1
# at 0.4) and 0.12 over three (84.8 % against 83.1 at 0.24; one seed each): the longer, the lower.
_MUON = MuonConfig(lr=0.12, momentum=0.6, bias_lr=1.66, head_lr=20.9, decay=5e-4)

_WIDE = Recipe(
    name="record",
    description="whitened network of 2 M parameters, Muon, label smoothing, mirror and shift views",
    network=RecordNetConfig(widths=(64, 256, 256), whiten_kernel=2),
    optimizer=_MUON.model_copy(update={"lr": 0.1}),
    schedule=Schedule(knots=((0.0, 0.1), (0.1, 1.0), (1.0, 0.0))),
    augment=Augment(crop=2, flip="alternating"),
    batch_size=250,
    epochs=7,
    min_epochs=3,
    label_smoothing=0.2,
    tta=TTAConfig(mirror=True, shifts=True),
    precision="auto",
    channels_last=True,
    convolutions="auto",
)

# CIFAR-10: the published method on the wider network that its author took for higher accuracies (airbench95), for as many epochs
# as fit the budget where the processor has a matrix unit. On its own network more epochs bring less and less: 90.8 % on test
# images after eight, 91.3 after 14, 91.7 after 32 (one run each). What else was tried on that network bought no more than the
# same seconds of longer training do. On 25,000 training images, batches of 500, filters at 0.16, six epochs in 211 s, judged by
# the 25,000 others (87.4 %; one seed each):
#   17 pixels a side for the first 40 % of the steps, each a third as dear: 86.7 in 159 s; four and a half epochs
#   of whole ones, with a momentum of 0.8: 86.5 in 165 s
#   a border of one pixel, which Winograd's tiles have room for: 87.6 in 223 s
#   whitening every second patch of 4×4, no first pooling: 86.8 in 199 s
#   first stage frozen after half of the steps, second after 80 %: 86.8 in 182 s; their rates at zero by 60 and 90 %: 86.9 in 188
#   an average of the last weights, at a rate that ends at a fifth: 87.2; without crops: 86.7
# Leaving out the easiest third of the images after some epochs took 0.3 points. On 25,000 images batches of 500 were better than
# 2,000 (87.6 and 87.2 % after eight epochs), but those are 96 steps there: on all images, 5.75 epochs in batches of 500 came to
# 89.8 % on test images in 400 s (one run), where the published method comes to 90.8 %.
# Before that on half-wide networks (20,000 images twelve times, batches of 250): a third convolution a stage, +0.3 points for a
# third more time; crops of 4 pixels, cutout, rates of half and twice the 0.1, 0.3 to 1.2 points less. Narrower for longer is no
# way: with three convolutions, an average and 11 epochs it came to 88.4 % on test images in 486 s (one run).
# On the wide network, 40,000 images twelve times, judged by the 10,000 others under six views (one seed each): 91.07 %, with
# 99.7 % of the training images known by heart; 91.20 with a cutout of ten pixels, and 95.9 % of them known. After twenty epochs
# it does not show on test images: 92.05 ± 0.11 % without (n = 3), 92.11 ± 0.18 with (n = 4). Batches of 1,000 with the cutout,
# filters at 0.17: 91.19. The rate held at a fifth from 60 % of the run on, the weights of the last 30 % averaged, with
# statistics of their own: 90.87.
_MUON_94 = airbench94_muon(2000, epochs=20)
_PICTURES = _MUON_94.changed(
    name="record", description="airbench94_muon's method on a wider network for longer, with cutout, the quickest convolutions",
    network=_MUON_94.network.model_copy(update={"widths": (128, 384, 384), "logit_scale": 1 / 384}),
    augment=_MUON_94.augment.model_copy(update={"cutout": 10}), convolutions="auto")

# 28×28 images: a padded 3×3 whitening keeps 14 cells a side for the first stage. Digits and clothes are grey.
_GREY = RecordNetConfig(widths=(64, 256, 256), whiten_kernel=3)
_HALF = RecordNetConfig(widths=(32, 128, 128), whiten_kernel=3)
# Clothes, on 50,000 images, judged by the 10,000 others (one seed each). Five epochs in batches of 500, mirrored, no crops, come
# to 95.2 %; twelve of them to 95.0, for by then every training image is known by heart (99.7 %). What twelve epochs come to with
#   crops of two pixels, six views at test time: 95.3; with half the label smoothing: 95.0
#   cutout of eight pixels instead: 95.2; with both, after 26 epochs: 95.1
#   crops on widths of 128, 384, 384, for twice the time: 95.35
#   crops and a third convolution a stage, for 1.4 times the time: 95.1; on two such stages that end at 7 × 7 cells: 94.5
# 24 epochs with crops, the rate held at a fifth from half of the run on, the weights of the last two fifths averaged: 95.1, and
# 95.40 with statistics of their own for the averaged weights. At two fifths of the rate: 94.2 and 94.7.
_CLOTHES = _WIDE.changed(
    description="whitened network of 2 M parameters, Muon, crops and mirror images, averaged weights, six views",
    network=_GREY, batch_size=500, epochs=30, min_epochs=12, augment=Augment(crop=2, flip="alternating"),
    schedule=Schedule(knots=((0.0, 0.1), (0.1, 1.0), (0.5, 0.2), (1.0, 0.2))),
    average=AverageConfig(power=0, every=20, start=0.6), bn_recalibration_images=10_000,
    optimizer=_MUON.model_copy(update={
        "lr": 0.14, "bias_lr": 2 * _MUON.bias_lr, "head_lr": 2 * _MUON.head_lr, "decay": 2 * _MUON.decay,
        # The largest map needs no gradient once the whitening's bias rests: a step is a twentieth shorter then.
        "whiten_bias": WhitenBias(lr=2 * _MUON.bias_lr,
                                  schedule=Schedule(knots=((0.0, 0.1), (0.1, 1.0), (0.35, 0.0), (1.0, 0.0))))}))
# The mirror image of a 2 is no digit.
_DIGITS = _WIDE.changed(network=_HALF, epochs=8, augment=Augment(crop=2), tta=TTAConfig(shifts=True))

# Ten thousand images make short epochs: cut to three of them, the wide network had learned nothing yet (65.7 % after
# 60 s, where the narrow one reached 99.5 % in 20 s; one seed each).
_SHAPES = _WIDE.changed(epochs=14, min_epochs=12, min_steps=400)

RECORD = {"*": _WIDE, "cifar10": _PICTURES, "shapes": _SHAPES, "fashion-mnist": _CLOTHES, "mnist": _DIGITS}


def _narrow(recipe: Recipe, widths: tuple[int, int, int], epochs: float, batch_size: int, min_steps: int = 60) -> Recipe:
    """`recipe` on a narrower network, for a shorter time."""
    network = recipe.network.model_copy(update={"widths": widths})
    return recipe.changed(name="sprint", description="the record recipe on a narrower network, for short runs",
                          min_steps=min_steps, network=network, epochs=epochs, min_epochs=min(1.0, epochs), batch_size=batch_size,
                          optimizer=_MUON, tta=TTAConfig(mirror=recipe.tta.mirror),
                          convolutions="amx")  # layers so narrow gain nothing by Winograd: 0.98 of the time


SPRINT = {
    "*": _narrow(_WIDE, (32, 64, 128), 8, 125),
    "fashion-mnist": _narrow(_WIDE.changed(network=_GREY, tta=TTAConfig(mirror=True)), (32, 64, 128), 10, 125),
    "mnist": _narrow(_DIGITS, (24, 32, 64), 4, 125),
    "shapes": _narrow(_SHAPES, (32, 64, 128), 12, 125, min_steps=160),
}

# Little training has no use for augmentation: it is for networks that would see the same images again and again.
# Digits: whitening every second patch, one stage less and small batches took a tenth of `sprint`'s work to 99 % (five seeds
# each on held-out images, 0.4 epochs: 98.98 % without crops, 98.95 % with; rates of 0.06 and 0.24: 98.95 and 98.76 %). Batches of
# 128 lost nothing against 64 and took 0.78 of the time; 192 and 256 lost accuracy, ReLU and averages gained none (five seeds).
# Shorter is less: 98.8 % after 0.42 epochs, 98.6 after 0.36 and 0.32, 98.5 after 0.28. There, half the label smoothing, a quicker
# warm-up, two Newton-Schulz steps and bf16 weights changed nothing that shows, 48 filters cost 0.1 points (five to eight seeds).
_DASH = _narrow(_WIDE, (32, 64, 128), 8, 125).changed(
    name="dash", description="a short run for a first good accuracy, without augmentation", augment=Augment(), tta=TTAConfig(),
    epochs=2, min_epochs=0.2)

DASH = {
    "*": _DASH,
    "fashion-mnist": _DASH.changed(network=SPRINT["fashion-mnist"].network),
    "mnist": _DASH.changed(network=RecordNetConfig(widths=(16, 64), whiten_kernel=4, whiten_stride=2), batch_size=128,
                           epochs=0.45),
}


# For builds, whose two arms differ in augmentation and nothing else: small networks that see half of the sides from the first
# layer on, at a quarter to a half of `sprint`'s price (on two AVX2 cores 30 ms a step for 112 on Fashion-MNIST, 57 for 120 on
# CIFAR-10).
_SMALL = RecordNetConfig(widths=(32, 64), whiten_kernel=4, whiten_stride=2)


def _augmented(name: str, network: Network, **fields: Any) -> Recipe:
    """`dash` on that network, with the augmentation and the views of `sprint`."""
    sprint = SPRINT[name]
    return DASH.get(name, _DASH).changed(
        name="dash-augmented", description="a small network with the augmentation of sprint, to compare arms in seconds",
        network=network, augment=sprint.augment, tta=sprint.tta, **fields)


# From so many steps on each is known to be well above chance. Held out, one seed each, in fp32: at 60 steps `sprint` had learned
# MNIST to 94.2 %, Fashion-MNIST to 82.3, CIFAR-10 to 48.7, but shapes to 22.4 % (86.8 at 120, 96.5 at 180); `dash-augmented` had
# learned MNIST to 96.9 % and CIFAR-10 to 41.6 (70.8 at 300), at 100 steps Fashion-MNIST to 85.7 (89.4 at 300), at 200 shapes
# to 88.2.
DASH_AUGMENTED = {
    "*": _augmented("*", _SMALL, epochs=8, min_epochs=1, min_steps=100),
    "fashion-mnist": _augmented("fashion-mnist", _SMALL, epochs=8, min_epochs=1.5, min_steps=100),
    "mnist": _augmented("mnist", DASH["mnist"].network, epochs=2, min_epochs=0.45, min_steps=60),
    "shapes": _augmented("shapes", _SMALL, epochs=12, min_epochs=6, min_steps=200),
}
