"""Compiled loops for CPUs: convolutions, batch-norm and GELU. `use` lets a network take them; README.md says which there are."""

from speedcore.kernels.select import available, use

__all__ = ["available", "use"]
