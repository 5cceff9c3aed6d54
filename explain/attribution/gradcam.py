"""Grad-CAM and HiResCAM by captum, for any number of layers and targets from one forward pass.

Grad-CAM (Selvaraju et al., 2017): weigh each channel of a layer by the mean of the score's gradient over its cells,
and sum the weighted channels. HiResCAM (Draelos and Carin, 2020): weigh each cell of each channel by its own gradient.

Under global average pooling and a linear head the gradient is the same in all cells; then both are CAM, and a map sums
to the score without its bias. Under a global max-pool only the largest cell of each channel has a gradient. HiResCAM
stays on those cells, and its map sums to the score without its bias. Grad-CAM takes the mean, and so spreads a weight
that one cell earned over every cell in which the channel is active: it shows where the channels are, not where the
score was read, and sums to what the score would be if the pool took means.

captum explains one layer at a time, each with a forward pass of its own; but it takes a layer that returns several
tensors. So the pass is made once, here, with the wanted layers recorded, and captum is shown a layer that returns the
recordings. What it computes from them is its own definition, untouched.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from explain.attribution.layers import Layer
from explain.attribution.registry import method
from explain.models import ExplainError, scores, target_scores

with warnings.catch_warnings():
    # captum's progress bars ask for notebook widgets and warn where there are none. None are used here.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from captum.attr import LayerGradCam, LayerGradientXActivation

Layers = dict[str, Layer]


@method("grad-cam", "Grad-CAM", layers=True, grid="layer", forward=1, backward=1, shared=True,
        definition="channels of a layer, each weighed by the mean of the score's gradient over its cells, summed",
        criticism="under a global max-pool it spreads what one cell earned over all active cells; as coarse as its layer",
        source="Selvaraju et al., ICCV 2017, arXiv 1610.02391; captum LayerGradCam")
def grad_cam(model: nn.Module, layers: Layers, images: Float[Tensor, "n c height width"], targets: Int64[Tensor, "n t"],
             at_once: int = 0) -> dict[str, Float[Tensor, "n t h w"]]:
    """Grad-CAM of one batch: layer name -> signed fp32 maps at the layer's resolution."""
    return _of_recordings(model, layers, images, targets, LayerGradCam)


@method("hirescam", "HiResCAM", layers=True, grid="layer", forward=1, backward=1, shared=True,
        definition="activation times the score's gradient, cell by cell, summed over the channels of a layer",
        criticism="below the last layer it is gradient times input of the rest of the network, and as noisy as that",
        source="Draelos and Carin, 2020, arXiv 2011.08891; captum LayerGradientXActivation")
def hires_cam(model: nn.Module, layers: Layers, images: Float[Tensor, "n c height width"], targets: Int64[Tensor, "n t"],
              at_once: int = 0) -> dict[str, Float[Tensor, "n t h w"]]:
    """HiResCAM of one batch: gradient times activation (captum has that), summed over the channels."""
    return _of_recordings(model, layers, images, targets, LayerGradientXActivation)


class _Recordings(nn.Module):
    """The layer that captum is shown: it returns the activations recorded in the pass that was made."""

    def forward(self, activations: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return activations


def _of_recordings(model: nn.Module, layers: Layers, images: Tensor, targets: Tensor,
                   rule: type[LayerGradCam] | type[LayerGradientXActivation]) -> dict[str, Tensor]:
    found, activations = _recorded_pass(model, layers, images)
    if not found.requires_grad:  # Autograd knows a way to none of them.
        for name, layer in layers.items():
            _check_without_influence(model, name, layer, images, found)
        return {name: torch.zeros(*targets.shape, *cells.shape[2:]) for name, cells in zip(layers, activations, strict=True)}
    recordings = _Recordings()
    maps: dict[str, list[Tensor]] = {name: [] for name in layers}
    for target in targets.unbind(1):
        def forward(_: Tensor, target: Tensor = target) -> Tensor:
            recordings(activations)
            # One sum for the whole batch: images do not mix in eval mode, and autograd is handed one scalar, not N.
            return target_scores(found, target).sum()[None]

        # A layer without influence on the score has gradient zero: its map is empty, and no reason to fail.
        made = rule(forward, recordings).attribute(
            images, grad_kwargs={"retain_graph": True, "allow_unused": True, "materialize_grads": True})
        for name, one in zip(layers, made if isinstance(made, tuple) else (made,), strict=True):
            # Grad-CAM comes summed over its channels, gradient times activation does not.
            maps[name].append(one.detach().float().sum(1, keepdim=True))
    for (name, parts), cells in zip(maps.items(), activations, strict=True):
        if not any(part.any() for part in parts) and not _is_joined(found, cells):
            _check_without_influence(model, name, layers[name], images, found)
    return {name: torch.cat(parts, dim=1) for name, parts in maps.items()}


def _recorded_pass(model: nn.Module, layers: Layers, images: Tensor) -> tuple[Float[Tensor, "n k"], tuple[Tensor, ...]]:
    """Scores in fp32 and the cells of each layer, joined by autograd from the first of these layers on."""
    seen: dict[str, Tensor] = {}

    def record(name: str, layer: Layer) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            seen[name] = layer.grid.cells(output if output.requires_grad else output.detach().requires_grad_())
            return layer.grid.output(seen[name]).clone()  # What comes next may work in place.
        return hook

    with ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.callback(layer.module.register_forward_hook(record(name, layer)).remove)
        found = scores(model, images)
    return found, tuple(seen[name] for name in layers)


def _is_joined(found: Tensor, cells: Tensor) -> bool:
    """Whether autograd knows a way from the scores to the cells; a gradient of zero is one too."""
    return torch.autograd.grad(found.sum(), cells, retain_graph=True, allow_unused=True)[0] is not None


def _check_without_influence(model: nn.Module, name: str, layer: Layer, images: Tensor, found: Tensor) -> None:
    """Raises ExplainError if a layer that autograd does not see has influence on the scores: then zero is not the truth.

    The layer's output is replaced by another, and the scores are asked for again.
    """
    def replaced(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        other = torch.linspace(-1, 1, output.numel(), device=output.device).view(output.shape)
        return (output + (1 + output.abs().amax()) * other).to(output.dtype)

    handle = layer.module.register_forward_hook(replaced)
    try:
        with torch.no_grad():
            other = scores(model, images)
    finally:
        handle.remove()
    if not torch.allclose(other, found, equal_nan=True):
        raise ExplainError(f"the scores depend on layer '{name}', but not through autograd (a part of the model is quantised, "
                           f"detached, or run under torch.no_grad or a checkpoint), so that its map would be zero; choose a "
                           f"layer after that part, or occlusion, which takes no gradient.")
