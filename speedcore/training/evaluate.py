"""Logits, accuracy, test-time augmentation. The network leaves in the mode in which it came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.machine.room import images_at_once, in_parts
from speedcore.networks.modes import eval_mode
from speedcore.recipe import TTAConfig
from speedcore.techniques.augment import Normalise


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which a network of that precision runs."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype(precision))


def dtype(precision: str) -> torch.dtype:
    """What a recipe of that precision multiplies."""
    return {"fp32": torch.float32, "fp16": torch.float16}.get(precision, torch.bfloat16)


@torch.no_grad()
def logits(network: nn.Module, images: UInt8[Tensor, "n c h w"], normalise: Normalise, *, precision: str = "fp32",
           channels_last: bool = False, batch_size: int = 500, views: TTAConfig | None = None) -> Float[Tensor, "n k"]:
    """Logits in fp32 of the images as they are, on the network's device, at most `batch_size` at once.

    views: instead the weighted mean over the *further* views that it names (at least one); `with_views` joins the two.
    """
    device = next(network.parameters()).device
    layout = torch.channels_last if channels_last else torch.contiguous_format
    if views is not None:
        weights = torch.tensor(views.weights[1:], device=device)
        weights = (weights / weights.mean()).view(-1, 1, 1)

    def of(start: int, end: int) -> Tensor:
        x = normalise(images[start:end].to(device)).to(memory_format=layout)
        if views is None:
            return network(x).float()
        return torch.stack([network(view).float() for view in further_views(x, views)]).mul_(weights).mean(0)

    with eval_mode(network), autocast(precision, device):
        height, width = images.shape[2:]
        return torch.cat(in_parts(of, len(images), images_at_once(device, (height, width), batch_size)))


def further_views(x: Float[Tensor, "n c h w"], views: TTAConfig) -> Iterator[Float[Tensor, "n c h w"]]:
    """The mirror image, and each of these shifted by a pixel up-left and down-right with a mirrored border."""
    mirrored = (x, x.flip(-1)) if views.mirror else (x,)
    yield from mirrored[1:]
    if views.shifts:
        h, w = x.shape[-2:]
        for source in mirrored:
            padded = F.pad(source, (1, 1, 1, 1), mode="reflect")
            yield padded[..., :h, :w]
            yield padded[..., 2:, 2:]


def with_views(plain: Float[Tensor, "n k"], further: Float[Tensor, "n k"], views: TTAConfig) -> Float[Tensor, "n k"]:
    """Weighted mean over all views, from the plain logits and the weighted mean of the further ones."""
    own = views.weights[0]
    return (own * plain + (views.count - own) * further) / views.count


def score(logits: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> tuple[float, float]:
    """(accuracy as a share of 1, mean cross-entropy in nats)."""
    labels = labels.to(logits.device)
    # Both in one transfer: fetching a number from a GPU waits for all that it has to do. (Counts are exact below 2**24.)
    right, loss = torch.stack([(logits.argmax(1) == labels).sum(), F.cross_entropy(logits, labels)]).tolist()
    return right / len(labels), loss
