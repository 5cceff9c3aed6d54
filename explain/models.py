"""What an explanation asks of a model: its state kept, its layers found, its scores taken. No method lives here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from speedcore.errors import UserError


class ExplainError(UserError):
    """A model, layer, target or run cannot be explained as asked."""


def candidate_layers(model: nn.Module, images: Float[Tensor, "n c height width"]) -> dict[str, tuple[int, int, int]]:
    """Layers that can be explained, in order of their calls: name -> (channels, h, w).

    These are the modules, each used once in a pass, that return one image-like tensor (N, channels, h, w) of more
    than one cell.
    """
    check_images(images)
    found: dict[str, tuple[int, int, int] | None] = {}

    def record(name: str) -> Callable:
        def hook(module, inputs, output):
            fits = name not in found and isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1
            found[name] = tuple(output.shape[1:]) if fits else None
        return hook

    with undisturbed(model) as device, torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if name:
                hooks.callback(module.register_forward_hook(record(name)).remove)
        answer(model, images[:1].to(device))
    return {name: shape for name, shape in found.items() if shape is not None}


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode, frozen parameters, autograd on and autocast off inside; everything as it was afterwards.

    Gives the model's device. Frozen parameters spare the backward pass their gradients, which no map uses.
    """
    modes = [(module, module.training) for module in model.modules()]
    needs = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        model.eval()
        for parameter, _ in needs:
            parameter.requires_grad_(False)
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            yield device
    finally:
        for module, training in modes:
            module.training = training
        for parameter, required in needs:
            parameter.requires_grad_(required)


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
        check_targets(targets, found.shape[1])
        chosen = target_scores(found, targets)
        return chosen.sum()[None] if self.summed else chosen


def answer(model: nn.Module, images: Float[Tensor, "n c height width"]):
    """What the model returns. Raises ExplainError if it does not take such images, or not so many.

    Images are cast to the type of the weights here and not before, so that what a method interpolates and adds up stays
    fp32 around a model in bf16.
    """
    try:
        return model(images.to(_dtype(model)))
    except torch.OutOfMemoryError as error:
        raise ExplainError(f"{len(images)} images at once are too many for the memory of {images.device}; give a smaller "
                           f"batch_size.") from error
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExplainError(f"the model does not take images of shape {tuple(images.shape)}: {first}") from error


def scores(model: nn.Module, images: Float[Tensor, "n c height width"]) -> Float[Tensor, "n k"]:
    """The model's scores, in fp32. Raises ExplainError if what it returns is no score an image and class."""
    found = answer(model, images)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
        raise ExplainError(f"the model must return scores (N, classes); for {len(images)} images it returned "
                           f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}.")
    return found.float()


def target_scores(scores: Float[Tensor, "n k"], targets: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The score of each image's target; of one that is not finite, neither value nor gradient are.

    By itself it may have a finite gradient (a NaN pixel that a ReLU blocks, a NaN bias), and then its map would look like
    any other.
    """
    chosen = scores.gather(1, targets[:, None])[:, 0]
    return chosen * torch.where(chosen.detach().isfinite(), 1.0, torch.nan)


def check_targets(targets: Int64[Tensor, "*n"], classes: int) -> None:
    """Raises ExplainError if a target is none of 0 .. classes − 1."""
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        raise ExplainError(f"targets run from {int(targets.min())} to {int(targets.max())}, but the model scores classes "
                           f"0 to {classes - 1}; give a class in that range.")


def layer_names(model: nn.Module, images: Tensor, layers: Sequence[str] | None) -> list[str]:
    """The layers asked for, or those that the model names; ExplainError lists the candidates if there is nothing to take."""
    if isinstance(layers, str):
        layers = [layers]
    names = list(dict.fromkeys(getattr(model, "explain_layers", {}).values() if layers is None else layers))
    known = dict(model.named_modules())
    wrong = [name for name in names if name not in known or not name]
    if names and not wrong:
        return names
    listed = ", ".join(f"{name} ({h}×{w})" for name, (_, h, w) in candidate_layers(model, images).items())
    problem = f"there is no layer '{wrong[0]}'" if wrong else "name the layers to explain"
    raise ExplainError(f"{problem}; this model has: {listed or 'no layer with a spatial map'}.")


def target_table(targets: int | Tensor, n: int) -> Int64[Tensor, "n t"]:
    """Targets as T an image: from a class for all, one an image (N,), or T an image (N, T)."""
    if isinstance(targets, bool) or not isinstance(targets, int | Tensor):
        try:
            targets = torch.as_tensor(targets)
        except (TypeError, ValueError, RuntimeError):
            raise ExplainError(f"targets must be a class or int64 classes (N,) or (N, T), not {targets!r}.") from None
    table = torch.full((n, 1), targets) if isinstance(targets, int) else targets
    if table.ndim == 0:
        table = table.expand(n)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != n or table.shape[1] == 0 or table.is_floating_point() or table.dtype == torch.bool:
        raise ExplainError(f"targets must be a class or int64 classes (N,) or (N, T) for N = {n} images, found "
                           f"{table.dtype} {tuple(targets.shape)}.")
    return table.to(torch.int64)


def check_images(images: Tensor) -> None:
    """Raises ExplainError unless these are floating point (N, C, H, W) with N > 0."""
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        what = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ExplainError(f"images must be floating point (N, C, H, W), normalised as the model was trained; found {what}.")


def usable(tensor: Tensor) -> Tensor:
    """Detached, and fit for autograd: tensors made in inference mode cannot take part, a copy made outside it can."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def _dtype(model: nn.Module) -> torch.dtype:
    """The type of the weights: fp32, unless the model was made in another."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
