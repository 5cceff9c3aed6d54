"""Training in fp16 without a wait: a loss scale that lives on the device.

Gradients below 6e-8 are zero in fp16, so the loss is multiplied before the backward pass and the gradients are divided after it.
As in torch's GradScaler the factor is halved where a gradient overflows, that step being left out, and doubled after many good
ones. GradScaler asks the device at each step whether it may go on, and so waits for all that it has to do; here the update is
made in any case, and taken back by a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

FIRST, LEAST, MOST, PATIENCE = 2.0**14, 1.0, 2.0**24, 500


class LossScale:
    """Once a step: `scaled` on the loss, `unscale` on the gradients, and the update inside `only_if_finite`.

    patience: good steps after which the factor is doubled.
    """

    def __init__(self, device: torch.device, first: float = FIRST, patience: int = PATIENCE):
        self._scale = torch.full((1,), first, device=device)
        self._overflowed = torch.zeros(1, device=device)
        self._good = torch.zeros(1, dtype=torch.int32, device=device)
        self._patience = patience

    @property
    def factor(self) -> Float[Tensor, ""]:
        """What the loss is multiplied with, on the device."""
        return self._scale[0]

    def scaled(self, loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
        return loss * self.factor

    @torch.no_grad()
    def unscale(self, gradients: Sequence[Tensor]) -> None:
        """Divide the gradients by the factor, in place, and set the next factor. If any is not finite, all become zero."""
        self._overflowed.zero_()
        torch._amp_foreach_non_finite_check_and_unscale_(list(gradients), self._overflowed, self._scale.reciprocal())
        torch._amp_update_scale_(self._scale, self._good, self._overflowed, 2.0, 0.5, self._patience)
        self._scale.clamp_(LEAST, MOST)
        bad = self._overflowed.bool()
        for gradient in gradients:
            gradient.masked_fill_(bad, 0.0)  # times zero, what is not finite would stay so

    @contextmanager
    def only_if_finite(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """`tensors`, all that an update changes, leave as they came if the gradients were not finite."""
        kept = list(tensors)
        before = torch._foreach_clone(kept)
        yield
        with torch.no_grad():
            bad = self._overflowed[0]
            # One of the two factors is 1 and the other 0: what is kept is kept to the bit.
            torch._foreach_mul_(kept, 1 - bad)
            torch._foreach_add_(kept, torch._foreach_mul(before, bad))
