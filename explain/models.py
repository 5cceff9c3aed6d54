"""What an explanation asks of a model: its state kept, its scores taken. No method lives here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from speedcore.errors import UserError


class ExplainError(UserError):
    """A model, layer, target or run cannot be explained as asked."""


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode, frozen parameters, autograd on, autocast and compilation off inside; everything as it was afterwards.

    Gives the model's device. Frozen parameters spare the backward pass their gradients, which no map uses. What was changed is
    put back piece by piece: where one piece fails, the others are put back all the same, and its error is raised. Raises
    ExplainError for a model whose images are not independent of one another, or whose weights autograd refuses.
    """
    _check_usable(model)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with ExitStack() as kept:
        for module in model.modules():
            kept.callback(setattr, module, "training", module.training)
        model.eval()
        for parameter in model.parameters():
            if parameter.requires_grad:
                kept.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
        if any(_is_compiled(module) for module in model.modules()):
            # Hooks set after compilation are not called. Only here, for this imports the whole compiler.
            kept.enter_context(torch.compiler.set_stance("force_eager"))
        for context in (torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False)):
            kept.enter_context(context)
        yield device


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself where it comes inside torch.compile or (Distributed)DataParallel: its layers have their own names there.

    Raises ExplainError for TorchScript, whose layers cannot be recorded.
    """
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, parallel) or "_orig_mod" in model._modules:
        model = model.module if isinstance(model, parallel) else model.get_submodule("_orig_mod")
    if isinstance(model, torch.jit.ScriptModule):
        raise ExplainError("a TorchScript model hides its layers from hooks; give the module that it was made from.")
    return model


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None


def _check_usable(model: nn.Module) -> None:
    if any(parameter.is_inference() for parameter in model.parameters()):
        raise ExplainError("the model's weights were made under torch.inference_mode, which autograd refuses; make the model "
                           "outside of it.")
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ExplainError(f"layer '{name}' normalises by the statistics of the batch even in eval mode, so that an image's "
                               f"map would depend on the images beside it; give it running statistics "
                               f"(track_running_stats=True, then a pass over training images in train mode).")


class TargetScores(nn.Module):
    """The model as captum is shown it: images and one target an image in, the targets' scores out.

    summed: one sum for the whole batch, (1,): images do not mix in eval mode, and autograd is handed one scalar instead
    of N. Else a score an image (N,).
    """

    def __init__(self, model: nn.Module, summed: bool = True):
        super().__init__()
        self.model, self.summed = model, summed

    def forward(self, images: Tensor, targets: Int64[Tensor, " n"]) -> Tensor:
        found = scores(self.model, images)
        if images.requires_grad and not found.requires_grad:
            raise ExplainError("the scores do not depend on the image through autograd (a part of the model is quantised, "
                               "detached, or run under torch.no_grad); choose occlusion, which takes no gradient.")
        check_targets(targets, found.shape[1])
        chosen = target_scores(found, targets)
        return chosen.sum()[None] if self.summed else chosen


def forward(model: nn.Module, images: Float[Tensor, "n c height width"]) -> Any:
    """What the model returns. Raises ExplainError if it does not take such images, or not so many.

    Images are cast to the type of the weights here and not before, so that what a method interpolates and adds up stays
    fp32 around a model in bf16. The model is given a copy, laid out in memory as the images are: its first layer may work in
    place.
    """
    try:
        return model(images.to(_dtype(model), copy=True))
    except torch.OutOfMemoryError as error:
        raise too_many(images) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        raise ExplainError(f"the model does not take images of shape {tuple(images.shape)}: {first_sentence(error)}") from error


def too_many(images: Tensor) -> ExplainError:
    return ExplainError(f"{len(images)} images at once are too many for the memory of {images.device}; give a smaller "
                        f"batch_size.")


def raw_scores(model: nn.Module, images: Float[Tensor, "n c height width"]) -> Float[Tensor, "n k"]:
    """The model's scores as it returns them, in fp32. Raises ExplainError if what it returns is no score an image and class."""
    found = forward(model, images)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images) or not found.shape[1]:
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ExplainError(f"the model must return scores (N, classes); for {len(images)} images it returned {what}; wrap it in "
                           f"a module whose forward returns the scores alone.")
    if not found.is_floating_point():
        raise ExplainError(f"the model must return scores, not {found.dtype} answers; explain it before it decides.")
    return found.float()


def scores(model: nn.Module, images: Float[Tensor, "n c height width"]) -> Float[Tensor, "n k"]:
    """A score an image and class, in fp32, k ≥ 2: a model with one logit has two classes (`sides`). Raises ExplainError."""
    return sides(raw_scores(model, images))


def sides(found: Float[Tensor, "n k"]) -> Float[Tensor, "n classes"]:
    """A score a class. A model with one logit, as binary cross-entropy trains it, has two: class 1 scores the logit, class 0,
    the negative side, its negative."""
    return torch.cat([-found, found], 1) if found.shape[1] == 1 else found


def probabilities(model: nn.Module, images: Float[Tensor, "n c height width"]) -> Float[Tensor, "n k"]:
    """Of the same classes: softmax of the scores; of a model with one logit, sigmoid. Raises ExplainError."""
    found = raw_scores(model, images)
    return sides(found).sigmoid() if found.shape[1] == 1 else found.softmax(1)


def target_scores(scores: Float[Tensor, "n k"], targets: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The score of each image's target; of one that is not finite, neither value nor gradient are.

    By itself it may have a finite gradient (a NaN pixel that a ReLU blocks, a NaN bias), and then its map would look like
    any other.
    """
    chosen = scores.gather(1, targets[:, None])[:, 0]
    return chosen * torch.where(chosen.detach().isfinite(), 1.0, torch.nan)


def check_targets(targets: Int64[Tensor, "*n"], classes: int) -> None:
    """Raises ExplainError if a target is none of 0 .. classes − 1."""
    least, most = torch.stack(targets.aminmax()).tolist()
    if least < 0 or most >= classes:
        raise ExplainError(f"targets run from {least} to {most}, but the model scores classes "
                           f"0 to {classes - 1}; give a class in that range.")


def check_images(images: Tensor) -> None:
    """Raises ExplainError unless these are floating point (N, C, H, W) with N > 0."""
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        what = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ExplainError(f"images must be floating point (N, C, H, W), normalised as the model was trained; found {what}.")


def usable(tensor: Tensor) -> Tensor:
    """Detached, and fit for autograd: tensors made in inference mode cannot take part, a copy made outside it can."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def precise(images: Tensor) -> Tensor:
    """In fp32, or in fp64 if they are: what methods interpolate, add noise to and sum up in."""
    return images if images.dtype == torch.float64 else images.float()


def first_sentence(error: Exception) -> str:
    """The first sentence of what another library's error says."""
    return str(error).splitlines()[0].partition(". ")[0].removesuffix(".") if str(error) else type(error).__name__


def _dtype(model: nn.Module) -> torch.dtype:
    """The type of the weights: fp32, unless the model was made in another."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
