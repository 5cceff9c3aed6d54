"""A recipe: everything that decides a training run except data, seed and time. Frozen data, no code.

`Recipe.hash` names it: two recipes with the same hash train the same network the same way. `describe` is for
people and leaves the hash alone. What a recipe is made of is in `speedcore.recipe` and can be imported from here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from speedcore.errors import RecipeError
from speedcore.recipe.averages import AverageConfig, LookaheadConfig
from speedcore.recipe.base import Part
from speedcore.recipe.custom import CustomNetworkConfig, CustomTechnique
from speedcore.recipe.images import Augment, Loader
from speedcore.recipe.networks import DigitNetConfig, Network
from speedcore.recipe.optimizers import Optimizer
from speedcore.recipe.schedules import Schedule
from speedcore.recipe.testing import Peek, TTAConfig

# Fields that came after the first runs had been published. At their defaults they stay out of the hash, so that a recipe
# that does not use them keeps its name, and its finished runs stay findable.
_LATER = ("order", "last_batch", "peek", "loader", "loss", "norm_precision", "augment.groups", "average.initial",
          "average.power", "network.depth", "network.whiten_border", "convolutions", "precise_norms", "augment.custom",
          "techniques")


class Recipe(Part):
    """How to train. Epochs are what the recipe wants; a budget may grant fewer (never fewer than one step).

    min_epochs: below this the planner prefers a smaller recipe or fewer seeds to shorter runs. min_steps: a run of fewer is not
    planned at all; from there on the recipe is known to be well above chance (the planner's matter, not in the hash).
    validation: training images held out for curves and tuning. precision: "bf16" and "fp16" run the network under autocast with
    fp32 weights, "bf16-weights" keeps the weights in bf16 too; "auto" is settled before a run is named, for whichever the machine
    is quickest at. norm_precision: of batch-norm's weights and running statistics; "bf16" only to replicate systems that keep
    them in half precision. precise_norms: training images over which batch-norm's statistics are taken anew for the weights that
    are tested; 0 keeps the running ones. convolutions: how 3×3 ones go on a CPU, in fp32 or, with channels_last, in bf16
    (elsewhere they are direct), RecordNet's stages fused around them (`speedcore.kernels`): "amx" on the processor's matrix unit,
    in bf16, direct where it has none; "winograd" the short way, "winograd8" that in 8 bits, in bf16; "quickest" whichever this
    machine is quickest at in the recipe's precision. data: "device" augments while training, "precomputed" streams stored epochs,
    "loader" brings image after image through torch's DataLoader. order: "fixed" shuffles once, the same for all epochs and seeds.
    last_batch: whether an epoch drops or keeps the batch that it cannot fill. loss: "sum" adds it up over the batch, at rates
    for a full one, so that a smaller batch counts for less; "mean" lets every batch count the same. techniques: those of one's
    own, and others that have no field here (`speedcore.techniques.hooks`), in the order in which they act.
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._+-]+$")]
    describe: str = ""
    network: Network
    optimizer: Optimizer
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    batch_size: PositiveInt
    epochs: PositiveFloat
    min_epochs: PositiveFloat = 1.0
    min_steps: PositiveInt = 1
    loss: Literal["mean", "sum"] = "mean"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    average: AverageConfig | None = None
    lookahead: LookaheadConfig | None = None
    test_time: TTAConfig = TTAConfig()
    precision: Literal["auto", "fp32", "bf16", "bf16-weights", "fp16"] = "fp32"
    norm_precision: Literal["fp32", "bf16"] = "fp32"
    precise_norms: NonNegativeInt = 0
    channels_last: bool = False
    convolutions: Literal["direct", "winograd", "winograd8", "amx", "quickest"] = "direct"
    data: Literal["device", "precomputed", "loader"] = "device"
    loader: Loader | None = None
    validation: NonNegativeInt = 1000
    order: Literal["shuffled", "fixed"] = "shuffled"
    last_batch: Literal["drop", "keep"] = "drop"
    peek: Peek | None = None
    techniques: tuple[CustomTechnique, ...] = ()

    @field_validator("batch_size", mode="before")
    @classmethod
    def _counted(cls, value: object) -> object:
        if isinstance(value, bool):  # Before it is told that one image is too few.
            raise ValueError(f"{str(value).lower()} is no number")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.min_epochs > self.epochs:
            raise ValueError(f"min_epochs ({self.min_epochs:g}) is larger than epochs ({self.epochs:g})")
        if self.peek and (self.average or self.precise_norms):
            other = "average" if self.average else "precise_norms"
            raise ValueError(f"peek looks at the network in training, but {other} tests another one; leave one of them out")
        if self.data == "precomputed" and self.last_batch == "keep":
            raise ValueError('stored epochs hold whole batches; write last_batch = "drop" or data = "device"')
        if self.norm_precision == "bf16" and not self.precision.startswith("bf16"):
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
        content = self.model_dump(mode="json", exclude={"name", "describe", "min_steps"})
        for path in _LATER:
            *parts, field = path.split(".")
            part, table = self, content
            for name in parts:
                part, table = getattr(part, name), table[name]
            if part is not None and field in table and getattr(part, field) == type(part).model_fields[field].default:
                del table[field]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def hashes(self) -> frozenset[str]:
        """Every hash under which runs of it may be kept: with precision "auto" one for each arithmetic that may be chosen."""
        settled = ("fp32", "bf16", "fp16") if self.precision == "auto" else ()
        found = {self.hash, *(self.changed(precision=precision).hash for precision in settled)}
        return frozenset(found | ({self.changed(precision="fp32", convolutions="quickest").hash} if settled else set()))

    def without_augmentation(self) -> Recipe:
        """The other arm: the same recipe on the images as they are, in training and at test time.

        A network that never saw a mirrored image has no reason to be asked about one, so the views go too; the arms
        are compared on the plain test images.
        """
        return self.model_copy(update={"augment": Augment(), "test_time": TTAConfig()})

    def changed(self, **fields) -> Recipe:
        """A copy with `fields` replaced, validated again."""
        return validated({**self.model_dump(), **fields}, f"recipe '{self.name}'")


