"""The ten kinds of shape as sets of points: each its own mirror image, each about two units wide."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32

Points = Float32[np.ndarray, "..."]
Inside = Bool[np.ndarray, "..."]

# Unit vectors to the corners of a pentagon, the first upwards.
_PENTAGON = np.array([[0, 1], [0.9510565, 0.3090170], [0.5877853, -0.8090170], [-0.5877853, -0.8090170],
                      [-0.9510565, 0.3090170]], np.float32)
_HALF_ROOT_3 = np.float32(0.8660254)


def _arrow(u: Points, v: Points) -> Inside:
    head = (v <= 1) & (v >= 0.1) & (np.abs(u) <= np.float32(0.95) * (1 - v))
    return head | (np.abs(u) <= 0.28) & (v < 0.1) & (v >= -1)


def _crescent(u: Points, v: Points) -> Inside:
    bite = v - np.float32(0.5)
    return (u * u + v * v <= 1) & (u * u + bite * bite > 0.64)


def _cross(u: Points, v: Points) -> Inside:
    u, v = np.abs(u), np.abs(v)
    return (np.minimum(u, v) <= 0.28) & (np.maximum(u, v) <= 0.95)


def _disc(u: Points, v: Points) -> Inside:
    return u * u + v * v <= 0.7


def _half_moon(u: Points, v: Points) -> Inside:
    return (u * u + (v + np.float32(0.35)) * (v + np.float32(0.35)) <= 0.9) & (v >= -0.35)


def _heart(u: Points, v: Points) -> Inside:
    u, v = u * np.float32(1.15), v * np.float32(1.15)
    s = u * u + v * v - 1
    return s * s * s <= u * u * v * v * v


def _ring(u: Points, v: Points) -> Inside:
    s = u * u + v * v
    return (s <= 0.9) & (s >= 0.25)


def _square(u: Points, v: Points) -> Inside:
    return np.maximum(np.abs(u), np.abs(v)) <= 0.74


def _star(u: Points, v: Points) -> Inside:
    # A point lies in a pentagram if it is on the inner side of at least four of its five lines.
    return sum((u * x + v * y >= -0.38).astype(np.int8) for x, y in _PENTAGON) >= 4


def _triangle(u: Points, v: Points) -> Inside:
    return (v >= -0.5) & (np.abs(u) * _HALF_ROOT_3 + v * np.float32(0.5) <= 0.5)


_KINDS: dict[str, Callable[[Points, Points], Inside]] = {
    "arrow": _arrow, "crescent": _crescent, "cross": _cross, "disc": _disc, "half-moon": _half_moon, "heart": _heart,
    "ring": _ring, "square": _square, "star": _star, "triangle": _triangle,
}
CLASSES = tuple(_KINDS)


def inside(label: int, u: Points, v: Points) -> Inside:
    """Do the points (u, v), in the shape's own frame, lie in a shape of class `label`?"""
    return _KINDS[CLASSES[label]](u, v)
