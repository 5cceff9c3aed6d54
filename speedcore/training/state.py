"""A network with what steps it: the unit that training, cost measurements and range tests move forward."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int64, Num, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore import kernels
from speedcore.clock import WALL, Clock, Stopwatch
from speedcore.data.dataset import Dataset, Part, Split
from speedcore.machine.allocator import keep_memory
from speedcore.machine.queue import synchroniser
from speedcore.networks import build, parameter_counts
from speedcore.recipe import Recipe, TTAConfig
from speedcore.replicas.switches import fixed_order, loss_share
from speedcore.techniques import batch_norm
from speedcore.techniques.augment import Normalise
from speedcore.techniques.loss_scale import LossScale
from speedcore.training import evaluate, optimizers
from speedcore.training.seeding import seeded

# Whitening filters settle long before this many images have been seen.
_WHITENING_IMAGES, _WHITENING_BATCH = 5000, 100


class TrainState:
    """A network with what steps it: built from a seed, on a device, in the recipe's precision.

    Raises ValueError for a recipe whose precision has not been settled (`speedcore.training.settle`).
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, seed: int, device: torch.device):
        if recipe.precision == "auto":
            raise ValueError(f"recipe '{recipe.name}': settle its precision first (speedcore.training.settle.settle)")
        self.recipe, self.device = recipe, device
        if device.type == "cpu":
            keep_memory()
        with seeded(seed):
            network = build(recipe.network, dataset.channels, dataset.size, len(dataset.classes))
        self.layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        # torch takes both at once, though its stubs know only one or the other.
        self.network: nn.Module = network.to(device, memory_format=self.layout)  # type: ignore[call-overload]
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                # Running statistics in bf16 may lose the updates that matter: fp32 unless a recipe insists.
                module.to(torch.bfloat16 if recipe.norm_precision == "bf16" else torch.float32)
                # Counted, and used by nobody: on a GPU that would be a kernel a layer and step.
                if module.num_batches_tracked is not None:
                    module.num_batches_tracked = module.num_batches_tracked.cpu()
        backend = recipe.convolutions if recipe.channels_last or recipe.precision == "fp32" else "torch"
        self.convolutions = kernels.use(self.network, backend, recipe.precision, device)
        self.normalise = Normalise.of(dataset)
        self.optimizer = optimizers.make(recipe.optimizer, self.network, evaluate.dtype(recipe.precision))
        self.loss_scale = LossScale(device) if recipe.precision == "fp16" else None
        self.parameters = parameter_counts(self.network)  # now: what is trained for a while only is frozen at the end

    def whiten(self, train: Split | Part) -> None:
        """Set data-dependent filters, where the network has any, from a sample of the training images."""
        prepare = getattr(self.network, "prepare", None)
        if prepare is not None:
            images = getattr(self.network, "whitening_images", _WHITENING_IMAGES)
            prepare(self._sample(train, images, _WHITENING_BATCH))

    def recalibrate_batch_norm(self, train: Split | Part) -> None:
        """Batch-norm recalibration, over a sample of as many training images as the recipe says, in whole batches."""
        images = min(len(train), self.recipe.bn_recalibration_images)
        size = min(self._test_batch, images)
        batches = (x.to(memory_format=self.layout) for x in self._sample(train, images // size * size, size))
        with evaluate.autocast(self.recipe.precision, self.device):
            batch_norm.recalibrate(self.network, batches)

    def _sample(self, train: Split | Part, images: int, batch_size: int) -> Iterator[Float[Tensor, "n c h w"]]:
        """Normalised batches of up to so many training images, the same in every run.

        Not the first ones: class folders come class by class, and theirs are of one class alone.
        """
        for rows in fixed_order(len(train))[:images].split(batch_size):
            yield self.normalise(train.take(rows).images.to(self.device))

    def gradients(self, images: Num[Tensor, "n c h w"], labels: Int64[Tensor, " n"]) -> tuple[Tensor, Tensor]:
        """Forward and backward of one batch: (mean loss, accuracy) as device scalars. images: uint8, or normalised already."""
        images = images.to(self.device)
        x = (images if images.is_floating_point() else self.normalise(images)).to(memory_format=self.layout)
        with evaluate.autocast(self.recipe.precision, self.device):
            logits = self.network(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        share = loss_share(self.recipe, len(labels))
        counted = loss if share == 1 else share * loss
        (self.loss_scale.scaled(counted) if self.loss_scale else counted).backward()
        return loss.detach(), (logits.detach().argmax(1) == labels).float().mean()

    def step(self, images: Num[Tensor, "n c h w"], labels: Int64[Tensor, " n"], factor: float,
             progress: float | None = None) -> tuple[Tensor, Tensor]:
        """One optimiser step at `factor` times the peak rates; parts with a schedule of their own read `progress`."""
        seen = self.gradients(images, labels)
        if self.loss_scale is None:
            self.optimizer.step(factor, progress)
        else:
            self.loss_scale.unscale([p.grad for p in self.network.parameters() if p.grad is not None])
            with self.loss_scale.only_if_finite(self.optimizer.tensors):
                self.optimizer.step(factor, progress)
        return seen

    def clone(self) -> TrainState:
        """A copy that may be trained and dropped: this network and its optimiser stay as they are."""
        other = copy.copy(self)
        other.network = copy.deepcopy(self.network)
        other.optimizer = optimizers.make(self.recipe.optimizer, other.network, evaluate.dtype(self.recipe.precision))
        other.loss_scale = self.loss_scale and LossScale(self.device)
        return other

    def logits(self, images: UInt8[Tensor, "n c h w"], views: TTAConfig | None = None) -> Float[Tensor, "n k"]:
        return evaluate.logits(self.network, images, self.normalise, precision=self.recipe.precision,
                               channels_last=self.recipe.channels_last, views=views,
                               batch_size=self._test_batch)

    @property
    def _test_batch(self) -> int:
        # On a CPU not in larger batches than training's: validation must not be what sets the peak of memory.
        return min(250, self.recipe.batch_size) if self.device.type == "cpu" else 2000


def warm_up(state: TrainState, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """One discarded step (three on a GPU): kernels are chosen and buffers allocated before the clock counts."""
    other = state.clone()
    other.network.train()
    for _, (images, labels) in zip(range(1 if state.device.type == "cpu" else 3), batches, strict=False):
        other.step(images, labels, factor=0.1)


def still_to_come(state: TrainState, test: Split, validation: Split | None, strict: bool,
                  clock: Clock = WALL) -> tuple[float, float]:
    """Seconds, a little too many, of one validation and of everything after the last step that the rule counts.

    strict: it counts validation and tests; any rule counts batch-norm recalibration. clock: what measures them.
    """
    recipe = state.recipe
    if not (strict or recipe.bn_recalibration_images):
        return 0.0, 0.0
    images = test.images[:500]
    state.logits(images)  # the first pass at a shape chooses kernels
    watch = Stopwatch(clock)
    state.logits(images)
    synchroniser(state.device)()
    each = 1.2 * watch.seconds() / len(images)
    validated = len(validation or ()) + (len(test) if recipe.peek else 0)
    recalibration = each * recipe.bn_recalibration_images
    return (each * validated, each * len(test) * recipe.tta.count + 0.5 + recalibration) if strict else (0.0, recalibration)