def validated(content: dict, where: str) -> Recipe:
    """A Recipe from plain data, or a RecipeError that lists each wrong field of `where`.

    The network may also be a function or class, functools.partial of one, "module:name", or the name of an entry point.
    """
    try:
        if not isinstance(content.get("network"), dict | Part | None):
            content = {**content, "network": CustomNetworkConfig.model_validate(content["network"])}
        recipe = Recipe.model_validate(content)
        wrong = list(_no_numbers(content, recipe.model_dump(), ""))
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors()]
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        raise RecipeError(f"{where} is not a valid recipe:\n{lines}\nThe fields are listed in docs/recipes.md.")
    return recipe


def _no_numbers(content: object, read: object, path: str) -> Iterator[str]:
    """What was written as a truth value and read as a number, or is beyond 64 bits: where, and what is wrong."""
    if isinstance(content, bool) and not isinstance(read, bool):
        yield f"{path}: {str(content).lower()} is no number"
    elif isinstance(content, int) and abs(content) >= 2**63:
        yield f"{path}: the number is too large"
    elif isinstance(content, dict) and isinstance(read, dict):
        for name, value in content.items():
            yield from _no_numbers(value, read.get(name), f"{path}.{name}" if path else name)
    elif isinstance(content, list | tuple) and isinstance(read, list | tuple):
        for value, other in zip(content, read, strict=False):
            yield from _no_numbers(value, other, path)


def merged(base: dict, change: dict) -> dict:
    """`change` over `base`, table by table; a table that names another `kind` replaces its predecessor whole."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        result[key] = merged(old, value) if nested else value
    return result
