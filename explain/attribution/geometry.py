"""Where the cells of a map lie in the image, and maps upsampled to the image's pixels.

A map is usually stretched over its image, as if its cells tiled it. They need not: a network that pads 28×28 images to
32×32 has cells outside the image, and 7 cells pooled to 3 leave the last out, so that stretching 3×3 cells over 28
pixels puts the rightmost 3 pixels off. Strides and padding say where the cells are; that is used where it is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from explain.attribution.layers import find_layers
from explain.models import forward, undisturbed, unwrapped


@dataclass(frozen=True)
class Extent:
    """The rectangle that the cells of a map tile, in pixels from the image's top left corner. May exceed the image.

    exact: derived from the network's strides and padding; False where the map is simply stretched over the image.
    """

    top: float
    left: float
    bottom: float
    right: float
    exact: bool = True

    @classmethod
    def stretched(cls, size: tuple[int, int]) -> Extent:
        """The whole of an image of `size` (height, width)."""
        return cls(0.0, 0.0, float(size[0]), float(size[1]), exact=False)


@dataclass
class _Axis:
    """One axis while it passes through the network: cells, pixels between two centres, centre of the first."""

    cells: int
    step: float
    first: float

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> None:
        reach = dilation * (kernel - 1)
        self.first += (reach / 2 - padding) * self.step
        self.step *= stride
        self.cells = (self.cells + 2 * padding - reach - 1) // stride + 1


_SLIDING = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def extents(model: nn.Module, image: Float[Tensor, "1 c height width"], layers: list[str]) -> dict[str, Extent]:
    """Extent of each layer's map, by following every convolution and pooling in the order of their calls.

    A model that pads its images first says so in `padding` (left, right, top, bottom), as `speedcore`'s do. Where the
    sizes on the way are not those that the strides explain (parallel strided branches, resizing), the layer's map and
    all after it count as stretched over the image. Raises ExplainError as `find_layers` does.
    """
    model = unwrapped(model)
    grids = {name: layer.grid for name, layer in find_layers(model, image, layers).items()}
    height, width = image.shape[2:]
    left, right, top, bottom = getattr(model, "padding", (0, 0, 0, 0))
    rows, columns = _Axis(height + top + bottom, 1.0, 0.5 - top), _Axis(width + left + right, 1.0, 0.5 - left)
    certain = True
    found: dict[str, Extent] = {}

    def slide(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal certain
        plain = not getattr(module, "ceil_mode", False) and not isinstance(module.padding, str)
        if not plain or inputs[0].shape[2:] != (rows.cells, columns.cells):
            certain = False
            return
        for i, axis in enumerate((rows, columns)):
            axis.through(*(_one(getattr(module, name, 1), i) for name in ("kernel_size", "stride", "padding", "dilation")))

    def reach(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found[name] = Extent.stretched((height, width))
            if certain and grids[name].shape(output.shape)[1:] == (rows.cells, columns.cells):
                y, x = rows.first - rows.step / 2, columns.first - columns.step / 2
                found[name] = Extent(y, x, y + rows.cells * rows.step, x + columns.cells * columns.step)
        return hook

    with undisturbed(model) as device, torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, _SLIDING):
                hooks.callback(module.register_forward_hook(slide).remove)
            if name in layers:
                hooks.callback(module.register_forward_hook(reach(name)).remove)
        forward(model, image.to(device))
    return found


def _one(value: int | tuple[int, int], axis: int) -> int:
    return value[axis] if isinstance(value, tuple) else value


def size_of(maps: Float[Tensor, "*n h w"]) -> tuple[int, int]:
    """(height, width) of images, maps or masks."""
    height, width = maps.shape[-2:]
    return height, width


def weights(cells: int, pixels: int, start: float, end: float) -> Float[Tensor, "pixels cells"]:
    """Share of each cell in each pixel along one axis, by linear interpolation between cell centres; rows sum to 1.

    The cells tile start..end. Pixels beyond the outermost centres take the outermost cell: for 0..pixels this is
    torch's bilinear interpolation without aligned corners.
    """
    centres = torch.arange(pixels, dtype=torch.float64) + 0.5
    at = ((centres - start) * cells / (end - start) - 0.5).clamp(0, cells - 1)
    low = at.floor().clamp(max=max(0, cells - 2)).long()
    table = torch.zeros(pixels, cells, dtype=torch.float64)
    rows = torch.arange(pixels)
    table[rows, low] = 1 - (at - low)
    if cells > 1:
        table[rows, low + 1] = at - low
    return table


def tables(grid: tuple[int, int], size: tuple[int, int], extent: Extent) -> tuple[Tensor, Tensor]:
    """`weights` of both axes, (H, h) and (W, w): a map M upsampled to the image is rows · M · columnsᵀ."""
    return (weights(grid[0], size[0], extent.top, extent.bottom), weights(grid[1], size[1], extent.left, extent.right))


def upsample(maps: Float[Tensor, "*n h w"], size: tuple[int, int], extent: Extent | None = None) -> Float[Tensor, "*n H W"]:
    """Maps upsampled to images of `size` (height, width) by bilinear interpolation, where they lie."""
    rows, columns = tables(size_of(maps), size, extent or Extent.stretched(size))
    return (rows @ maps.cpu().double() @ columns.T).to(maps)
