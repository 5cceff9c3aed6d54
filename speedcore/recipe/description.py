"""A recipe in words: one place, from which reports, cards and lists take theirs. Every field is said, none by heart elsewhere.

`describe` speaks of the run that was made: arithmetic and convolutions as its provenance has them, beside what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speedcore.recipe import Augment, AverageConfig, Loader, LookaheadConfig, Part, Peek, Recipe, Schedule, TTAConfig
from speedcore.recipe.custom import CustomConfig

NETWORKS = {"davidnet": "DavidNet", "recordnet": "RecordNet", "digitnet": "DigitNet", "pagenet": "PageNet",
            "preactnet": "PreactNet"}
_OPTIMIZERS = {"sgd": "SGD", "muon": "Muon", "adam": "Adam", "adadelta": "Adadelta"}
_PRECISIONS = {"fp32": "fp32", "bf16": "bf16 on weights in fp32", "bf16-weights": "bf16, weights too",
               "fp16": "fp16 on weights in fp32", "auto": "the quickest arithmetic of the machine"}
_CONVOLUTIONS = {"direct": "direct", "winograd": "by Winograd", "winograd8": "by Winograd in 8 bits",
                 "amx": "on the processor’s matrix unit", "quickest": "the quickest way of the machine"}
_PADS = {"reflect": "mirrored borders", "mean": "the mean colour", "black": "black"}
_FLIPS = {"random": "mirrored at random", "alternating": "mirrored at random in the first epoch, every other epoch after that"}
_SHAPES = {"linear": "straight lines", "cosine": "half cosines", "steps": "steps"}


def as_run(recipe: Recipe, provenance: Mapping[str, Any]) -> Recipe:
    """The recipe as a run went by it: what the machine decided takes the place of what was asked for, where it is on record."""
    changes: dict[str, Any] = {}
    arithmetic, convolutions = provenance.get("arithmetic"), provenance.get("convolutions")
    if arithmetic and recipe.precision.split("-")[0] != arithmetic:
        changes["precision"] = arithmetic
    if changes.get("precision", recipe.precision) == "fp32":
        changes["norm_precision"] = "fp32"
    if convolutions is None and (changes.get("precision", recipe.precision) == "fp32" or not recipe.channels_last):
        convolutions = "direct"  # other ways are for bf16 with channels_last alone
    if convolutions:
        changes["convolutions"] = convolutions
    return recipe.model_copy(update=changes)


def describe(recipe: Recipe, provenance: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Term -> words, for every field but the name. provenance: of a run; without it the recipe speaks of itself alone."""
    r, ran = recipe, recipe if provenance is None else as_run(recipe, provenance)
    precision = _asked(_word(_PRECISIONS, ran.precision), _word(_PRECISIONS, r.precision))
    norms = _asked(ran.norm_precision, r.norm_precision)
    reason = (provenance or {}).get("arithmetic_reason")
    words = {
        "Description": r.describe or "none",
        "Network": _own(r.network) if isinstance(r.network, CustomConfig) else
                   f"{_word(NETWORKS, r.network.kind)}: {_listed(r.network)}",
        "Augmentation": _augmentation(r.augment),
        "Images": _images(r),
        "Batches": f"{r.batch_size} images, {_order(r.order)}; the batch that an epoch cannot fill is "
                   f"{'kept, smaller' if r.last_batch == 'keep' else 'left out' if r.last_batch == 'drop' else r.last_batch}",
        "Length": f"{_number(r.epochs)} epochs wanted, planned for no fewer than {_number(r.min_epochs)}",
        "Optimiser": f"{_word(_OPTIMIZERS, r.optimizer.kind)}: {_listed(r.optimizer)}",
        "Rate": _schedule(r.schedule),
        "Loss": _loss(r),
        "Averaging of weights": "none" if r.average is None else _average(r.average),
        "Lookahead": "none" if r.lookahead is None else _lookahead(r.lookahead),
        "Arithmetic": f"{precision}; batch-norm in {norms}" + (f" ({reason})" if reason else ""),
        "3×3 convolutions": _asked(_word(_CONVOLUTIONS, ran.convolutions), _word(_CONVOLUTIONS, r.convolutions))
                            + ("; which that was is not on record" if provenance is not None
                               and ran.convolutions == "quickest" else ""),
        "Memory layout": "channels last" if r.channels_last else "channels first",
        "Statistics of batch-norm in tests": f"taken anew over {r.precise_norms} training images" if r.precise_norms
                                             else "the running ones",
        "Views in tests": _views(r.test_time),
        "Looks at the test set": _peek(r.peek),
    }
    if r.techniques:
        words["Further techniques"] = ", ".join(map(_own, r.techniques))
    if idle := list(_idle(r)):
        words["Set, without effect here"] = "; ".join(idle)
    return words


def _asked(ran: str, asked: str) -> str:
    return ran if ran == asked else f"{ran} (asked for: {asked})"


