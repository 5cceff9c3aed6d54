"""The name of a run: from what was asked for, so that the same question finds the run that answered it."""

from __future__ import annotations

import hashlib
import json

import torch

from speedcore.clock import Budget
from speedcore.recipe import Recipe
from speedcore.store import names


def run_key(recipe: Recipe, dataset: str, fingerprint: str, arm: str, seed: int, budget: Budget, limit: float,
            device: str) -> str:
    """Name of a run's folder: readable, and different for whatever may train different weights."""
    content = json.dumps([recipe.hash, fingerprint, arm, seed, budget.seconds, budget.policy.name, limit,
                          torch.device(device).type, torch.get_num_threads()])
    family = names.part(dataset.replace("=", ""))
    return f"{family}-{arm}-{recipe.name}-s{seed}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
