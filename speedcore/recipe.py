"""A recipe: everything that decides a training run except data, seed and time. Frozen data, no code.

`Recipe.hash` names it: two recipes with the same hash train the same network the same way. `describe` is for
people and leaves the hash alone.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from speedcore.errors import RecipeError


class Frozen(BaseModel):
    """Immutable, and strict about names: a misspelt field is an error, not a default."""

    # A run whose loss diverged is a result too: its record must survive the way to disk and back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Part(Frozen):
    """A recipe or a part of one: every number is finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class DavidNet(Part):
    """The article's network (`speedcore.networks.davidnet`). `width` multiplies all channels."""

    kind: Literal["davidnet"] = "davidnet"
    width: PositiveFloat = 1.0
    logit_scale: PositiveFloat = 0.125

    def narrowed(self, factor: float) -> DavidNet:
        """The same network with `factor` times the channels."""
        return self.model_copy(update={"width": self.width * factor})


class RecordNet(Part):
    """A whitened convolutional network (`speedcore.networks.recordnet`): a stage for each of `widths`."""

    kind: Literal["recordnet"] = "recordnet"
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=4)] = (64, 256, 256)
    whiten_kernel: Literal[2, 3, 4] = 2
    whiten_stride: Literal[1, 2] = 1
    activation: Literal["gelu", "silu", "relu"] = "gelu"
    logit_scale: PositiveFloat = 1 / 9
    norm_momentum: Annotated[float, Field(gt=0, le=1)] = 0.4
    norm_eps: PositiveFloat = 1e-5
    head_std: PositiveFloat = 1.0

    def narrowed(self, factor: float) -> RecordNet:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class DigitNet(Part):
    """Two unpadded convolutions and two linear layers (`speedcore.networks.digitnet`), as mnist-fast trains them.

    widths: of the convolutions. first_kernel: side of the first ones' filters, the second ones are 3×3. hidden: width of
    the first linear layer. first_pool: a 2×2 max-pool after the first convolution too. second_relu: an activation after
    the second convolution. pool_first: pool before the activation, the same function for less work. dropout: share of
    channels dropped after the convolutions, and of values after the first linear layer.
    """

    kind: Literal["digitnet"] = "digitnet"
    widths: tuple[PositiveInt, PositiveInt] = (32, 64)
    first_kernel: Literal[3, 5] = 3
    hidden: PositiveInt = 128
    first_pool: bool = True
    second_relu: bool = True
    pool_first: bool = False
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.0)

    def narrowed(self, factor: float) -> DigitNet:
        """The same network with `factor` times the channels and hidden units, rounded."""
        (hidden,) = _scaled((self.hidden,), factor)
        return self.model_copy(update={"widths": _scaled(self.widths, factor), "hidden": hidden})


class PageNet(Part):
    """The series' network (`speedcore.networks.pagenet`): prep, three stages that halve the sides, a head.

    widths: of prep and the stages. prep: a 3×3 convolution, or a frozen 3×3 whitening of patches and a 1×1 convolution.
    kernel, downsample: of a stage's first convolution, which strides or is followed by a 2×2 max-pool. pool: where that
    stands: after the activation, before it (the same function where the activation never falls), or before batch-norm.
    residual, extra: stages with a residual branch of two blocks, with one more block. norm_scales: at one, drawn from U(0, 1), or
    frozen at one. ghost: groups of a batch that are normalised apart. head: global max-pool, or that and the mean.
    """

    kind: Literal["pagenet"] = "pagenet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 512)
    prep: Literal["conv", "whiten"] = "conv"
    kernel: Literal[1, 3] = 3
    downsample: Literal["pool", "stride"] = "pool"
    pool: Literal["last", "before-activation", "before-norm"] = "last"
    residual: tuple[Literal[1, 2, 3], ...] = (1, 3)
    extra: tuple[Literal[1, 2, 3], ...] = ()
    activation: Literal["relu", "celu"] = "relu"
    celu_alpha: PositiveFloat = 1.0
    norm_scales: Literal["one", "uniform", "frozen"] = "one"
    ghost: PositiveInt = 1
    head: Literal["max", "concat"] = "max"
    head_bias: bool = False
    logit_scale: PositiveFloat = 0.125

    def narrowed(self, factor: float) -> PageNet:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


