"""Random draws and directions that are the same on every machine."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32, Int64, UInt8


def cosines(count: int) -> Float32[np.ndarray, "count 2"]:
    """(cos, sin) of `count` equal angles. Rounded, so that no two machines' sines differ."""
    angles = [2 * math.pi * i / count for i in range(count)]
    return np.array([[round(f(a) * 2**20) / 2**20 for f in (math.cos, math.sin)] for a in angles], np.float32)


TURNS = cosines(1024)


def chroma(turn: Float32[np.ndarray, "*n 2"]) -> Float32[np.ndarray, "*n 3"]:
    """RGB offsets of a hue, of length 1 and sum 0: a hue changes no brightness."""
    u, v = turn[..., 0], turn[..., 1]
    return np.stack([u * np.float32(0.8125), v * np.float32(0.703125) - u * np.float32(0.40625),
                     -v * np.float32(0.703125) - u * np.float32(0.40625)], -1)


class Draws:
    """Uniform draws from one stream, whatever the order of the machine's bytes."""

    def __init__(self, *key: int):
        seed, stream, chunk = key
        self._bits = np.random.Philox(key=np.array([seed, stream << 32 | chunk], np.uint64))

    def bytes(self, *shape: int) -> UInt8[np.ndarray, "..."]:
        count = math.prod(shape)
        return self._bits.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count].reshape(shape)

    def below(self, limit: int, *shape: int) -> Int64[np.ndarray, "..."]:
        """Integers 0..limit-1; 32 bits against a small limit leave no bias that counts."""
        raw = self._bits.random_raw(math.prod(shape)) >> np.uint64(32)
        return (raw * np.uint64(limit) >> np.uint64(32)).astype(np.int64).reshape(shape)

    def between(self, low: float, high: float, *shape: int) -> Float32[np.ndarray, "..."]:
        """Multiples of 2⁻¹⁶ of the range."""
        steps = self.below(1 << 16, *shape).astype(np.float32)
        return np.float32(low) + steps * np.float32((high - low) / (1 << 16))
