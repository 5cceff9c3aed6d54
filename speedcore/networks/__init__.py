"""Networks, built from their description in a recipe."""

from __future__ import annotations

from torch import nn

from speedcore.networks.davidnet import DavidNet
from speedcore.networks.digitnet import DigitNet
from speedcore.networks.pagenet import PageNet
from speedcore.networks.preactnet import PreactNet
from speedcore.networks.recordnet import RecordNet
from speedcore.recipe import Network

_BUILDERS = {"davidnet": DavidNet, "recordnet": RecordNet, "digitnet": DigitNet, "pagenet": PageNet, "preactnet": PreactNet}


def build(spec: Network, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """The network that `spec` describes, for (channels, *size) images, with freshly drawn weights.

    Every network here takes normalised images (N, C, H, W), returns logits (N, classes), and names in
    `explain_layers` the layers worth explaining: {"middle": ..., "last": ...} as module paths.
    Draws from torch's global generator: seed it before, or use `speedcore.training`, which does.
    """
    fields = spec.model_dump(exclude={"kind"})
    return _BUILDERS[spec.kind](channels, size, classes, **fields)


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Trainable and frozen parameters, and running statistics (floating buffers), as numbers of values."""
    return {
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "frozen": sum(p.numel() for p in network.parameters() if not p.requires_grad),
        "buffers": sum(b.numel() for b in network.buffers() if b.is_floating_point()),
    }


__all__ = ["DavidNet", "DigitNet", "PageNet", "PreactNet", "RecordNet", "build", "parameter_counts"]
