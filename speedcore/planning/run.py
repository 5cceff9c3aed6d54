"""One run: a recipe, settled and named; found where it was trained before, else priced and trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from speedcore import checks
from speedcore.clock import POLICIES, Budget
from speedcore.data.dataset import Dataset
from speedcore.errors import BudgetError
from speedcore.machine.device import resolve
from speedcore.planning import plan as planning
from speedcore.planning.candidates import price, too_dear
from speedcore.planning.request import Request, recipes_for
from speedcore.planning.run_key import run_key
from speedcore.recipe import Network, Recipe
from speedcore.recipes import with_own
from speedcore.store.runs import Run, RunStore
from speedcore.training import loop
from speedcore.training.callback import Callback
from speedcore.training.job import Job
from speedcore.training.settle import settle, settled

UNLIMITED = Budget(math.inf)


def run(dataset: str | Dataset, recipe: str | Recipe = "auto", budget: float | str | None = 1000.0, seed: int = 0,
        arm: str = "with", store: RunStore | Path | str | None = None, device: str | torch.device = "auto",
        callback: Callback | None = None, clock: str = "article", data_mode: str | None = None, *,
        network: str | Callable[..., Any] | Network | None = None, augmentation: str | Callable[..., Any] | None = None,
        technique: str | Callable[..., Any] | None = None) -> Run:
    """Train one run (or find it) and return it.

    dataset: a name that `speedcore.load` knows, or a Dataset. recipe: a name, a TOML file, a Recipe, or "auto" for the one that
    a build would choose. budget: seconds under the rule `clock`, also as "90s", "20m"; None for no limit. arm: "with" or
    "without" augmentation. store: the folder of runs. device: "auto", "cuda", "cuda:1", "mps" or "cpu". data_mode: "device" or
    "precomputed" instead of the recipe's own. network, augmentation, technique: your own in place of the recipe's network, and
    after its augmentations and techniques: a function or class of a module, functools.partial of one with its arguments,
    "module:name", or the name of an entry point (docs/extending.md). Raises UserError for a value that is none of these, before
    any data is fetched, and BudgetError if the budget does not hold the fewest steps that are worth training.
    """
    from speedcore.data import load

    checks.one_of("arm", arm, checks.ARMS)
    checks.one_of("clock", clock, POLICIES)
    checks.one_of("data_mode", "device" if data_mode is None else data_mode, checks.DATA_MODES)
    seconds, seed = checks.seconds_of(budget, "budget") or math.inf, checks.seed_of(seed)
    store, on, named = checks.store_of(store), resolve(device), checks.dataset_of(dataset)
    name = named if isinstance(named, str) else named.name
    recipe = with_own(checks.recipe_of(recipe), name, network, augmentation, technique)
    known = {one.name: one for one in recipes_for(recipe, name, data_mode)}  # a bad recipe fails here
    data = load(named) if isinstance(named, str) else named
    chosen = next(iter(known.values()))
    if len(known) > 1:  # which of them is a question for the planner, whose answer is kept
        request = Request("auto", seconds, clock, within=None, seeds=1, device=str(on), data_mode=data_mode)
        chosen = known[planning.make_plan([data], request, store).planned[0].recipe.name]
    if arm == "without":
        chosen = chosen.without_augmentation()
    return train_or_find(data, chosen, Budget(seconds, POLICIES[clock]), arm, seed, store, on, callback)


def whole_run(dataset: Dataset, recipe: Recipe, arm: str, seed: int, store: RunStore, device: str = "auto",
              callback: Callback | None = None) -> Run:
    """Train all the epochs of `recipe` as it stands, whatever time that takes, or find the run that did."""
    return train_or_find(dataset, recipe, UNLIMITED, arm, seed, store, resolve(device), callback)


def whole_key(dataset: Dataset, recipe: Recipe, arm: str, seed: int, device: str = "auto") -> str:
    """The name under which `whole_run` keeps its run."""
    on = resolve(device)
    return _key(dataset, settled(recipe, dataset, on), UNLIMITED, arm, seed, on)


def train_or_find(dataset: Dataset, recipe: Recipe, budget: Budget, arm: str, seed: int, store: RunStore, device: torch.device,
                  callback: Callback | None = None) -> Run:
    """The run of `recipe`, trained as it stands; arm: what the run is called. Raises BudgetError."""
    found = settle(recipe, dataset, device)
    key = _key(dataset, found.recipe, budget, arm, seed, device)
    standing = store.find(key)
    if standing is not None:
        return reuse(standing, dataset, callback)
    if loop.steps_per_epoch(dataset, found.recipe) < 1:
        raise BudgetError(f"{dataset.name}: every batch is larger than the training split; choose a recipe with a smaller "
                          f"batch_size.")
    full = loop.full_steps(dataset, found.recipe)
    steps = full if math.isinf(budget.seconds) else affordable_steps(dataset, found.recipe, budget, device)
    job = Job(key, found.recipe, arm, seed, budget, budget.seconds, steps, full, stretch=steps < full and arm == "with",
              arithmetic=found.why)
    return loop.train(dataset, job, store, device, callback)


def affordable_steps(dataset: Dataset, recipe: Recipe, budget: Budget, device: torch.device) -> int:
    """How many steps of a settled recipe `budget` is planned to hold here. Raises BudgetError below the recipe's floor."""
    candidate = price(dataset, recipe, device)
    if why := too_dear(candidate, budget):
        raise BudgetError(f"{dataset.name}: {why}")
    return candidate.steps_in(budget.seconds - candidate.beside_training(budget.policy))


def reuse(run: Run, dataset: Dataset, callback: Callback | None = None) -> Run:
    """A finished run, of which `callback` is told, with the names that its data set and classes have today: folders may be
    renamed, and content decides."""
    data = run.record.data
    if (data.name, data.classes) != (dataset.name, dataset.classes):
        data = data.model_copy(update={"name": dataset.name, "classes": dataset.classes})
        run = replace(run, record=run.record.model_copy(update={"data": data}))
    if callback:
        callback.on_run_end(run, reused=True)
    return run


def _key(dataset: Dataset, recipe: Recipe, budget: Budget, arm: str, seed: int, device: torch.device) -> str:
    return run_key(recipe, dataset.name, dataset.fingerprint, arm, seed, budget, budget.seconds, str(device))
