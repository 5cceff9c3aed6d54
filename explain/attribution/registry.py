"""What a method of making maps says of itself, and the table of all that there are.

A method is a function with `@method(...)` above it, in a module that `explain.attribution.methods` imports, or what an installed
package names as an entry point of the group `explain.methods` (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from speedcore import plugins
from speedcore.errors import notice

Make = Callable[..., dict[str, Tensor]]


@dataclass(frozen=True)
class Method:
    """One way of making maps.

    layers: whether it explains layers, by name; else the image itself, under the key "image". grid: the resolution of its
    maps. forward, backward: passes an image and target, as far as the network is run (a layer method goes back to the
    lowest layer only), on images of 32×32. shared: whether more targets share the forward passes.
    make: (model, layers, images, targets (N, T), images at once) -> name -> signed fp32 maps (N, T, h, w) of a batch.
    """

    name: str
    title: str
    layers: bool
    grid: Literal["layer", "image"]
    forward: int
    backward: int
    shared: bool
    definition: str
    criticism: str
    source: str
    make: Make


METHODS: dict[str, Method] = {}


def method(name: str, title: str, *, layers: bool = False, grid: Literal["layer", "image"] = "image", forward: int, backward: int,
           shared: bool = False, definition: str, criticism: str, source: str) -> Callable[[Make], Make]:
    """Put the function below into `METHODS`, in the order in which they are defined. See `Method` for what is said of it."""
    def register(make: Make) -> Make:
        if name in METHODS:
            raise ValueError(f"there are two methods named '{name}'")
        if forward < 1:
            raise ValueError(f"method '{name}': forward is at least 1: it sets how many images go at once")
        METHODS[name] = Method(name, title, layers, grid, forward, backward, shared, definition, criticism, source, make)
        return make
    return register


def add_installed() -> None:
    """Take in what installed packages offer: they are imported, and `@method` does the rest. One that does nothing is told."""
    for name in plugins.loaded(plugins.METHODS):
        if name not in METHODS:
            notice(f"entry point '{name}' of {plugins.METHODS} is left out: it defines no @method of that name.")
