"""A network of a user's own, made and looked at before anything is trained with it.

What is asked of `factory(channels, (height, width), classes, **arguments)`: an nn.Module that takes normalised images
(N, C, H, W) and returns scores (N, classes), every trainable parameter of which takes part in them, and whose values a file can
hold by name. It draws its weights from torch's global generator, which is seeded, and so may its dropout. What it may have:
`explain_layers`, {"middle": path, "last": path}, the layers worth explaining (else two of its convolutions are taken), and
`prepare(batches)`, called once before training with batches of normalised training images.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from speedcore.errors import PluginError, UserError
from speedcore.recipe import CustomNetworkConfig


def build(spec: CustomNetworkConfig, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """The network that the user's code makes. Raises PluginError for one that cannot be trained, kept or found."""
    factory = spec.load()
    with _told(spec, f"could not be made for images of {channels}×{size[0]}×{size[1]}"):
        network = factory(channels, tuple(size), classes, **spec.arguments)
    if not isinstance(network, nn.Module):
        raise _wrong(spec, f"returned {type(network).__name__} instead of an nn.Module")
    if not any(p.requires_grad for p in network.parameters()):
        raise _wrong(spec, "has no parameters to train")
    _check_values(spec, network)
    grids = _try(spec, network, channels, size, classes)
    if not hasattr(network, "explain_layers"):
        network.explain_layers = _layers(grids)  # type: ignore[assignment]  # torch declares tensors and modules alone
    elif unknown := set(cast(Mapping[str, str], network.explain_layers).values()) - dict(network.named_modules()).keys():
        raise _wrong(spec, f"names in explain_layers what is none of its modules: {', '.join(sorted(unknown))}")
    return network


def _check_values(spec: CustomNetworkConfig, network: nn.Module) -> None:
    """What a run keeps is one tensor a name."""
    places: dict[tuple[torch.device, int], str] = {}
    for name, value in network.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise _wrong(spec, f"keeps '{name}', {type(value).__name__}, in its state, and a run keeps tensors only")
        if value.is_meta or not value.numel():
            continue
        if (other := places.setdefault((value.device, value.untyped_storage().data_ptr()), name)) != name:
            raise _wrong(spec, f"has '{other}' and '{name}' in the same memory, and a run keeps each value once")


def _try(spec: CustomNetworkConfig, network: nn.Module, channels: int, size: tuple[int, int],
         classes: int) -> dict[str, tuple[int, int]]:
    """One step's passes on a copy: raises PluginError for a wrong answer; returns the cells (h, w) of each convolution."""
    trial = copy.deepcopy(network).train()
    grids: dict[str, tuple[int, int]] = {}
    for name, module in trial.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output, name=name: grids.__setitem__(name, tuple(output.shape[2:])))
    device = next(network.parameters()).device
    images = torch.linspace(-2, 2, 4 * channels * size[0] * size[1], device=device).view(4, channels, *size)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        with _told(spec, f"does not take images of shape {tuple(images.shape)}"):
            answer = trial(images)
        if not isinstance(answer, Tensor) or tuple(answer.shape) != (4, classes) or not answer.is_floating_point():
            found = f"{answer.dtype} of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
            raise _wrong(spec, f"returned {found} for 4 images; scores of shape (4, {classes}) are expected")
        with _told(spec, "cannot be trained: its scores have no gradient"):
            answer.float().logsumexp(1).sum().backward()
    if idle := [name for name, p in trial.named_parameters() if p.requires_grad and p.grad is None]:
        raise _wrong(spec, f"has parameters that take no part in its scores: {', '.join(idle[:5])}; use them, or freeze them "
                           f"(requires_grad_(False))")
    return grids


def _layers(grids: dict[str, tuple[int, int]]) -> dict[str, str]:
    """The last convolution of more than one cell, and the last one before it on a finer grid (else the one halfway): what is
    explained of a network that names no layers. Empty where it has no convolution, and then its images alone can be explained."""
    names = [name for name, cells in grids.items() if min(cells) > 1]
    if not names:
        return {}
    finer = [name for name in names if grids[name] > grids[names[-1]]]
    return {"middle": finer[-1] if finer else names[len(names) // 2], "last": names[-1]}


@contextmanager
def _told(spec: CustomNetworkConfig, what: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        said = str(error).splitlines()
        raise _wrong(spec, f"{what}: {type(error).__name__}{f': {said[0]}' if said else ''}") from error


def _wrong(spec: CustomNetworkConfig, what: str) -> PluginError:
    return PluginError(f"network '{spec.factory}' {what.rstrip('.')}. What a network must do is in docs/extending.md.")
