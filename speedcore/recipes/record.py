"""The project's own fast recipes for small machines, one a data set. First version."""

from __future__ import annotations

from speedcore.recipe import Augment, Muon, Recipe, RecordNet, Schedule, Views

_PICTURES = Recipe(
    name="record",
    describe="whitened network of 2 M parameters, Muon, label smoothing, mirror and shift views",
    network=RecordNet(widths=(64, 256, 256), whiten_kernel=2),
    optimizer=Muon(lr=0.1, momentum=0.6, bias_lr=13.0, head_lr=160.0, decay=5e-4),
    schedule=Schedule(knots=((0.0, 1.0), (1.0, 0.0))),
    augment=Augment(crop=2, flip="alternating"),
    batch_size=250,
    epochs=10,
    min_epochs=2,
    label_smoothing=0.2,
    test_time=Views(mirror=True, shifts=True),
    precision="bf16",
    channels_last=True,
)

_DIGITS = _PICTURES.changed(
    network=RecordNet(widths=(32, 64, 128), whiten_kernel=3),
    augment=Augment(crop=2),
    test_time=Views(shifts=True),
)

RECIPES = {"*": _PICTURES, "mnist": _DIGITS, "fashion-mnist": _PICTURES.changed(network=RecordNet(whiten_kernel=3))}
