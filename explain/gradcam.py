"""Grad-CAM by captum's LayerGradCam, for any number of layers and targets from one forward pass.

Grad-CAM (Selvaraju et al., 2017): weigh each channel of a layer by the mean of the score's gradient over its cells,
and sum the weighted channels. captum explains one layer at a time, each with a forward pass of its own; but it takes a
layer that returns several tensors. So the pass is made once, here, with the wanted layers recorded, and captum is shown
a layer that returns the recordings. What it computes from them is its own definition, untouched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from speedcore.errors import UserError

with warnings.catch_warnings():
    # captum's progress bars ask for notebook widgets and warn where there are none. None are used here.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from captum.attr import LayerGradCam


class ExplainError(UserError):
    """A model, layer, target or run cannot be explained as asked."""


def heatmaps(model: nn.Module, images: Float[Tensor, "n c height width"],
             targets: int | Int64[Tensor, " n"] | Int64[Tensor, "n t"], layers: Sequence[str] | None = None,
             batch_size: int = 250, observer: Callable[[int], None] | None = None) -> dict[str, Float[Tensor, "n t h w"]]:
    """Signed Grad-CAM maps: layer name -> fp32 (N, 1, h, w) on the CPU, at the layer's own resolution.

    images: what the model takes, normalised as it was trained. targets: a class for all images, one an image, or T an
    image (N, T), which give (N, T, h, w). layers: module paths ("stages.0"); None takes those that the model names in
    `explain_layers`. observer: called with the number of images done after each batch.

    Values are in units of the score. Nothing is rectified, upsampled or scaled. The model is explained in eval mode
    and fp32 (weights in bf16 stay so) and leaves as it came, also after an exception. Cost: one forward pass for all,
    and a backward pass down to the lowest layer for each of the T targets. Raises ExplainError.
    """
    _check_images(images)
    names = _layer_names(model, images, layers)
    targets = _as_table(targets, len(images))
    modules = dict(model.named_modules())
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    with undisturbed(model) as device:
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            maps = _batch(model, {name: modules[name] for name in names},
                          _usable(images[rows]).to(device, _dtype(model)), _usable(targets[rows]).to(device))
            for name in names:
                parts[name].append(maps[name].cpu())
            if observer:
                observer(min(start + batch_size, len(images)))
    return {name: torch.cat(part) for name, part in parts.items()}


def candidate_layers(model: nn.Module, images: Float[Tensor, "n c height width"]) -> dict[str, tuple[int, int, int]]:
    """Layers that can be explained, in order of their calls: name -> (channels, h, w).

    These are the modules, each used once in a pass, that return one image-like tensor (N, channels, h, w) of more
    than one cell.
    """
    _check_images(images)
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
        _forward(model, images[:1].to(device, _dtype(model)))
    return {name: shape for name, shape in found.items() if shape is not None}


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode, frozen parameters, autograd on and autocast off inside; everything as it was afterwards.

    Gives the model's device. Frozen parameters spare the backward pass their gradients, which Grad-CAM never uses.
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


class _Recordings(nn.Module):
    """The layer that captum is shown: it returns the activations recorded in the pass that was made."""

    def forward(self, activations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return activations


def _batch(model: nn.Module, layers: dict[str, nn.Module], images: Tensor, targets: Tensor) -> dict[str, Tensor]:
    scores, activations = _recorded_pass(model, layers, images)
    if int(targets.min()) < 0 or int(targets.max()) >= scores.shape[1]:
        raise ExplainError(f"targets run from {int(targets.min())} to {int(targets.max())}, but the model scores classes "
                           f"0 to {scores.shape[1] - 1}; give a class in that range.")
    recordings = _Recordings()
    found: dict[str, list[Tensor]] = {name: [] for name in layers}
    for target in targets.unbind(1):
        def forward(_, target=target) -> Tensor:
            recordings(activations)
            # One sum for the whole batch: images do not mix in eval mode, and autograd is handed one scalar, not N.
            return scores.gather(1, target[:, None]).sum()[None]

        # A layer without influence on the score has gradient zero: its map is dead, and no reason to fail.
        maps = LayerGradCam(forward, recordings).attribute(
            images, grad_kwargs={"retain_graph": True, "allow_unused": True, "materialize_grads": True})
        for name, one in zip(layers, maps if isinstance(maps, tuple) else (maps,), strict=True):
            found[name].append(one.detach().float())
    return {name: torch.cat(maps, dim=1) for name, maps in found.items()}


def _recorded_pass(model: nn.Module, layers: dict[str, nn.Module],
                   images: Tensor) -> tuple[Float[Tensor, "n k"], tuple[Tensor, ...]]:
    """Scores in fp32 and the output of each layer, joined by autograd from the first of these layers on."""
    seen: dict[str, Tensor] = {}

    def record(name: str) -> Callable:
        def hook(module, inputs, output):
            if name in seen:
                raise ExplainError(f"layer '{name}' is used more than once in a pass; choose a layer used once: "
                                   f"explain.candidate_layers lists them.")
            if not isinstance(output, Tensor) or output.ndim != 4:
                what = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
                raise ExplainError(f"layer '{name}' has no spatial map: its output is {what}, not (N, channels, h, w); "
                                   f"choose a layer that explain.candidate_layers lists.")
            seen[name] = output if output.requires_grad else output.detach().requires_grad_()
            return seen[name].clone()  # What comes next may work in place.
        return hook

    with ExitStack() as hooks:
        for name, module in layers.items():
            hooks.callback(module.register_forward_hook(record(name)).remove)
        scores = _forward(model, images)
    if missing := [name for name in layers if name not in seen]:
        raise ExplainError(f"layer '{missing[0]}' takes no part in the forward pass; choose one that "
                           f"explain.candidate_layers lists.")
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        raise ExplainError(f"the model must return scores (N, classes); for {len(images)} images it returned "
                           f"{tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__}.")
    if not scores.requires_grad:
        raise ExplainError("the scores do not depend on the chosen layers through autograd: does the model detach them?")
    return scores.float(), tuple(seen[name] for name in layers)


def _usable(tensor: Tensor) -> Tensor:
    """Tensors made in inference mode cannot take part in autograd; a copy made outside it can."""
    return tensor.clone() if tensor.is_inference() else tensor


def _forward(model: nn.Module, images: Tensor) -> Tensor:
    try:
        return model(images)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExplainError(f"the model does not take images of shape {tuple(images.shape)}: {first}") from error


def _layer_names(model: nn.Module, images: Tensor, layers: Sequence[str] | None) -> list[str]:
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


def _as_table(targets: int | Tensor, n: int) -> Int64[Tensor, "n t"]:
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


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) == 0 or not images.is_floating_point():
        what = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ExplainError(f"images must be floating point (N, C, H, W), normalised as the model was trained; found {what}.")


def _dtype(model: nn.Module) -> torch.dtype:
    """The type of the weights: fp32, unless the model was made in another."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