class PreactNet(Part):
    """The pre-activation ResNet that the series starts from (`speedcore.networks.preactnet`): four stages of two blocks.

    prep_norm: batch-norm and ReLU after the first convolution too, although the first block begins with them. branches: the
    long branches of the blocks; without them only the shortcuts are left. norm_scales: at one, or drawn from U(0, 1).
    """

    kind: Literal["preactnet"] = "preactnet"
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (64, 128, 256, 256)
    prep_norm: bool = False
    branches: bool = True
    norm_scales: Literal["one", "uniform"] = "one"

    def narrowed(self, factor: float) -> PreactNet:
        """The same network with `factor` times the channels, rounded."""
        return self.model_copy(update={"widths": _scaled(self.widths, factor)})


def _scaled(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(max(1, round(width * factor)) for width in widths)


Network = Annotated[DavidNet | RecordNet | DigitNet | PageNet | PreactNet, Field(discriminator="kind")]


class Augment(Part):
    """Label-preserving changes, applied to uint8 images in batches on the device, before they are normalised.

    crop: pixels of padding on each side before a random crop of the old size. pad: how the padding is filled:
    mirrored, or with the training split's mean colour (zero once normalised), or black.
    flip: "random" mirrors each image with probability 1/2 in each epoch; "alternating" does so in the first epoch
    and mirrors every image every other epoch after that. cutout: side of the masked square in pixels, 0 for none.
    groups: 0 where each image draws for itself; else images are put at random into equal groups, each of which shares a crop
    (a mirroring, a cutout) that no other has, at most so many groups an epoch.
    """

    crop: NonNegativeInt = 0
    pad: Literal["reflect", "mean", "black"] = "reflect"
    flip: Literal["none", "random", "alternating"] = "none"
    cutout: NonNegativeInt = 0
    groups: NonNegativeInt = 0

    @property
    def any(self) -> bool:
        return bool(self.crop or self.cutout or self.flip != "none")


class Loader(Part):
    """How `data = "loader"` brings its images.

    prepared: normalised and padded once, before training, instead of each image each time. choices: drawn in bulk at the
    start of an epoch, or one by one as images are fetched. worker: whether a process of its own fetches them; where it is not
    said, one does if the network is on a GPU.
    """

    prepared: bool = False
    choices: Literal["bulk", "single"] = "bulk"
    worker: bool | None = None


class Schedule(Part):
    """Knots (progress 0..1, factor of the peak rate). shape "steps" keeps a knot's factor until the next knot."""

    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (0.2, 1.0), (1.0, 0.0))
    shape: Literal["linear", "cosine", "steps"] = "linear"

    @field_validator("knots")
    @classmethod
    def _ordered(cls, knots: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        positions = [position for position, _ in knots]
        if len(knots) < 2 or positions[0] != 0 or positions[-1] != 1 or positions != sorted(positions):
            raise ValueError("knots must rise from position 0 to position 1")
        if any(factor < 0 for _, factor in knots):
            raise ValueError("a knot's factor must not be negative")
        return knots

    @property
    def floor(self) -> float:
        """The factor at which every run ends."""
        return self.knots[-1][1]

    @property
    def end(self) -> float:
        """Progress from which the factor stays at zero; infinity where it ends above zero."""
        above = max((i for i, (_, factor) in enumerate(self.knots) if factor > 0), default=-1)
        return self.knots[above + 1][0] if above + 1 < len(self.knots) else math.inf


class WhitenBias(Part):
    """The bias of a whitening layer on a rate and a schedule of its own; frozen once that schedule has come to rest at 0.

    What comes before a frozen bias needs no gradient any more, so the steps after that are cheaper.
    lr: peak rate for a mean loss; one step at it takes away the same share of the bias as of any other weight.
    """

    lr: PositiveFloat
    schedule: Schedule = Schedule(knots=((0.0, 1.0), (1.0, 0.0)))


class SGD(Part):
    """Nesterov SGD. `lr` is the peak rate for a mean loss; the decay is not multiplied into the batch.

    lr_in_buffer puts the rate inside the momentum buffer, as the series' code does: v = m·v + lr·(g + wd·w).
    bias_lr multiplies the rate of biases, whose decay is divided by it.
    """

    kind: Literal["sgd"] = "sgd"
    lr: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 0.0
    nesterov: bool = True
    lr_in_buffer: bool = True
    bias_lr: PositiveFloat = 1.0
    whiten_bias: WhitenBias | None = None


class Muon(Part):
    """Muon for convolution filters, Nesterov SGD for the rest.

    lr: length of the orthogonalised step, for filters that are kept at unit row norm. bias_lr, head_lr and momentum
    of their SGD (mean loss); decay: the share of those weights that one step at the peak rate takes away.
    """

    kind: Literal["muon"] = "muon"
    lr: PositiveFloat = 0.24
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    newton_schulz_steps: PositiveInt = 3
    bias_lr: PositiveFloat
    head_lr: PositiveFloat
    sgd_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.85
    decay: NonNegativeFloat = 0.0
    whiten_bias: WhitenBias | None = None


class Adam(Part):
    """torch's Adam."""

    kind: Literal["adam"] = "adam"
    lr: PositiveFloat
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    weight_decay: NonNegativeFloat = 0.0


class Adadelta(Part):
    """torch's Adadelta: steps are scaled by the running sizes of past steps and gradients, so `lr` 1 is its natural rate."""

    kind: Literal["adadelta"] = "adadelta"
    lr: PositiveFloat = 1.0
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.9
    eps: PositiveFloat = 1e-6


Optimizer = Annotated[SGD | Muon | Adam | Adadelta, Field(discriminator="kind")]


class Average(Part):
    """Exponential moving average of weights and buffers: `decay` a step, applied every `every` steps.

    initial: it begins at the untrained weights and is updated after steps 1, 1 + every, ..., as the series' code has it;
    else it begins at the weights of its first update, after step `every`.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    every: PositiveInt = 5
    # The average runs on to the end over weights that no longer move much; before `start` it would hold old ones.
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initial: bool = False

    @model_validator(mode="after")
    def _one_beginning(self) -> Average:
        if self.initial and self.start:
            raise ValueError("initial begins with the run and start later; leave one of them out")
        return self


class Lookahead(Part):
    """Slow weights and buffers that follow the fast ones every `every` steps, which then go on from there.

    The slow ones keep decay^every · progress^power of themselves: next to nothing at first, most of it at the end.
    """

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.95
    every: PositiveInt = 5
    power: NonNegativeFloat = 3.0


class Views(Part):
    """Views averaged at test time: the image, its mirror, and both shifted by one pixel.

    shift_share: what the shifted views count together; None: each view counts the same.
    """

    mirror: bool = False
    shifts: bool = False
    shift_share: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def any(self) -> bool:
        return self.mirror or self.shifts

    @property
    def count(self) -> int:
        """How many views there are, the image itself among them."""
        return (2 if self.mirror else 1) * (3 if self.shifts else 1)

    @property
    def weights(self) -> tuple[float, ...]:
        """What each view counts, 1 on average: the image, its mirror, then the shifted ones."""
        if not self.shifts or self.shift_share is None:
            return (1.0,) * self.count
        upright = self.count // 3
        return (3 * (1 - self.shift_share),) * upright + (1.5 * self.shift_share,) * (2 * upright)


class Peek(Part):
    """Looks at the *test* set after every epoch, as some published systems take them: their clocks count the time.

    stop_at: accuracy (a share of 1) at which training ends. The test set then chooses the moment at which it is read, so
    the accuracy of such a run is no estimate for unseen images: its record says so (`RunRecord.peeked`), and so does every
    table that shows it. Without `stop_at` a look decides nothing.
    """

    stop_at: Annotated[float, Field(gt=0, le=1)] | None = None


# Fields that came after the first runs had been published. At their defaults they stay out of the hash, so that a recipe
# that does not use them keeps its name, and its finished runs stay findable.
_LATER = ("order", "last_batch", "peek", "loader", "loss", "norm_precision", "augment.groups", "average.initial")


class Recipe(Part):
    """How to train. Epochs are what the recipe wants; a budget may grant fewer (never fewer than one step).

    min_epochs: below this the planner prefers fewer seeds to shorter runs. validation: training images held out
    for curves and tuning. precision: "bf16" runs the network under autocast with fp32 weights; "bf16-weights"
    keeps the weights in bf16 too. norm_precision: of batch-norm's weights and running statistics; "bf16" only to replicate
    systems that keep them in half precision. data: "device" augments while training, "precomputed" streams stored epochs,
    "loader" brings image after image through torch's DataLoader. order: "fixed" shuffles once, the same for all epochs and seeds.
    last_batch: whether an epoch drops or keeps the batch that it cannot fill. loss: "sum" adds it up over the batch, at rates
    for a full one, so that a smaller batch counts for less; "mean" lets every batch count the same.
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
    loss: Literal["mean", "sum"] = "mean"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    average: Average | None = None
    lookahead: Lookahead | None = None
    test_time: Views = Views()
    precision: Literal["fp32", "bf16", "bf16-weights"] = "fp32"
    norm_precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = False
    data: Literal["device", "precomputed", "loader"] = "device"
    loader: Loader | None = None
    validation: NonNegativeInt = 1000
    order: Literal["shuffled", "fixed"] = "shuffled"
    last_batch: Literal["drop", "keep"] = "drop"
    peek: Peek | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.min_epochs > self.epochs:
            raise ValueError(f"min_epochs ({self.min_epochs:g}) is larger than epochs ({self.epochs:g})")
        if self.peek and self.average:
            raise ValueError("peek looks at the weights in training, but average tests other ones; leave one of them out")
        if self.data == "precomputed" and self.last_batch == "keep":
            raise ValueError('stored epochs hold whole batches; write last_batch = "drop" or data = "device"')
        if self.norm_precision == "bf16" and self.precision == "fp32":
            raise ValueError('norm_precision "bf16" needs a network that runs in bf16; write precision = "bf16"')
        if self.loader and self.data != "loader":
            raise ValueError('loader says how data = "loader" brings its images, but data is another; leave it out')
        if self.loader and self.loader.choices == "single" and self.augment.flip == "alternating":
            raise ValueError('alternating flips remember the first epoch; write choices = "bulk"')
        if self.data == "loader" and self.augment.groups:
            raise ValueError('groups of images share their choices on the device; write data = "device" or groups = 0')
        ghost = getattr(self.network, "ghost", 1)
        if self.batch_size % ghost:
            raise ValueError(f"a batch of {self.batch_size} cannot be divided into {ghost} equal groups (network.ghost)")
        return self

    @property
    def peeks(self) -> bool:
        """Whether the test set decides when training ends."""
        return self.peek is not None and self.peek.stop_at is not None

    @property
    def hash(self) -> str:
        """Twelve hex digits that name everything about the recipe but its name and description."""
        content = self.model_dump(mode="json", exclude={"name", "describe"})
        for path in _LATER:
            *parts, field = path.split(".")
            part, table = self, content
            for name in parts:
                part, table = getattr(part, name), table[name]
            if part is not None and getattr(part, field) == type(part).model_fields[field].default:
                del table[field]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def without_augmentation(self) -> Recipe:
        """The other arm: the same recipe on the images as they are, in training and at test time.

        A network that never saw a mirrored image has no reason to be asked about one, so the views go too; the arms
        are compared on the plain test images.
        """
        return self.model_copy(update={"augment": Augment(), "test_time": Views()})

    def changed(self, **fields) -> Recipe:
        """A copy with `fields` replaced, validated again."""
        return validated({**self.model_dump(), **fields}, f"recipe '{self.name}'")


def validated(content: dict, where: str) -> Recipe:
    """A Recipe from plain data, or a RecipeError that lists each wrong field of `where`."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        lines = "\n".join(f"  {'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise RecipeError(f"{where} is not a valid recipe:\n{lines}\nThe fields are listed in docs/recipes.md.") from None


def from_toml(path: Path) -> Recipe:
    """Read a recipe file. `base = "NAME"` takes another recipe's fields first. Raises RecipeError."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"recipe file {path} does not exist; give a built-in name or the path of a TOML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe file {path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe file {path} is not valid TOML: {error}.") from None
    content.setdefault("name", Path(path).stem)
    base = content.pop("base", None)
    if base is not None:
        from speedcore.recipes import get

        dataset = content.pop("dataset", "cifar10")
        if not (isinstance(base, str) and isinstance(dataset, str)):
            raise RecipeError(f"recipe file {path}: base and dataset must be names in quotes.")
        try:
            content = merged(get(base, dataset).model_dump(), content)
        except RecursionError:
            raise RecipeError(f"recipe file {path}: its base '{base}' leads back to itself.") from None
    return validated(content, f"recipe file {path}")


def merged(base: dict, change: dict) -> dict:
    """`change` over `base`, table by table; a table that names another `kind` replaces its predecessor whole."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict) and value.get("kind", old.get("kind")) == old.get("kind")
        result[key] = merged(old, value) if nested else value
    return result
