"""A simulated GPU: tensors that are computed by the processor, and treated as if they lay on "cuda" or "mps".

    with simulated("cuda") as gpu:
        train(..., device="cuda")
    gpu.waits   # where the host waited for the device, by line of our code

What makes real devices fail or slow is what it knows:
- a tensor on the device and one on the host do not mix, but for scalars on the host;
- Apple's GPUs have no float64;
- a generator belongs to one device; numpy sees only the host;
- whatever needs a value from the device, or sends one there, waits for all that the device has to do.

Where a tensor lies is a property of its storage, so views, in-place work, autograd, `module.to` and `tensor.data = ...` need no
care. A function mode answers for what Python sees (`tensor.device`, `.to`, `device=`), a dispatch mode watches every operation,
those of the backward pass too.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from speedcore.techniques import augment

_ROOT = Path(__file__).parents[2]
_OURS = tuple(str(_ROOT / name) + "/" for name in ("speedcore", "explain", "reports", "benchmarks"))
_CPU = torch.device("cpu")

# Operations whose result has a size or a place on the host that only the device knows.
_WAITING = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero",
            "aten::_unique", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount",
            "aten::_linalg_eigh", "aten::linalg_eig", "aten::_linalg_svd", "aten::linalg_qr"}


@dataclass(frozen=True)
class Wait:
    """What was waited for, and the line of our code that made it ("" outside of it)."""

    what: str
    where: str


@dataclass
class Accelerator:
    """The simulated device and what was seen of it.

    count: how many there are; work is done on the first. woken: those whose generators were asked or seeded.
    """

    kind: str
    waits: list[Wait] = field(default_factory=list)
    woken: set[int] = field(default_factory=set)
    count: int = 2
    free_bytes: int = 8 << 30
    total_bytes: int = 16 << 30
    capability: tuple[int, int] = (8, 0)
    architectures: tuple[str, ...] = ("sm_75", "sm_80", "sm_86", "sm_90")

    def __post_init__(self) -> None:
        self.device = torch.device(self.kind, 0)
        self._generator = torch.Generator().manual_seed(0)
        self._there: dict[int, StorageWeakRef] = {}
        self._pinned: dict[int, StorageWeakRef] = {}

    # Where a tensor lies --------------------------------------------------------------------------------------------
    def holds(self, tensor: torch.Tensor) -> bool:
        return _found(self._there, tensor)

    def pinned(self, tensor: torch.Tensor) -> bool:
        return _found(self._pinned, tensor)

    def put(self, found) -> None:
        """Say of new tensors that they lie on the device."""
        for tensor in _tensors(found):
            if self.kind == "mps" and tensor.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"Cannot convert a MPS Tensor to {str(tensor.dtype).split('.')[1]} dtype as the MPS framework "
                                f"doesn't support it. {_line()}")
            _mark(self._there, tensor)

    def pin(self, tensor: torch.Tensor) -> None:
        _mark(self._pinned, tensor)

    # Its global generator ---------------------------------------------------------------------------------------------
    def state(self, device=None) -> torch.Tensor:
        self._wake(device)
        return self._generator.get_state()

    def set_state(self, state: torch.Tensor, device=None) -> None:
        self._wake(device)
        self._generator.set_state(state)

    def seed(self, seed: int) -> None:
        self.woken.add(0)
        self._generator.manual_seed(seed)

    def seed_all(self, seed: int) -> None:
        self.woken |= set(range(self.count))
        self._generator.manual_seed(seed)

    def _wake(self, device) -> None:
        self.woken.add(device if isinstance(device, int) else torch.device(device or self.device).index or 0)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While draws from the global generator are the device's."""
        host = torch.default_generator.get_state()
        torch.default_generator.set_state(self._generator.get_state())
        try:
            yield
        finally:
            self._generator.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(host)

    # What was waited for ----------------------------------------------------------------------------------------------
    def wait(self, what: str) -> None:
        self.waits.append(Wait(what, _line()))

    @contextmanager
    def watched(self) -> Iterator[list[Wait]]:
        """The waits of a block."""
        before, self.waits = self.waits, []
        try:
            yield self.waits
        finally:
            self.waits = [*before, *self.waits]


def _found(marks: dict[int, StorageWeakRef], tensor: torch.Tensor) -> bool:
    return _storage(tensor)._cdata in marks


