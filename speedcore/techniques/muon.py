"""Muon: momentum whose directions are made orthogonal, for convolution filters.

On a GPU a step of small filters is bound by launches, not by arithmetic: there all filters go through one batched iteration,
padded with zeros to one size. A processor takes them one after the other: padding is work to it, and saves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

# Jordan's coefficients of the quintic: speed near zero is worth more to an update than convergence to exactly 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_TINY = 1e-7


class Muon:
    """Momentum orthogonalised by Newton–Schulz (Jordan et al., 2024), for convolution filters.

    Each filter bank is seen as a matrix (outputs, inputs·k·k). Its rows are rescaled to unit mean square norm before
    the update, so that `lr` is a relative step and weights cannot drift in scale (batch-norm hides their scale).
    dtype: what the Newton–Schulz iteration computes in. together: all filters in one batch; None: on anything but a CPU.
    """

    def __init__(self, filters: list[Tensor], lr: float, momentum: float, newton_schulz_steps: int,
                 dtype: torch.dtype = torch.bfloat16, together: bool | None = None):
        self.lr = lr
        self._filters, self._momentum, self._iterations, self._dtype = filters, momentum, newton_schulz_steps, dtype
        self._velocity = [torch.zeros_like(p) for p in filters]
        if together is None:
            together = bool(filters) and filters[0].device.type != "cpu"
        self._padded = Padded(filters) if together else None

    @property
    def tensors(self) -> list[Tensor]:
        return [*self._filters, *self._velocity]

    @torch.no_grad()
    def step(self, factor: float, progress: float | None = None) -> None:
        if not self._filters:
            return
        gradients = cast("list[Tensor]", [p.grad for p in self._filters])  # a backward pass has been: each has one
        torch._foreach_mul_(self._velocity, self._momentum)
        torch._foreach_add_(self._velocity, gradients)
        directions = torch._foreach_add(gradients, self._velocity, alpha=self._momentum)
        torch._foreach_mul_(self._filters, self._scales())
        torch._foreach_add_(self._filters, self._orthogonalised(directions), alpha=-self.lr * factor)
        for p in self._filters:
            p.grad = None

    def _scales(self) -> list[Tensor]:
        """What each filter bank is multiplied with, for rows of unit mean square norm."""
        norms = torch._foreach_norm(self._filters)
        if self._padded is None:
            return [len(p) ** 0.5 / norm for p, norm in zip(self._filters, norms, strict=True)]
        return self._padded.spread(self._padded.row_roots / torch.stack(norms))

    def _orthogonalised(self, directions: Sequence[Tensor]) -> list[Tensor]:
        """The direction of each filter bank, orthogonal, in the filter's own shape and type."""
        if self._padded is None:
            found = (orthogonalise(d.reshape(len(d), -1), self._iterations, self._dtype) for d in directions)
            return [update.reshape(p.shape).to(p.dtype) for p, update in zip(self._filters, found, strict=True)]
        batch = orthogonalise(self._padded.pack(directions), self._iterations, self._dtype)
        return self._padded.unpack(batch, self._filters[0].dtype)


