"""Pickles that may hold arrays and nothing else.

A pickle is a program: opening one runs whatever it names. MNIST's and CIFAR-10's published copies are pickles, so
their bytes are verified first, and then this reader admits what an array is made of and refuses every other name.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from speedcore.errors import DataError


def _empty_array(kind: type, shape: tuple[int, ...], code: str | bytes) -> np.ndarray:
    # A pickled array begins as an empty one; its state follows. numpy's own function would build any subclass.
    if kind is not np.ndarray:
        raise pickle.UnpicklingError(f"an array of type {kind!r}")
    return np.ndarray((0,), np.int8)


def _latin1(text: str, codec: str) -> bytes:
    # How Python 3 writes bytes in protocol 2. The codec is pinned: others decompress or transform.
    if codec != "latin1":
        raise pickle.UnpicklingError(f"codec {codec!r}")
    return text.encode("latin1")


ADMITTED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("_codecs", "encode"): _latin1,
}


class ArrayUnpickler(pickle.Unpickler):
    """Admits numbers, text, lists, tuples, dictionaries and numpy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is not part of an array") from None


def load_arrays(raw: bytes, where: object) -> Any:
    """The object pickled in `raw`; `where` names it in the DataError that a refused or damaged pickle raises."""
    try:
        return ArrayUnpickler(io.BytesIO(raw), encoding="latin1").load()
    except Exception as error:  # Damaged pickles raise nearly anything: IndexError, TypeError, MemoryError, ...
        raise DataError(f"{where} is not a pickle of arrays: {error}. Nothing in it was run. Get the file again from "
                        "where it was published.") from error