def _mark(marks: dict[int, StorageWeakRef], tensor: torch.Tensor) -> None:
    # The weak reference keeps the address from being given to another storage.
    if len(marks) > 10_000:
        for key in [key for key, mark in marks.items() if mark.expired()]:
            del marks[key]
    storage = _storage(tensor)
    marks[storage._cdata] = StorageWeakRef(storage)


def _storage(tensor: torch.Tensor):
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _line() -> str:
    """The innermost line of our own code that is being run."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_OURS):
            return f"{Path(frame.f_code.co_filename).relative_to(_ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


class _Calls(TorchFunctionMode):
    """What Python sees of tensors, and what it asks for by name of a device."""

    def __init__(self, gpu: Accelerator, operations: _Operations):
        super().__init__()
        self._gpu, self._operations = gpu, operations
        is_kind = {"is_cuda": "cuda", "is_mps": "mps", "is_cpu": "cpu"}
        self._getters = {torch.Tensor.device.__get__: self._device_of}
        for name, kind in is_kind.items():
            self._getters[getattr(torch.Tensor, name).__get__] = lambda t, kind=kind: self._device_of(t).type == kind

    def _device_of(self, tensor: torch.Tensor) -> torch.device:
        return self._gpu.device if self._gpu.holds(tensor) else _CPU

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, gpu, name = dict(kwargs or {}), self._gpu, getattr(function, "__name__", "")
        if name == "__get__" and function in self._getters:
            return self._getters[function](args[0])
        special = getattr(self, f"_call_{name.strip('_')}", None)
        if special is not None and args and isinstance(args[0], torch.Tensor):
            return special(function, *args, **kwargs)
        asked = kwargs.get("device")
        if asked is not None:
            asked = _CPU if isinstance(asked, torch.Tensor) else torch.device(asked)
            kwargs["device"] = _CPU
        elif torch.get_default_device().type == gpu.kind:
            asked = gpu.device
        pinned = kwargs.pop("pin_memory", False) if "pin_memory" in kwargs else False
        generator = kwargs.get("generator")
        there = any(map(gpu.holds, _tensors((args, kwargs))))
        goes_there = asked.type == gpu.kind if asked is not None else there
        if generator is not None and (getattr(generator, "device", _CPU).type == gpu.kind) != goes_there:
            raise RuntimeError(f"Expected a '{gpu.kind if goes_there else 'cpu'}' device type for generator but found "
                               f"'{generator.device.type}'. {_line()}")
        with self._operations.within(goes_there, asked is not None and not goes_there):
            found = function(*args, **kwargs)
        if asked is not None and asked.type == gpu.kind:
            gpu.put(found)
            if name in ("tensor", "as_tensor", "asarray"):
                gpu.wait(f"{name}(device=...)")
        if pinned:
            gpu.pin(found)
        return found

    def _moved(self, tensor: torch.Tensor, device: torch.device, non_blocking: bool, changed: torch.Tensor,
               copied: bool) -> torch.Tensor:
        """`changed` (the tensor in its new type and layout) on `device`."""
        there, wanted = self._gpu.holds(tensor), device.type == self._gpu.kind
        if there == wanted:
            return changed
        if not copied or _storage(changed)._cdata == _storage(tensor)._cdata:
            changed = changed.clone()
        if wanted:
            self._gpu.put(changed)
        else:
            self._gpu._there.pop(_storage(changed)._cdata, None)
        if not wanted or not non_blocking:
            self._gpu.wait("copy to the device" if wanted else "copy to the host")
        return changed

    def _call_to(self, function, tensor, *args, **kwargs):
        if args and isinstance(args[0], torch.Tensor):  # to(other)
            args = (self._device_of(args[0]), args[0].dtype, *args[1:])
        device = kwargs.pop("device", None)
        if args and isinstance(args[0], str | torch.device):
            device, args = args[0], args[1:]
        elif args and args[0] is None:
            args = args[1:]
        device = self._device_of(tensor) if device is None else torch.device(device)
        if args and isinstance(args[0], torch.dtype):
            kwargs["dtype"], args = args[0], args[1:]
        non_blocking = kwargs.pop("non_blocking", False)
        if args:
            non_blocking, args = args[0], args[1:]
        if args:
            kwargs["copy"] = args[0]
        # What changes type on its way to or from Apple's GPU does so where the type exists.
        with self._operations.moving():
            kwargs = {key: value for key, value in kwargs.items() if value is not None}
            changed = function(tensor, **kwargs) if kwargs else tensor
            moved = self._moved(tensor, device, non_blocking, changed, copied=changed is not tensor)
        if moved is changed and self._gpu.holds(tensor):
            self._gpu.put(moved)
        return moved

    def _call_cpu(self, function, tensor, **kwargs):
        return self._call_to(torch.Tensor.to, tensor, _CPU)

    def _call_cuda(self, function, tensor, device=None, non_blocking=False, **kwargs):
        return self._call_to(torch.Tensor.to, tensor, torch.device("cuda"), non_blocking=non_blocking)

    def _call_tolist(self, function, tensor):
        if self._gpu.holds(tensor):
            self._gpu.wait("tolist")
        return function(tensor)

    def _call_numpy(self, function, tensor, *args, **kwargs):
        if self._gpu.holds(tensor):
            raise TypeError(f"can't convert {self._gpu.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                            f"to host memory first. {_line()}")
        return function(tensor, *args, **kwargs)

    _call_array = _call_numpy

    def _call_deepcopy(self, function, tensor, memo):
        with self._operations.moving():
            found = function(tensor, memo)
        if self._gpu.holds(tensor):
            self._gpu.put(found)
        return found

    def _call_pin_memory(self, function, tensor, *args):
        found = tensor.clone()
        self._gpu.pin(found)
        return found

    def _call_is_pinned(self, function, tensor, *args):
        return self._gpu.pinned(tensor)


class _Operations(TorchDispatchMode):
    """Every operation, of the backward pass too: refuses what a real device refuses, and sees what waits."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled, and importing the compiler takes seconds

    def __init__(self, gpu: Accelerator):
        super().__init__()
        self._gpu = gpu
        self._local = threading.local()

    @contextmanager
    def within(self, there: bool, elsewhere: bool = False) -> Iterator[None]:
        """While a call runs whose new tensors lie on the device, or do not; elsewhere: even if they are like one that does."""
        before = getattr(self._local, "there", False), getattr(self._local, "elsewhere", False)
        self._local.there, self._local.elsewhere = there, elsewhere
        try:
            yield
        finally:
            self._local.there, self._local.elsewhere = before

    @contextmanager
    def moving(self) -> Iterator[None]:
        """While a tensor is on its way, and lies nowhere."""
        before = getattr(self._local, "moving", False)
        self._local.moving = True
        try:
            yield
        finally:
            self._local.moving = before

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs, gpu = kwargs or {}, self._gpu
        if getattr(self._local, "moving", False):
            return operation(*args, **kwargs)
        given, name = _tensors((args, kwargs)), operation._schema.name
        there = [gpu.holds(tensor) for tensor in given]
        if any(there):
            self._check(name, args, kwargs, given, there)
        like = name.endswith("_like") or name.startswith("aten::new_")
        if like and getattr(self._local, "elsewhere", False):
            return operation(*args, **kwargs)
        goes_there = any(there) or (not given and getattr(self._local, "there", False))
        drawn = torch.Tag.nondeterministic_seeded in operation.tags and kwargs.get("generator") is None
        with gpu.drawing() if goes_there and drawn else nullcontext():
            found = operation(*args, **kwargs)
        # A new tensor comes to lie where it was made from; one that was made from nothing, where the call is at home.
        if name == "aten::copy_":
            return found
        if goes_there:
            gpu.put(found)
        return found

    def _check(self, name: str, args, kwargs, given: list[torch.Tensor], there: list[bool]) -> None:
        gpu, strangers = self._gpu, [t for t, on_it in zip(given, there, strict=True) if not on_it and t.ndim]
        if name == "aten::copy_":
            non_blocking = (args[2] if len(args) > 2 else kwargs.get("non_blocking", False)) and there[0]
            if there[0] != there[1] and not non_blocking:
                gpu.wait("copy_ between host and device")
            return
        if name in ("aten::index", "aten::index_put_", "aten::index_put", "aten::_index_put_impl_"):
            indices = [t for t in args[1] if t is not None]
            if any(not gpu.holds(t) for t in indices) and gpu.holds(args[0]):
                gpu.wait("an index from the host")
                strangers = [t for t in strangers if not any(t is index for index in indices)]
            filled = name != "aten::index" and len(indices) == 1 and args[2].numel() == 1
            if any(t.dtype in (torch.bool, torch.uint8) for t in indices) and not filled:
                gpu.wait("a mask as an index")
        if strangers:
            raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, {gpu.device} and "
                               f"cpu! ({name}: {', '.join(str(tuple(t.shape)) for t in strangers)} on the cpu) {_line()}")
        if name in _WAITING or (name == "aten::repeat_interleave" and kwargs.get("output_size") is None):
            gpu.wait(name.removeprefix("aten::"))


