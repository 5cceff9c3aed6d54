"""A recipe: everything that decides a training run except data, seed and time. Frozen data, no code.

`Recipe.hash` names it: two recipes with the same hash train the same network the same way. `Recipe.describe` puts it into words,
and all words about recipes come from there. What a recipe is made of is in `speedcore.recipe` and can be imported from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from speedcore.errors import RecipeError
from speedcore.recipe.averages import AverageConfig, LookaheadConfig
from speedcore.recipe.custom import CustomNetworkConfig, CustomTechnique
from speedcore.recipe.images import Augment, Loader
from speedcore.recipe.networks import DigitNetConfig, Network
from speedcore.recipe.optimizers import Optimizer
from speedcore.recipe.part import REMOVED, Formerly, Later, RecipePart, Unhashed, Words, number
from speedcore.recipe.plain import misread, over
from speedcore.recipe.schedules import Schedule
from speedcore.recipe.testing import Peek, TTAConfig


class Recipe(RecipePart):
    """How to train. Epochs are what the recipe wants; a budget may grant fewer (never fewer than one step)."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._+-]+$"), Unhashed()]
    """letters, digits, `.` `_` `+` `-`; part of the names of run folders. A file that has none gives its own name"""
    description: Annotated[str, Unhashed(), Formerly("describe")] = ""
    """one line for people; not part of the hash"""
    network: Network
    """a table, see below"""
    optimizer: Optimizer
    """a table, see below"""
    schedule: Schedule = Schedule()
    """a table, see below"""
    augment: Augment = Augment()
    """a table, see below; the arm "without" trains with it empty"""
    batch_size: PositiveInt
    """images a step"""
    epochs: PositiveFloat
    """what the recipe wants; a budget may grant fewer"""
    min_epochs: PositiveFloat = 1.0
    """with less than this the planner rather takes fewer seeds or a smaller recipe"""
    min_steps: Annotated[PositiveInt, Unhashed()] = 1
    """with less than this no run is planned: from there on the recipe is known to be well above chance; not part of the hash"""
    loss: Annotated[Literal["mean", "sum"], Later(), Words({
        "mean": "mean over the batch", "sum": "summed over the batch, at rates for a full one"})] = "mean"
    """over the batch; `"sum"`: summed, at rates for a full batch, so that a smaller one counts for less"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of the target that is spread over all classes"""
    average: AverageConfig | None = None
    """a table, see below"""
    lookahead: LookaheadConfig | None = None
    """a table, see below"""
    tta: Annotated[TTAConfig, Formerly("test_time")] = TTAConfig()
    """a table, see below; the arm "without" is tested on plain images only"""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Words({
        "fp32": "fp32", "bf16": "bf16 on weights in fp32", "fp16": "fp16 on weights in fp32",
        "auto": "the fastest arithmetic of the machine"})] = "fp32"
    """`"auto"`: whichever of fp32, bf16 and (on GPUs before sm_80) fp16 trains this network fastest on this machine, decided by a
    race of two seconds at most whose answer is kept, and written into the run, its hash and its key; `"bf16"`, `"fp16"`: that
    arithmetic on fp32 weights, in fp16 with a loss scale"""
    norm_precision: Annotated[Literal["fp32", "bf16"], Later()] = "fp32"
    """of batch-norm's weights and running statistics; `"bf16"` only to replicate systems that keep them in half precision"""
    bn_recalibration_images: Annotated[NonNegativeInt, Later(), Formerly("precise_norms")] = 0
    """training images over which batch-norm's statistics are taken again for the tested weights, after the last step; 0 keeps the
    running ones"""
    channels_last: Annotated[bool, Words({True: "channels last", False: "channels first"})] = False
    """memory layout of images and filters; faster on most machines"""
    convolutions: Annotated[
        Literal["torch", "winograd", "winograd8", "amx", "auto"], Later(),
        Formerly(values={"direct": "torch", "quickest": "auto"}),
        Words({"torch": "torch’s", "winograd": "by Winograd", "winograd8": "by Winograd in 8 bits",
               "amx": "on the processor’s matrix unit", "auto": "the fastest backend of the machine"})] = "torch"
    """the backend of 3×3 convolutions on a CPU, in fp32 or, with `channels_last`, in bf16 (elsewhere it is torch's); all others
    need a C compiler, and have RecordNet's pooling, batch-norm and GELU in one pass with them. `"winograd"`: a third of the
    multiplications; `"winograd8"`: that in 8 bits, on processors that multiply twice as many of them a second (AVX-512 VNNI),
    elsewhere as `"winograd"`; `"amx"`: on the processor's matrix unit, in bf16, with the results of torch's, which it is
    elsewhere; `"auto"`: the first of `"amx"`, `"winograd8"` and `"winograd"` that this machine's processor is quick at in the
    recipe's precision ([which those are](../speedcore/kernels/README.md)). A run's provenance says which it was"""
    data: Annotated[Literal["device", "precomputed", "loader"], Words({
        "device": "on the device, augmented while training", "precomputed": "augmented beforehand, streamed from disk",
        "loader": "one after the other through torch’s DataLoader"})] = "device"
    """`"device"` augments while training; `"precomputed"` writes all augmented batches to disk first and streams them back, to
    the bit the same images; `"loader"` brings image after image through torch's DataLoader, to be measured against"""
    loader: Annotated[Loader | None, Later()] = None
    """a table, see below: how `data = "loader"` brings its images"""
    val_images: Annotated[NonNegativeInt, Formerly("validation")] = 1000
    """training images set aside for curves and tuning, at most a tenth of them; the same ones in every run"""
    order: Annotated[Literal["shuffled", "fixed"], Later(), Words({
        "shuffled": "shuffled again for each epoch and seed", "fixed": "in one order for all epochs and seeds"})] = "shuffled"
    """shuffled again for each epoch and seed; `"fixed"`: one shuffle for all epochs and all seeds"""
    drop_last: Annotated[bool, Later(), Formerly("last_batch", {"drop": True, "keep": False}),
                         Words({True: "left out", False: "kept, smaller"})] = True
    """the batch that an epoch cannot fill is left out; `false`: it is trained on, smaller"""
    peek: Annotated[Peek | None, Later()] = None
    """a table, see below: looks at the test set, which end a run only in replicas of systems that do so"""
    techniques: Annotated[tuple[CustomTechnique, ...], Later()] = ()
    """techniques of your own, and others that have no field here, in the order in which they act ([how](extending.md))"""

    @field_validator("batch_size", mode="before")
    @classmethod
    def _counted(cls, value: object) -> object:
        if isinstance(value, bool):  # Before it is told that one image is too few.
            raise ValueError(f"{str(value).lower()} is no number")
        return value

    @field_validator("precision", mode="before")
    @classmethod
    def _whole_weights(cls, value: object) -> object:
        if value == "bf16-weights":
            raise PydanticCustomError(REMOVED, 'the precision "bf16-weights" was removed: weights in bf16 were measured to bring '
                                               'nothing over bf16 on weights in fp32')
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.min_epochs > self.epochs:
            raise ValueError(f"min_epochs ({self.min_epochs:g}) is larger than epochs ({self.epochs:g})")
        if self.peek and (self.average or self.bn_recalibration_images):
            other = "average" if self.average else "bn_recalibration_images"
            raise ValueError(f"peek looks at the network in training, but {other} tests another one; leave one of them out")
        if self.data == "precomputed" and not self.drop_last:
            raise ValueError('stored epochs hold whole batches; write drop_last = true or data = "device"')
        if self.norm_precision == "bf16" and self.precision != "bf16":
            raise ValueError('norm_precision "bf16" needs a network that runs in bf16; write precision = "bf16"')
        if self.loader and self.data != "loader":
            raise ValueError('loader says how data = "loader" brings its images, but data is another; leave it out')
        if self.loader and self.loader.choices == "single" and self.augment.flip == "alternating":
            raise ValueError('alternating flips remember the first epoch; write choices = "bulk"')
        if self.data == "loader" and self.augment.custom:
            raise ValueError('augmentations of your own are given whole batches of pixels; write data = "device"')
        if self.data == "loader" and self.augment.groups:
            raise ValueError('groups of images share their choices on the device; write data = "device" or groups = 0')
        ghost = getattr(self.network, "ghost", 1)
        if self.batch_size % ghost:
            raise ValueError(f"a batch of {self.batch_size} cannot be divided into {ghost} equal groups (network.ghost)")
        if self.batch_size // ghost < 2 and not isinstance(self.network, DigitNetConfig):
            groups = f" for each of the {ghost} groups (network.ghost)" if ghost > 1 else ""
            raise ValueError("batch-norm takes its statistics over the images of a batch, and of one image there are none; "
                             f"write a batch_size of at least 2{groups}")
        return self

    @property
    def peeks(self) -> bool:
        """Whether the test set decides when training ends."""
        return self.peek is not None and self.peek.stop_at is not None

    @property
    def custom(self) -> bool:
        """Whether code that is not ours takes part."""
        return isinstance(self.network, CustomNetworkConfig) or bool(self.augment.custom or self.techniques)

    @property
    def hash(self) -> str:
        """Twelve hex digits that name everything about the recipe that decides its weights."""
        return hashlib.sha256(json.dumps(self.hashed(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def hashes(self) -> frozenset[str]:
        """Every hash under which runs of it may be kept: with precision "auto" one for each arithmetic that may be chosen."""
        settled = ("fp32", "bf16", "fp16") if self.precision == "auto" else ()
        found = {self.hash, *(self.changed(precision=precision).hash for precision in settled)}
        return frozenset(found | ({self.changed(precision="fp32", convolutions="auto").hash} if settled else set()))

    def without_augmentation(self) -> Recipe:
        """The other arm: the same recipe on the images as they are, in training and at test time.

        A network that never saw a mirrored image has no reason to be asked about one, so the views go too; the arms
        are compared on the plain test images.
        """
        return self.model_copy(update={"augment": Augment(), "tta": TTAConfig()})

    def changed(self, **fields: Any) -> Recipe:
        """A copy with `fields` replaced, validated again."""
        return validated({**self.model_dump(), **self.current(fields)}, f"recipe '{self.name}'")

    def as_run(self, provenance: Mapping[str, Any]) -> Recipe:
        """The recipe as a run went by it: what the machine decided in place of what was asked for, where that is on record.

        provenance: of the run (`RunRecord.provenance`).
        """
        changes: dict[str, Any] = {"precision": provenance.get("arithmetic") or self.precision}
        backend = self.current({"convolutions": provenance.get("convolutions")}).get("convolutions")
        if changes["precision"] == "fp32":
            changes["norm_precision"] = "fp32"
        if backend is None and (changes["precision"] == "fp32" or not self.channels_last):
            backend = "torch"  # When that was not recorded yet, the other backends were for bf16 with channels_last alone.
        return self.model_copy(update={**changes, "convolutions": backend or self.convolutions})

    def describe(self, provenance: Mapping[str, Any] | None = None) -> dict[str, str]:
        """Term -> words, for every field but the name.

        provenance: of a run (`RunRecord.provenance`), which is then spoken of as it was made, beside what was asked for; without
        it the recipe speaks of itself alone.
        """
        run = self if provenance is None else self.as_run(provenance)

        def settled(field: str) -> str:
            ran, asked = run.words(field), self.words(field)
            return ran if ran == asked else f"{ran} (asked for: {asked})"

        reason = (provenance or {}).get("arithmetic_reason")
        unknown = provenance is not None and run.convolutions == "auto"
        images = self.words("data") + (f", {(self.loader or Loader()).in_words()}" if self.data == "loader" else "")
        further = {"Further techniques": ", ".join(one.in_words() for one in self.techniques)} if self.techniques else {}
        return further | {
            "Description": self.description or "none",
            "Network": self.network.in_words(),
            "Augmentation": self.augment.in_words(),
            "Images": f"{images}; {self.val_images} of them held out for curves (at most a tenth)",
            "Batches": f"{self.batch_size} images, {self.words('order')}; the batch that an epoch cannot fill is "
                       f"{self.words('drop_last')}",
            "Length": f"{number(self.epochs)} epochs wanted, planned for no fewer than {number(self.min_epochs)}, and "
                      f"{self.min_steps} {'step' if self.min_steps == 1 else 'steps'}",
            "Optimiser": self.optimizer.in_words(),
            "Rate": self.schedule.in_words(),
            "Loss": f"cross-entropy, {self.words('loss')}"
                    + (f", labels smoothed by {number(self.label_smoothing)}" if self.label_smoothing else ""),
            "Averaging of weights": "none" if self.average is None else self.average.in_words(),
            "Lookahead": "none" if self.lookahead is None else self.lookahead.in_words(),
            "Arithmetic": f"{settled('precision')}; batch-norm in {settled('norm_precision')}"
                          + (f" ({reason})" if reason else ""),
            "3×3 convolutions": settled("convolutions") + ("; which that was is not on record" if unknown else ""),
            "Memory layout": self.words("channels_last"),
            "Statistics of batch-norm in tests": f"taken again over {self.bn_recalibration_images} training images"
                                                 if self.bn_recalibration_images else "the running ones",
            "Views in tests": self.tta.in_words(),
            "Looks at the test set": "none before the end" if self.peek is None else self.peek.in_words(),
        }


def validated(content: dict[str, Any], where: str) -> Recipe:
    """A Recipe from plain data, or a RecipeError that lists each wrong field of `where`.

    The network may also be a function or class, functools.partial of one, "module:name", or the name of an entry point.
    """
    try:
        if isinstance(content, dict) and not isinstance(content.get("network"), dict | RecipePart | None):
            content = {**content, "network": CustomNetworkConfig.model_validate(content["network"])}
        recipe = Recipe.model_validate(content)
        wrong = list(misread(Recipe.current(content), recipe.model_dump()))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors()]
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        raise RecipeError(f"{where} is not a valid recipe:\n{lines}\nThe fields are listed in docs/recipes.md.")
    return recipe


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`change` over `base`, table by table, in today's spelling; a table of another `kind` replaces its predecessor whole."""
    return over(Recipe.current(base), Recipe.current(change))
