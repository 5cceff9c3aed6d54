"""Which backend a network convolves by on this machine's CPU.

The processor is asked before anything is compiled. A backend that a recipe names is taken wherever it works; "auto" takes one
only where the processor has what makes it quicker than torch's own convolutions in that precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from speedcore.kernels import amx, build, layers, winograd, winograd8, winograd_fp32
from speedcore.machine import processor

_MATRIX_UNIT = frozenset({"amx_tile", "amx_bf16", "avx512f", "avx512bw", "avx512vl", "avx512_bf16"})
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx512f", "avx512bw", "avx512vl"})

# Channels from which on a backend is quicker than a direct convolution with nothing fused around it. In bf16 Winograd's narrower
# layers are bound by memory: with 32 channels on 31×31 cells, 0.8 to 1.0 of the direct time, with 24 no gain.
_LEAST = {"amx": 16, "winograd8": 32, "winograd": 32}
_LEAST_FUSED = _LEAST_FP32 = 16


def available(precision: str) -> tuple[str, ...]:
    """The backends that are quicker than torch here, the quickest first; nothing is compiled to know it.

    precision: "fp32" or "bf16". Raises UserError where SPEEDCORE_ISA is no level.
    """
    has = processor.features()
    if build.hindrance():
        return ()
    if precision == "fp32":
        return ("winograd",) if {"avx2", "fma"} <= has or "asimd" in has else ()
    hardware = {"avx512_bf16", "amx_bf16", "bf16"} & has  # the last is ARM's
    return tuple(backend for backend, has_units in (("amx", _MATRIX_UNIT <= has), ("winograd8", _DOT_PRODUCTS <= has),
                                           ("winograd", bool(hardware))) if has_units)


def use(network: nn.Module, wanted: str, precision: str, device: torch.device) -> str:
    """Let `network` convolve by this backend and, if it is a RecordNet with GELU, take pooling, norm and GELU into it.

    wanted: "torch"; "amx" on a processor's matrix unit, torch's where it has none; "winograd"; "winograd8" for that in 8 bits,
    "winograd" where the processor is not quick at them or the precision is "fp32"; "auto": the first that is `available`.
    Returns which it is now: "torch" on anything but a CPU, or where nothing in the network takes another backend.
    """
    if device.type != "cpu" or wanted == "torch":
        return "torch"
    hindrance = build.hindrance()
    if hindrance:
        build.say(hindrance, f'convolutions = "{wanted}"', "convolutions are direct instead, which takes longer")
        return "torch"
    has = available(precision)
    if wanted == "auto":
        names = has
    elif wanted == "winograd8":
        names = tuple(name for name in ("winograd8", "winograd") if name in has or name == "winograd")
    else:
        names = (wanted,) if wanted == "winograd" or wanted in has else ()
    for name in names:
        convolve = _compiled(name, precision)
        if convolve is not None:
            fp32 = precision == "fp32"
            backend = layers.Backend(name, convolve, torch.float32 if fp32 else torch.bfloat16)
            return name if layers.change(network, backend, _LEAST_FP32 if fp32 else _LEAST[name], _LEAST_FUSED) else "torch"
    return "torch"


def _compiled(name: str, precision: str) -> Callable[..., Tensor] | None:
    """The convolution of that backend, compiled; None where it is not available."""
    if precision == "fp32":
        return winograd_fp32.convolve if winograd_fp32.library() else None
    if name == "amx":
        return amx.convolve if amx.is_available() else None
    if name == "winograd8":
        return winograd8.convolve if winograd8.is_available() else None
    return winograd.convolve if winograd.library() else None