class _Generator(torch.Generator):
    """A generator that says it is the device's."""

    def __new__(cls, device="cpu"):
        return super().__new__(cls, _CPU)

    def __init__(self, device="cpu"):
        self._device = torch.device(device)
        if self._device.type != "cpu" and self._device.index is None:
            self._device = torch.device(self._device.type, 0)

    @property
    def device(self) -> torch.device:
        return self._device

    def manual_seed(self, seed: int) -> _Generator:
        super().manual_seed(seed)
        return self


@contextmanager
def simulated(kind: str, **fields) -> Iterator[Accelerator]:
    """A machine with devices of that kind ("cuda" or "mps") while the block runs.

    torch's own optimisers import its compiler on first use, which looks at what is pretended here: import it before.
    """
    gpu = Accelerator(kind, **fields)
    operations = _Operations(gpu)
    calls = _Calls(gpu, operations)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as modes:
        # What is kept by device was made on another one of the same name.
        augment._scale_and_shift.cache_clear()
        modes.callback(augment._scale_and_shift.cache_clear)
        _pretend(patch, gpu)
        run = threading.Thread.run

        def run_with_modes(self) -> None:
            with operations, _Calls(gpu, operations):
                run(self)

        patch.setattr(threading.Thread, "run", run_with_modes)
        modes.enter_context(operations)
        modes.enter_context(calls)
        yield gpu


