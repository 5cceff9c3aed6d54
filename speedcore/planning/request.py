"""What a build was asked for, and the name under which its plan is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from speedcore import recipes
from speedcore.machine import arithmetic
from speedcore.machine.device import resolve
from speedcore.recipe import Recipe

PLAN_VERSION = 3
# What "auto" chooses from, the most wanted first.
AUTO = ("article", "record", "sprint", "dash-augmented")


@dataclass(frozen=True)
class Request:
    """What a build was asked for. within: seconds for the whole build, None for no cap. seeds: None to choose.

    recipe: "auto", a name, a TOML file, or a Recipe itself. budget: seconds of one run, under the rule `clock`.
    """

    recipe: str | Recipe = "auto"
    budget: float = 1000.0
    clock: str = "article"
    within: float | None = 900.0
    seeds: int | None = None
    device: str = "auto"
    data_mode: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", str(resolve(self.device)))

    def recipes(self, dataset: str) -> list[Recipe]:
        """Recipes that the request admits for a data set, the most wanted first. Raises RecipeError."""
        return recipes_for(self.recipe, dataset, self.data_mode)

    def key(self, fingerprints: Iterable[str], hashes: Iterable[str]) -> str:
        """Names the plan: the request, the data, the content of the recipes it may choose from, and the machine."""
        machine = arithmetic.signature(torch.device(self.device))
        content = json.dumps([PLAN_VERSION, vars(self), sorted(fingerprints), sorted(hashes), machine],
                             default=lambda recipe: recipe.name)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def recipes_for(recipe: str | Recipe, dataset: str, data_mode: str | None = None) -> list[Recipe]:
    """The recipe that is named, or for "auto" those that there are to choose from, the most wanted first. Raises RecipeError.

    data_mode: "device" or "precomputed" instead of the recipe's own.
    """
    names = AUTO if recipe == "auto" else (recipe,)
    found = [name if isinstance(name, Recipe) else recipes.get(name, dataset) for name in names]
    return [r.changed(data=data_mode) for r in found] if data_mode else found
