"""Does the map depend on what was learned? Weights are re-initialised, and the map is compared with what it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from explain.attribution.methods import heatmaps
from explain.metrics.basics import is_empty, rank_correlation
from explain.models import ExplainError, forward, undisturbed, unwrapped
from speedcore.training.seeding import seeded


@dataclass(frozen=True)
class Cascade:
    """modules: re-initialised, one a step, from the head down. similarity: name of layer (or "image") -> (steps, N) rank
    correlation with the trained network's map; NaN where either is empty.
    """

    modules: tuple[str, ...]
    similarity: dict[str, Float64[Tensor, "steps n"]]


def parameter_randomisation(model: nn.Module, images: Float[Tensor, "n c height width"], targets: int | Int64[Tensor, " n"],
                            layers: Sequence[str] | None = None, method: str = "grad-cam", cascading: bool = True,
                            seed: int = 0, observer: Callable[[int, int], None] | None = None, **options: Any) -> Cascade:
    """Rank correlation of maps before and after the weights of the network's modules are re-initialised.

    cascading: the head first, then the head and what lies before it, down to the first module; else each module alone,
    all others as trained. observer: called with steps done and in all. options: of `heatmaps`. The model is not touched:
    copies are. Cost: one map an image for each module with weights, and one. Raises ExplainError.
    """
    model = unwrapped(model)
    modules = weighted_modules(model, images)
    if not modules:
        raise ExplainError("this model has no weights, so there is nothing to re-initialise.")
    trained = _maps(model, images, targets, layers, method, options)
    found: dict[str, list[Tensor]] = {name: [] for name in trained}
    for step, name in enumerate(modules):
        changed = randomised(model, modules[:step + 1] if cascading else [name], seed)
        for layer, maps in _maps(changed, images, targets, layers, method, options).items():
            dead = is_empty(maps) | is_empty(trained[layer])
            found[layer].append(rank_correlation(trained[layer], maps).masked_fill(dead, torch.nan))
        if observer:
            observer(step + 1, len(modules))
    return Cascade(tuple(modules), {layer: torch.stack(steps) for layer, steps in found.items()})


def weighted_modules(model: nn.Module, images: Float[Tensor, "n c height width"]) -> list[str]:
    """Modules that hold weights of their own and take part in a pass, the last called first: from the head down."""
    called: dict[str, None] = {}
    with undisturbed(model) as device, torch.no_grad(), ExitStack() as hooks:
        for name, module in model.named_modules():
            if name and next(module.parameters(recurse=False), None) is not None:
                hooks.callback(module.register_forward_hook(lambda *_, name=name: called.setdefault(name)).remove)
        forward(model, images[:1].to(device))
    return list(called)[::-1]


def randomised(model: nn.Module, names: Sequence[str] | None = None, seed: int = 0) -> nn.Module:
    """A copy whose modules `names` (None: all) have their weights as when they were made, drawn from `seed`.

    Modules that cannot be reset have their trained values shuffled. torch's generators are left as they were.
    """
    made = copy.deepcopy(unwrapped(model))
    wanted = None if names is None else set(names)
    device = next((p.device for p in made.parameters()), torch.device("cpu"))
    with seeded(seed, device), torch.no_grad():
        for name, module in made.named_modules():
            if wanted is not None and name not in wanted:
                continue
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                for weights in module.parameters(recurse=False):
                    weights.copy_(weights.flatten()[torch.randperm(weights.numel(), device=weights.device)].view_as(weights))
    return made


def _maps(model: nn.Module, images: Tensor, targets: int | Tensor, layers: Sequence[str] | None, method: str,
          options: dict[str, Any]) -> dict[str, Float[Tensor, "n h w"]]:
    return {name: maps[:, 0] for name, maps in heatmaps(model, images, targets, layers, method, **options).items()}