class Padded:
    """Filter banks of several shapes as one batch of matrices, padded with zeros, in two launches; and back in two.

    A matrix that has more rows than columns lies on its side, so that the padded ones are no larger than they must be.
    Zeros stay zeros under Newton–Schulz, and change no singular value of the rest.
    """

    def __init__(self, filters: Sequence[Tensor]):
        self._like = [(p.shape, p.stride(), p.numel()) for p in filters]
        device, shapes = filters[0].device, [(len(p), p[0].numel()) for p in filters]
        rows, columns = max(map(min, shapes)), max(map(max, shapes))
        total = sum(p.numel() for p in filters)
        # Where each place of the batch comes from in the flat filters; the last of those is a zero.
        source = torch.full((len(filters), rows, columns), total, dtype=torch.int32)
        # Where each flat value lies in the batch, and which filter it belongs to.
        target, owner = torch.empty(total, dtype=torch.int32), torch.empty(total, dtype=torch.int32)
        places, start = torch.arange(source.numel(), dtype=torch.int32).view_as(source), 0
        for i, (p, (r, c)) in enumerate(zip(filters, shapes, strict=True)):
            own = torch.arange(start, start + p.numel(), dtype=torch.int32)
            matrix = own.as_strided(p.shape, p.stride(), 0).reshape(r, c)
            matrix = matrix.T if r > c else matrix
            source[i, :matrix.shape[0], :matrix.shape[1]] = matrix
            target[matrix.long()] = places[i, :matrix.shape[0], :matrix.shape[1]]
            owner[own.long()] = i
            start += p.numel()
        self._shape = source.shape
        self._source, self._target, self._owner = source.flatten().to(device), target.to(device), owner.to(device)
        self._zero = torch.zeros(1, dtype=filters[0].dtype, device=device)
        self.row_roots = torch.tensor([r**0.5 for r, _ in shapes], dtype=filters[0].dtype, device=device)

    def pack(self, filters: Sequence[Tensor]) -> Float[Tensor, "n r c"]:
        flat = [self._flat(t, stride) for t, (_, stride, _) in zip(filters, self._like, strict=True)]
        return torch.cat([*flat, self._zero]).index_select(0, self._source).view(self._shape)

    def unpack(self, batch: Float[Tensor, "n r c"], dtype: torch.dtype) -> list[Tensor]:
        return self._apart(batch.flatten().index_select(0, self._target).to(dtype))

    def spread(self, values: Float[Tensor, " n"]) -> list[Tensor]:
        """Each value over a whole filter bank: multiplying tensors of equal shapes is one launch for all of them."""
        return self._apart(values.index_select(0, self._owner))

    def _apart(self, flat: Tensor) -> list[Tensor]:
        found, start = [], 0
        for shape, stride, count in self._like:
            found.append(flat.as_strided(shape, stride, start))
            start += count
        return found

    @staticmethod
    def _flat(tensor: Tensor, stride: tuple[int, ...]) -> Tensor:
        """The values in the order in which those of the filter lie in memory."""
        if tensor.stride() != stride:
            tensor = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
        return tensor.as_strided((tensor.numel(),), (1,))


def orthogonalise(matrix: Float[Tensor, "*n r c"], iterations: int, dtype: torch.dtype = torch.bfloat16,
                  ) -> Float[Tensor, "*n r c"]:
    """Push the singular values of each `matrix` towards 1 by a quintic Newton–Schulz iteration, computed in `dtype`.

    The coefficients (3.4445, −4.7750, 2.0315) are Jordan's: they favour speed near zero over convergence to exactly
    1 (singular values end in about 0.7..1.2), which is all that an update needs.
    """
    # Gradients may be smaller than any half-precision number but for their scale.
    x = matrix if dtype == torch.float16 else matrix.to(dtype)
    x = (x / ((x.norm() if x.ndim == 2 else x.norm(dim=(-2, -1), keepdim=True)) + _TINY)).to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    if x.ndim == 3 or x.device.type != "cpu":
        x = _in_few_launches(x, iterations)
    else:
        x = _step_by_step(x, iterations) if dtype == torch.bfloat16 else _by_gram(x, iterations)
    return x.mT if tall else x


def _step_by_step(x: Float[Tensor, "r c"], iterations: int) -> Float[Tensor, "r c"]:
    """As it is written; every product and sum is rounded, as published runs had it."""
    for _ in range(iterations):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x


def _in_few_launches(x: Float[Tensor, "*n r c"], iterations: int) -> Float[Tensor, "*n r c"]:
    """Three launches an iteration for all matrices: sums go with the products."""
    batch = x if x.ndim == 3 else x[None]
    for _ in range(iterations):
        gram = batch @ batch.mT
        batch = torch.baddbmm(batch, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), batch, beta=_A)
    return batch.view_as(x)


def _by_gram(x: Float[Tensor, "r c"], iterations: int) -> Float[Tensor, "r c"]:
    """The polynomial of x·xᵀ first, which is small, and x once at the end: two of the products with x instead of 2·iterations.

    Every factor is a polynomial of the same symmetric matrix, so all of them commute: for q = b·g + c·g², x becomes (a + q)·x
    and g becomes (a + q)·g·(a + q).
    """
    gram, whole = x @ x.mT, None
    for i in range(iterations):
        q = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        if i + 1 < iterations:
            half = torch.addmm(gram, q, gram, beta=_A)
            gram = torch.addmm(half, half, q, beta=_A)
        if whole is None:
            whole = q
            whole.diagonal().add_(_A)
        else:
            whole = torch.addmm(whole, q, whole, beta=_A)
    return x if whole is None else whole @ x
