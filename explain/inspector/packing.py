"""Small arrays as text for a page: predicted from their neighbours, deflated, in base64. `templates/unpack.js` undoes it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Shaped, UInt8, UInt16

LEVELS = 100   # of a map's positive part: steps of 2 % of the scale near its limit, finer below
REACH = 4.0    # what a map holds above this many limits is cut off; all above one limit has one colour anyway
NONE = 65535   # a measure without value


def packed(arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> tuple[dict[str, list[int]], str]:
    """(name -> first byte and number of bytes, the text). Little-endian."""
    parts, places, start = [], {}, 0
    for name, array in arrays.items():
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        places[name] = [start, len(raw)]
        parts.append(raw)
        start += len(raw)
    return places, base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()


def predicted(images: UInt8[np.ndarray, "n c H W"]) -> UInt8[np.ndarray, "n c H W"]:
    """What deflates well: red and blue less green, then each pixel less its left and upper neighbours, modulo 256."""
    left = images.copy()
    if images.shape[1] == 3:
        left[:, 0] -= images[:, 1]
        left[:, 2] -= images[:, 1]
    for axis in (-1, -2):
        left = np.diff(left, axis=axis, prepend=np.uint8(0))
    return left


def levels(maps: Float[np.ndarray, "... h w"], limit: float) -> UInt8[np.ndarray, "... h w"]:
    """The positive part in `LEVELS` steps: value = REACH · limit · (level ÷ LEVELS)².

    No positive value becomes 0, so a map is empty exactly if all is 0. A map that is not finite throughout is all 0.
    """
    whole = np.isfinite(maps).all((-2, -1), keepdims=True)
    share = np.sqrt(np.clip(np.where(whole, maps, 0), 0, REACH * limit) / (REACH * limit))
    found = np.rint(LEVELS * share)
    return np.where((share > 0) & (found == 0), 1, found).astype(np.uint8)


def steps(values: Float[np.ndarray, "..."], low: float, high: float) -> UInt16[np.ndarray, "..."]:
    """Values of a range in 65,535 steps; NaN becomes `NONE`."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.where(np.isnan(values), NONE, np.rint(np.nan_to_num(share) * (NONE - 1))).astype(np.uint16)
