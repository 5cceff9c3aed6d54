"""The ladders of the records: from airbench94_muon's published method to this project's `record`, each change a rung.

    python -m speedcore ladder record --data DIR                  on CIFAR-10
    python -m speedcore ladder record-fashion-mnist --scale data=0.2,epochs=0.5,width=0.5
    python -m speedcore ladder airbench --data DIR                what Muon brought to airbench94

The values are those of the recipes (`airbench.py`, `record.py`); what is written here is the order in which they change, and
why some change together: rates belong to a size of batch, the rates of head and biases to the scale of the logits. Quicker
convolutions come first, since all that follows is climbed in half the time then; the schedule, which starts low, before the head
that needs it (with half the widths, under the published schedule, it had learned 58 to 70 % where the rung below had 91).
"""

from __future__ import annotations

from speedcore import recipes
from speedcore.recipe.between import Step, rungs_between
from speedcore.recipe.ladder import Ladder, Reported, Rung

_OF_A_BATCH = ("optimizer.head_lr", "optimizer.bias_lr", "optimizer.decay", "optimizer.whiten_bias.lr")

_TO_THE_RECORD = (
    Step("convolutions", "{told}", ("convolutions",)),
    Step("small-batches", "batches of {end.batch_size} for {start.batch_size}, each image at the rates published",
         ("batch_size",), by_batch=_OF_A_BATCH),
    Step("schedule", "{told}", ("schedule",)),
    Step("averaging", "{told}", ("average", "lookahead")),
    Step("precise-norms", "{told}", ("bn_recalibration_images",)),
    Step("head", "logits × {end.network.logit_scale:.3g} for {start.network.logit_scale:.3g}, and rates of head and biases to go "
                 "with that",
         ("network.logit_scale", "network.head_std", "optimizer.head_lr", "optimizer.bias_lr", "optimizer.decay",
          "optimizer.sgd_momentum")),
    Step("whiten-bias", "{told}", ("optimizer.whiten_bias",)),
    Step("whitening", "{told}", ("network.whiten_kernel", "network.whiten_stride")),
    Step("norms", "{told}", ("network.norm_eps", "network.norm_momentum", "network.activation")),
    Step("width", "{told}", ("network.widths", "network.depth")),
    Step("filter-rate", "{told}", ("optimizer.lr", "optimizer.momentum", "optimizer.newton_schulz_steps")),
    Step("augmentation", "{told}", ("augment",)),
    Step("label-smoothing", "{told}", ("label_smoothing",)),
    Step("precision", "{told}", ("precision", "norm_precision", "channels_last")),
    Step("length", "{end.epochs:g} epochs for {start.epochs:g}", ("epochs",)),
    Step("views", "{end.tta.count} views at test time: {told}", ("tta",)),
    Step("held-out", "{told}", ("val_images",)),
)

_TO_MUON = (
    Step("muon", "Muon for the filters in batches of {end.batch_size}, and the head that its rates are for",
         ("optimizer", "batch_size", "network.logit_scale", "network.head_std")),
    Step("no-lookahead", "no slow weights", ("lookahead",)),
    Step("length", "{end.epochs:g} epochs of falling rate for {start.epochs:g}", ("epochs", "schedule")),
)

# Published for one A100; the tests of six views are inside the source's clock.
_MUON = Reported(accuracy=0.9401, n=200, seconds=2.59, epochs="8")
_SGD = Reported(accuracy=0.9401, n=1000, seconds=3.83, epochs="9.9")


def _ladder(name: str, description: str, dataset: str, base: str, end: str, steps: tuple[Step, ...],
            reported: Reported) -> Ladder:
    start = recipes.get(base, dataset)
    return Ladder(name=name, description=description, source="airbench (Keller Jordan, one A100)" if reported.mean else "",
                  dataset=dataset, base=start, clock="dawnbench",
                  start=Rung(name=base, what=f"{base} as published, {start.epochs:g} epochs", reported=reported),
                  rungs=rungs_between(start, recipes.get(end, dataset), steps))


LADDERS = (
    _ladder("record", "from airbench94_muon's method to the record", "cifar10", "airbench94-muon", "record", _TO_THE_RECORD,
            _MUON),
    _ladder("record-fashion-mnist", "from airbench94_muon's method to the record", "fashion-mnist", "airbench94-muon", "record",
            _TO_THE_RECORD, Reported()),
    _ladder("airbench", "from Nesterov SGD with lookahead to Muon", "cifar10", "airbench94", "airbench94-muon", _TO_MUON, _SGD),
)
