"""Layers that several networks share: batch-norm with groups and scales of several kinds, and filters that whiten patches."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from speedcore.machine.widest import widest


class Norm(nn.BatchNorm2d):
    """Batch-norm, also as "ghost" batch-norm: groups of a batch are normalised apart, each by its own statistics.

    Image i belongs to group i mod `groups`, so that the groups of a batch of 512 in 16 are every sixteenth image. The running
    statistics are those of the groups, averaged; all images share them at test time. A batch that cannot be divided into so
    many equal groups is divided into fewer.

    scales: "one" starts them at 1; "uniform" draws them from U(0, 1), as torch did until 1.1; "frozen" keeps them at 1, so
    that only the biases are trained.
    """

    def __init__(self, width: int, scales: str = "one", groups: int = 1):
        super().__init__(width)
        self.groups = groups
        if scales == "uniform":
            nn.init.uniform_(self.weight)
        self.weight.requires_grad_(scales != "frozen")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        groups = math.gcd(len(x), self.groups)
        if not self.training or groups == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        n, c, h, w = x.shape
        mean, variance = self.running_mean.repeat(groups), self.running_var.repeat(groups)
        # Neighbours in a batch side by side as channels: one call normalises every group.
        x = F.batch_norm(x.reshape(n // groups, groups * c, h, w), mean, variance, self.weight.repeat(groups),
                         self.bias.repeat(groups), True, self.momentum, self.eps)
        with torch.no_grad():
            # Averages of the groups' averages, as if each group had kept its own: both are linear.
            self.running_mean.copy_(mean.view(groups, c).mean(0))
            self.running_var.copy_(variance.view(groups, c).mean(0))
        return x.view(n, c, h, w)


@torch.no_grad()
def whitening_filters(batches: Iterable[Float[Tensor, "n c h w"]], kernel: tuple[int, ...], eps: float,
                      lost: int = 0) -> Float[Tensor, "p c k k"]:
    """Filters whose responses to patches of the images are uncorrelated and of unit size, the largest direction first.

    They are the eigenvectors of the patches' second moments (over their number less `lost`), each divided by the root of its
    eigenvalue. eps: added to the eigenvalues, so that directions which hold almost nothing are not blown up to noise.
    While a batch is looked at, its patches take dozens of times its room: hand over many small ones.
    """
    gram: Tensor | float = 0.0
    count = channels = 0
    for images in batches:
        patches = F.unfold(images.float(), kernel).to(widest(images.device))
        gram = gram + (patches @ patches.mT).sum(0)
        count, channels = count + len(patches) * patches.shape[2], images.shape[1]
    # On the host: a table so small is solved before a GPU has begun, and not every GPU can.
    values, vectors = torch.linalg.eigh(torch.as_tensor(gram).cpu().double() / (count - lost))
    return (vectors / (values + eps).sqrt()).T.flip(0).reshape(-1, channels, *kernel)
