"""Networks, built from their description in a recipe."""

from __future__ import annotations

from torch import nn

from speedcore import plugins
from speedcore.recipe import CustomNetworkConfig, Network

# kind -> where its module class is; loaded when one is built. Those of published systems are in `speedcore.replicas`.
NETWORKS = {
    "recordnet": "speedcore.networks.recordnet:RecordNet",
    "davidnet": "speedcore.replicas.davidnet:DavidNet",
    "digitnet": "speedcore.replicas.digitnet:DigitNet",
    "pagenet": "speedcore.replicas.pagenet:PageNet",
    "preactnet": "speedcore.replicas.preactnet:PreactNet",
}


def build(spec: Network, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """The network that `spec` describes, for (channels, *size) images, with freshly drawn weights.

    Every network here takes normalised images (N, C, H, W), returns logits (N, classes), and names in
    `explain_layers` the layers worth explaining: {"middle": ..., "last": ...} as module paths.
    A network of a user's own is looked at before it is handed out, and raises PluginError (`speedcore.networks.custom`).
    Draws from torch's global generator: seed it before, or use `speedcore.training`, which does.
    """
    if isinstance(spec, CustomNetworkConfig):
        from speedcore.networks.custom import build as of_a_user

        return of_a_user(spec, channels, size, classes)
    return plugins.imported(NETWORKS[spec.kind])(channels, size, classes, **spec.model_dump(exclude={"kind"}))


def parameter_counts(network: nn.Module) -> dict[str, int]:
    """Trainable and frozen parameters, and running statistics (floating buffers), as numbers of values."""
    return {
        "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "frozen": sum(p.numel() for p in network.parameters() if not p.requires_grad),
        "buffers": sum(b.numel() for b in network.buffers() if b.is_floating_point()),
    }


__all__ = ["NETWORKS", "build", "parameter_counts"]
