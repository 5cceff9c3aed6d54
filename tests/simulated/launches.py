"""How many kernels a GPU would be asked to run: what bounds a step of a small network there."""

from __future__ import annotations

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.simulated.accelerator import Accelerator

# They move no data: views that torch does not call so, and memory that nothing is written to.
_NOTHING = {"aten::detach", "aten::_unsafe_view", "aten::alias", "aten::empty", "aten::empty_like", "aten::empty_strided",
            "aten::new_empty", "aten::new_empty_strided", "aten::lift_fresh", "aten::_reshape_alias", "aten::_local_scalar_dense"}


class Launches(TorchDispatchMode):
    """Counts the operations of a block that launch kernels (gpu: on that device), by name; views launch none.

    A convolution's backward pass is one kernel for each gradient wanted of it. A list operation (`_foreach_`) is one where all
    its lists agree in type, shape and layout, tensor by tensor, and one a tensor where they do not, as in torch.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and importing the compiler takes seconds

    def __init__(self, gpu: Accelerator | None = None):
        super().__init__()
        self._gpu = gpu
        self.seen: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return self.seen.total()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        name = operation._schema.name
        tensors = [t for t in tree_leaves((args, kwargs, found)) if isinstance(t, torch.Tensor)]
        if self._gpu is not None and not any(map(self._gpu.holds, tensors)):
            return found  # the host's own work
        if not (operation.is_view or name in _NOTHING):
            self.seen[name.removeprefix("aten::")] += self._kernels(name, args)
        return found

    @staticmethod
    def _kernels(name: str, args) -> int:
        if name == "aten::convolution_backward":
            return sum(args[-1])
        if name.startswith("aten::_foreach_"):
            lists = [a for a in args if isinstance(a, list | tuple) and a and isinstance(a[0], torch.Tensor)]
            alike = all(len({(t.shape, t.stride(), t.dtype) for t in row}) == 1 for row in zip(*lists, strict=True))
            same_type = len({t.dtype for t in tree_leaves(lists)}) == 1
            return 1 if alike and same_type else len(lists[0])
        return 1
