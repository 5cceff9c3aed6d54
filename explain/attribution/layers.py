"""The layers of a model: which can be explained, and where rows and columns of cells lie in what they return.

A convolution returns (N, channels, rows, columns). Others put their channels last (Swin, parts of ConvNeXt), and a shape does
not say which of its axes are which. So a layer's grid is derived: that of a convolution, normalisation or pooling is known; for
any other layer the model is shown a taller image and a wider one, and rows are the axis that grows with the one, columns that
which grows with the other. Where the model takes no image of another size, a layer that returns the very shape that the last
convolution, normalisation or pooling returned is read like it. What none of these settles is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from explain.models import ExplainError, check_images, forward, undisturbed, unwrapped, usable

_CHANNELS_FIRST = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.MaxPool2d, nn.AvgPool2d,
                   nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)
_OTHERS = "choose a layer that explain.candidate_layers lists, or a method that explains the image, such as saliency"


@dataclass(frozen=True)
class Grid:
    """The axes of a layer's output (N, ., ., .) that are channels, rows and columns. All reading of layers goes through here."""

    channels: int = 1
    rows: int = 2
    columns: int = 3

    def cells(self, output: Float[Tensor, "n a b c"]) -> Float[Tensor, "n channels h w"]:
        return output.permute(0, self.channels, self.rows, self.columns)

    def output(self, cells: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n a b c"]:
        """What `cells` was made of."""
        axes = (0, self.channels, self.rows, self.columns)
        return cells.permute(*map(axes.index, range(4)))

    def shape(self, output: Sequence[int]) -> tuple[int, int, int]:
        """(channels, h, w) of an output of that shape."""
        return output[self.channels], output[self.rows], output[self.columns]


@dataclass(frozen=True)
class Layer:
    """A module that is explained, and how its output is read."""

    module: nn.Module
    grid: Grid


@dataclass(frozen=True)
class _Call:
    """What a module returned. shape: None of what is no tensor. known: whether it has its channels first by definition.
    like_known: whether the last such module returned that very shape, and the channels could be nowhere else in it."""

    shape: tuple[int, ...] | None
    kind: str
    known: bool
    like_known: bool

    @property
    def sides(self) -> tuple[int, ...]:
        return self.shape or ()

    @property
    def is_image_like(self) -> bool:
        return len(self.sides) == 4 and self.sides[0] == 1


def find_layers(model: nn.Module, images: Float[Tensor, "n c height width"], names: Sequence[str] | None) -> dict[str, Layer]:
    """The layers asked for, or those that the model names in `explain_layers`: path -> layer.

    Raises ExplainError for one that is not there, is not used once in a pass, or has no grid of more than one cell that could be
    read with certainty; if there is nothing to take, it lists the candidates.
    """
    known = dict(model.named_modules())
    wanted = _names(model, images, names, known)
    first = usable(images[:1])
    calls = _calls(model, first, wanted)
    for name in wanted:
        _check_call(name, calls.get(name, []), len(images))
    found = _grids(model, first, {name: made for name, (made,) in calls.items()})
    layers = {}
    for name in wanted:
        grid, call = found[name], calls[name][0]
        if isinstance(grid, str):
            raise ExplainError(f"which axes of layer '{name}', {_of_all(call, len(images))}, are rows and columns cannot be "
                               f"told: {grid}; {_OTHERS}.")
        if not _is_map(grid.shape(call.sides)):
            raise _no_map(name, call, len(images))
        layers[name] = Layer(known[name], grid)
    return layers


def candidate_layers(model: nn.Module, images: Float[Tensor, "n c height width"]) -> dict[str, tuple[int, int, int]]:
    """Layers that can be explained, in order of their calls: name -> (channels, h, w).

    These are the modules, each used once in a pass, that return one image-like tensor of more than one cell: (N, channels, h, w),
    or with its channels elsewhere if it can be told where. Cost: three passes of one image, at most.
    """
    check_images(images)
    model = unwrapped(model)
    first = usable(images[:1])
    calls = _calls(model, first, [name for name, _ in model.named_modules() if name])
    once = {name: made[0] for name, made in calls.items() if len(made) == 1 and made[0].is_image_like}
    shapes = {name: grid.shape(once[name].sides) for name, grid in _grids(model, first, once).items() if isinstance(grid, Grid)}
    return {name: shape for name, shape in shapes.items() if _is_map(shape)}


def named_layers(model: nn.Module) -> dict[str, str]:
    """The layers worth explaining that a model names itself, as networks of `speedcore` do: name -> path of the module."""
    found: Any = getattr(model, "explain_layers", {})
    return dict(found)


def _names(model: nn.Module, images: Tensor, names: Sequence[str] | None, known: dict[str, nn.Module]) -> list[str]:
    if isinstance(names, str):
        names = [names]
    wanted = list(dict.fromkeys(named_layers(model).values() if names is None else names))
    wrong = [name for name in wanted if name not in known or not name]
    if wanted and not wrong:
        return wanted
    listed = ", ".join(f"{name} ({h}×{w})" for name, (_, h, w) in candidate_layers(model, images).items())
    problem = f"there is no layer '{wrong[0]}'" if wrong else "name the layers to explain"
    raise ExplainError(f"{problem}; this model has: {listed or 'no layer with a spatial map'}.")


def _check_call(name: str, made: list[_Call], n: int) -> None:
    if not made:
        raise ExplainError(f"layer '{name}' takes no part in the forward pass; choose one that explain.candidate_layers lists.")
    if len(made) > 1:
        raise ExplainError(f"layer '{name}' is used more than once in a pass; choose a layer used once: "
                           f"explain.candidate_layers lists them.")
    if not made[0].is_image_like:
        raise _no_map(name, made[0], n)


def _no_map(name: str, call: _Call, n: int) -> ExplainError:
    what = f"a {call.kind}" if call.shape is None else f"of shape {_of_all(call, n)}"
    return ExplainError(f"layer '{name}' has no spatial map: its output is {what}, not (N, channels, h, w) with more than one "
                        f"cell; {_OTHERS}.")


def _of_all(call: _Call, n: int) -> tuple[int, ...]:
    """The shape for all `n` images, of which one was asked about."""
    return (n, *call.sides[1:]) if call.sides[:1] == (1,) else call.sides


def _is_map(shape: tuple[int, int, int]) -> bool:
    return shape[1] * shape[2] > 1


def _calls(model: nn.Module, image: Tensor, names: Sequence[str], patient: bool = False) -> dict[str, list[_Call]]:
    """What each of the modules returns for one image, call by call. patient: an image that the model refuses gets as far as it
    gets, whatever the model complains of."""
    calls: dict[str, list[_Call]] = {}
    wanted = set(names)
    last: tuple[int, ...] | None = None

    def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            nonlocal last
            shape = tuple(output.shape) if isinstance(output, Tensor) else None
            if known := isinstance(module, _CHANNELS_FIRST):
                last = shape
            if name in wanted:
                alike = shape is not None and shape == last and len(set(shape[1:])) > 1
                calls.setdefault(name, []).append(_Call(shape, type(output).__name__, known, alike))
        return hook

    with undisturbed(model) as device, torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if name in wanted or isinstance(module, _CHANNELS_FIRST):
                hooks.callback(module.register_forward_hook(watch(name)).remove)
        try:
            forward(model, image.to(device))
        except Exception:
            if not patient:
                raise
    return calls


def _grids(model: nn.Module, image: Tensor, calls: dict[str, _Call]) -> dict[str, Grid | str]:
    """The grid of each image-like output, or why it cannot be told."""
    asked = [name for name, call in calls.items() if not call.known]
    taller, wider = (_calls(model, torch.cat([image, image], axis), asked, patient=True) if asked else {} for axis in (2, 3))
    return {name: Grid() if call.known else _grown(call, taller.get(name, []), wider.get(name, []))
            for name, call in calls.items()}


def _grown(call: _Call, taller: list[_Call], wider: list[_Call]) -> Grid | str:
    if len(taller) != 1 or len(wider) != 1 or not (taller[0].is_image_like and wider[0].is_image_like):
        return Grid() if call.like_known else ("no convolution returned that shape, and the model takes no image of another "
                                               "size, which would tell")
    rows, columns = ([axis for axis in range(4) if other.sides[axis] != call.sides[axis]] for other in (taller[0], wider[0]))
    if call.like_known and not rows and not columns:  # after a pooling to one size
        return Grid()
    if len(rows) != 1 or len(columns) != 1 or rows == columns:
        return "no axis of it follows the image's height alone and no other its width"
    (channels,) = {1, 2, 3} - {rows[0], columns[0]}
    return Grid(channels, rows[0], columns[0])