def _pretend(patch: pytest.MonkeyPatch, gpu: Accelerator) -> None:
    """What torch says of its devices."""
    cuda = gpu.kind == "cuda"

    def synchronised(*args, **kwargs) -> None:
        gpu.wait("synchronize")

    properties = types.SimpleNamespace(name="Simulated", total_memory=gpu.total_bytes, major=gpu.capability[0],
                                       minor=gpu.capability[1], multi_processor_count=1)
    answers = {
        "is_available": cuda, "device_count": gpu.count if cuda else 0, "current_device": 0, "get_device_name": "Simulated",
        "get_device_capability": gpu.capability, "get_arch_list": list(gpu.architectures),
        "get_device_properties": properties, "is_bf16_supported": gpu.capability >= (8, 0), "empty_cache": None,
        "reset_peak_memory_stats": None, "max_memory_allocated": 1 << 20, "memory_allocated": 1 << 20,
        "set_device": None, "is_current_stream_capturing": False,
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
    patch.setattr(torch.cuda, "mem_get_info", lambda *args, **kwargs: (gpu.free_bytes, gpu.total_bytes))
    patch.setattr(torch.cuda, "synchronize", synchronised)
    for module in (torch.cuda, torch.mps):
        patch.setattr(module, "get_rng_state", gpu.state)
        patch.setattr(module, "set_rng_state", gpu.set_state)
        patch.setattr(module, "manual_seed", gpu.seed)
    patch.setattr(torch.cuda, "manual_seed_all", gpu.seed_all)
    available = functools.cache(lambda: not cuda)  # as it is in torch: what it wraps is looked at
    patch.setattr(torch.backends.mps, "is_available", available)
    patch.setattr(torch.cuda, "device", lambda *args: nullcontext())
    for name, answer in {"synchronize": synchronised, "current_allocated_memory": lambda: 1 << 20,
                         "driver_allocated_memory": lambda: 1 << 20, "empty_cache": lambda: None,
                         "recommended_max_memory": lambda: gpu.total_bytes, "device_count": lambda: 1}.items():
        patch.setattr(torch.mps, name, answer)
    for name, answer in {"is_available": True, "current_accelerator": gpu.device, "device_count": 1,
                         "current_device_index": 0, "set_device_index": None,
                         "current_stream": types.SimpleNamespace(is_capturing=lambda: False)}.items():
        patch.setattr(torch.accelerator, name, lambda *args, answer=answer, **kwargs: answer)
    patch.setattr(torch, "Generator", _Generator)
    autocast = torch.autocast
    patch.setattr(torch, "autocast", lambda kind, *args, **kwargs: autocast(
        "cpu" if torch.device(kind).type == gpu.kind else kind, *args, **kwargs))


def lines(waits: Iterable[Wait]) -> list[str]:
    """"what (file:line)", for messages."""
    return [f"{wait.what} ({wait.where})" for wait in waits]
