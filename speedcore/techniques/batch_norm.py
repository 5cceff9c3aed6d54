"""Batch-norm's recalibration: its statistics, for the weights that are tested.

Running statistics follow weights that still move, over the last few batches, as augmented; those of averaged weights are no
average of statistics at all. A pass over training images as they are, nothing else trained, gives the tested weights their own
(Izmailov et al., 2018, for averaged weights; Wu and Johnson, 2021, as "precise batch-norm").
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from speedcore.networks.modes import eval_mode


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Float[Tensor, "n c h w"]]) -> None:
    """Set the running statistics of each batch-norm in `network` to the mean of those of `batches` of equal size.

    The rest of the network is in eval mode meanwhile. Modes and momenta leave as they came; on failure so do the statistics.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [(norm, norm.momentum, {name: t.clone() for name, t in norm.named_buffers()}) for norm in norms]
    with eval_mode(network):
        try:
            for norm in norms:
                norm.train()
            for done, x in enumerate(batches):
                for norm in norms:
                    norm.momentum = 1 / (done + 1)  # the first replaces what was there
                network(x)
        except BaseException:
            for norm, _, buffers in before:
                for name, tensor in norm.named_buffers():
                    tensor.copy_(buffers[name])
            raise
        finally:
            for norm, momentum, _ in before:
                norm.momentum = momentum