def _word(words: Mapping[str, str], value: str) -> str:
    return words.get(value, value)


def _augmentation(a: Augment) -> str:
    said = []
    if a.crop:
        said.append(f"a crop of the old size after {a.crop} pixels of padding ({_word(_PADS, a.pad)})")
    if a.flip != "none":
        said.append(_word(_FLIPS, a.flip))
    if a.cutout:
        said.append(f"cutout of {a.cutout}×{a.cutout} pixels")
    said += map(_own, a.custom)
    if said and a.groups:
        said.append(f"choices shared in at most {a.groups} groups an epoch")
    return ", ".join(said) or "none"


def _own(code: CustomConfig) -> str:
    arguments = ", ".join(f"{name} = {_value(value)}" for name, value in code.arguments.items())
    return f"{code.factory}({arguments})" + (f" of a file with sha256 {code.sha256[:12]}" if code.sha256 else "")


def _images(r: Recipe) -> str:
    if r.data == "loader":
        loader = r.loader or Loader()
        who = {None: "a process of its own where the network is on a GPU", True: "a process of its own",
               False: "the process that trains"}[loader.worker]
        drawn = "in bulk" if loader.choices == "bulk" else "one by one" if loader.choices == "single" else loader.choices
        how = (f"one after the other through torch’s DataLoader, normalised and padded "
               f"{'once' if loader.prepared else 'each time'}, choices drawn {drawn}, fetched by {who}")
    else:
        how = {"device": "on the device, augmented while training",
               "precomputed": "augmented beforehand, streamed from disk"}.get(r.data, r.data)
    return f"{how}; {r.validation} of them held out for curves (at most a tenth)"


def _order(order: str) -> str:
    return _word({"shuffled": "shuffled anew for each epoch and seed", "fixed": "in one order for all epochs and seeds"}, order)


def _schedule(schedule: Schedule) -> str:
    knots = ", ".join(f"{_number(factor)} at {_number(100 * at)}\N{NO-BREAK SPACE}%" for at, factor in schedule.knots)
    return f"{_word(_SHAPES, schedule.shape)} between shares of the peak: {knots} of the run"


def _loss(r: Recipe) -> str:
    over = {"mean": "mean over the batch", "sum": "summed over the batch, at rates for a full one"}.get(r.loss, r.loss)
    return f"cross-entropy, {over}" + (f", labels smoothed by {_number(r.label_smoothing)}" if r.label_smoothing else "")


def _average(a: AverageConfig) -> str:
    if a.power is None:
        what = f"moving average, decay {_number(a.decay)} a step"
    elif a.power == 0:
        what = "plain mean"
    else:
        what = f"average over a share of the run, power {_number(a.power)}"
    begin = ("beginning with the untrained weights" if a.initial else
             f"from {_number(100 * a.start)}\N{NO-BREAK SPACE}% of the run on")
    return f"{what}, updated every {a.every} steps, {begin}"


def _lookahead(a: LookaheadConfig) -> str:
    return (f"slow weights every {a.every} steps, which keep {_number(a.decay)}^{a.every} · progress^{_number(a.power)} of "
            f"themselves")


def _views(views: TTAConfig) -> str:
    said = [word for word, there in (("mirrored", views.mirror), ("shifted by a pixel", views.shifts)) if there]
    share = ("" if not views.shifts or views.shift_share is None else
             f" (the shifted ones count {_number(100 * views.shift_share)}\N{NO-BREAK SPACE}% together)")
    return f"the image, {' and '.join(said)}{share}" if said else "the image alone"


def _peek(peek: Peek | None) -> str:
    if peek is None:
        return "none before the end"
    if peek.stop_at is None:
        return "after every epoch; they decide nothing"
    return f"after every epoch; at {_number(100 * peek.stop_at)}\N{NO-BREAK SPACE}% training ends"


def _idle(r: Recipe) -> list[str]:
    """Fields that are not at their defaults and change nothing in this recipe."""
    a, views, none, said = r.augment, r.test_time, Augment(), []
    if a.pad != none.pad and not a.crop:
        said.append(f"padding by {_word(_PADS, a.pad)}, without a crop")
    if a.groups and not a.any:
        said.append(f"{a.groups} groups an epoch, without augmentation")
    if views.shift_share is not None and not views.shifts:
        said.append(f"a share of {_number(100 * views.shift_share)}\N{NO-BREAK SPACE}% for shifted views, without any")
    return said


def _listed(part: Part) -> str:
    """All fields of a part by name, its kind apart."""
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in part if name != "kind")


def _value(value: Any) -> str:
    if isinstance(value, Schedule):
        return _schedule(value)
    if isinstance(value, Part):
        return f"({_listed(value)})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items()) or "none"
    if isinstance(value, tuple | list):
        return "/".join(map(_value, value)) or "none"
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    """Six digits, as short as they can be: 25, 0.99, 1.5e-05."""
    return f"{value:.6g}"
