"""`heatmaps` runs any method of making maps over any number of images; `METHODS` has all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from explain.attribution import gradcam, gradients, perturbation  # noqa: F401 (each registers its methods, in this order)
from explain.attribution.geometry import size_of
from explain.attribution.layers import Layer, find_layers
from explain.attribution.registry import METHODS, Method, add_installed
from explain.attribution.targets import Targets, target_table
from explain.models import (
    ExplainError,
    check_images,
    first_sentence,
    raw_scores,
    too_many,
    undisturbed,
    unwrapped,
    usable,
)
from speedcore.machine.room import images_at_once, in_parts

__all__ = ["BATCH", "METHODS", "Method", "heatmaps", "method_of"]

BATCH = 250


add_installed()


def heatmaps(model: nn.Module, images: Float[Tensor, "n c height width"], targets: Targets,
             layers: Sequence[str] | None = None, method: str = "grad-cam", batch_size: int = BATCH,
             observer: Callable[[int], None] | None = None) -> dict[str, Float[Tensor, "n t h w"]]:
    """Signed maps of any model that takes images and returns scores: name -> fp32 (N, 1, h, w) on the CPU.

    images: what the model takes, normalised as it was trained. targets: a class for all images, one an image (N,), or T an image,
    (N, T) or a list of T tensors (N,), which give (N, T, h, w); of a model with one logit, class 1 is the logit and class 0, the
    negative side, its negative. method: a name in `METHODS`. grad-cam and hirescam explain layers, one map
    under the name of each, at the layer's own resolution; guided-grad-cam likewise, at the image's; saliency, smoothgrad,
    integrated-gradients and occlusion explain the image, under the single key "image", at the image's resolution.
    layers: module paths ("stages.0"); None takes those that the model names in `explain_layers`, and if it names none,
    the error lists the candidates. batch_size: images in one pass at most, an image's copies counted; fewer where memory runs
    out. observer: called with the number of images done after each batch.

    Values are in units of the score; of the score by pixel for saliency and smoothgrad. Nothing is rectified, upsampled or
    scaled, except as a method's definition says. With global average pooling and a linear head, Grad-CAM and HiResCAM maps
    of the last layer sum to the score without its bias. Under a global max-pool HiResCAM's still do, but Grad-CAM spreads
    the weight of the one cell that was read over all cells in which a channel is active (explain/attribution/gradcam.py).

    The model is explained in eval mode, on its own device, in its own type, and on images laid out in memory as they are given
    (`images.to(memory_format=torch.channels_last)` is often quicker on a processor, and rounds otherwise); it leaves as it came,
    also after an exception. First of all it is asked about one image, to find out what it returns and how its layers are read. A
    map of a model or image that is not finite is not finite either: `explain.metrics.is_empty` says so. Raises ExplainError.
    """
    chosen = method_of(method)
    if batch_size < 1:
        raise ExplainError(f"batch_size must be at least 1, found {batch_size}.")
    check_images(images)
    model = unwrapped(model)
    with undisturbed(model) as device:
        with torch.no_grad():
            table = target_table(targets, len(images), raw_scores(model, usable(images[:1]).to(device)).shape[1])
        named = _layers(chosen, model, images, layers)
        step = max(1, images_at_once(device, size_of(images), batch_size) // chosen.forward)

        def of(start: int, end: int) -> dict[str, Tensor]:
            batch, classes = (usable(each[start:end]).to(device) for each in (images, table))
            # Fewer images than were meant for one pass: memory ran out, and their copies are to be fewer too.
            whole = end - start == min(max(1, batch_size // chosen.forward), len(images) - start)
            made = _made(chosen, model, named, batch, classes, batch_size if whole else (end - start) * chosen.forward)
            if observer:
                observer(end)
            return {name: maps.cpu() for name, maps in made.items()}

        parts = in_parts(of, len(images), step)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _made(method: Method, model: nn.Module, named: dict[str, Layer], batch: Tensor, classes: Tensor,
          at_once: int) -> dict[str, Tensor]:
    """Maps of a batch. Raises ExplainError where autograd cannot find its way back."""
    try:
        return method.make(model, named, batch, classes, at_once)
    except torch.OutOfMemoryError as error:
        raise too_many(batch) from error
    except RuntimeError as error:
        raise ExplainError(f"the score cannot be differentiated: {first_sentence(error)}; choose a layer outside of what stands "
                           f"in the way (torch.utils.checkpoint, a quantised or detached part), or occlusion.") from error


def method_of(name: str) -> Method:
    """The method of that name. Raises ExplainError naming those that there are."""
    if name not in METHODS:
        raise ExplainError(f"there is no method '{name}'; choose {', '.join(METHODS)}.")
    return METHODS[name]


def _layers(method: Method, model: nn.Module, images: Tensor, layers: Sequence[str] | None) -> dict[str, Layer]:
    if method.layers:
        return find_layers(model, images, layers)
    if layers is not None:
        raise ExplainError(f"method '{method.name}' explains the image and takes no layers; leave them out, or choose "
                           f"{', '.join(name for name, m in METHODS.items() if m.layers)}.")
    return {}
