"""Kernels that a GPU is asked for in a step: small networks are bound by them there."""

from __future__ import annotations

import pytest
import torch

from speedcore import recipes
from speedcore.recipe import Recipe
from speedcore.training.optimizers import MomentumSGD
from speedcore.training.state import TrainState
from tests.simulated import Launches, simulated
from tests.speedcore import toys


def launches(recipe: Recipe, data) -> int:
    """Kernels of one step after the first, in bf16: forward, backward, update. How many images there are changes nothing."""
    with simulated("cuda") as gpu:
        state = TrainState(data, recipe.changed(precision="bf16", batch_size=8), 0, torch.device("cuda"))
        state.network.train()
        images, labels = data.train.images.to("cuda"), data.train.labels.to("cuda")
        state.step(images, labels, 0.1, 0.1)
        with Launches(gpu) as seen:
            state.step(images, labels, 0.1, 0.1)
    return seen.count


@pytest.mark.parametrize(("name", "data", "most"), [("airbench94-muon", "cifar10", 142), ("record", "cifar10", 142),
                                                    ("record", "fashion-mnist", 142), ("sprint", "cifar10", 140)])
def test_a_step_asks_for_few_kernels(name: str, data: str, most: int) -> None:
    grey = "mnist" in data
    toy = toys.dataset(train=8, test=4, channels=1 if grey else 3, size=28 if grey else 32)
    recipe = recipes.get(name, data)
    network = recipe.network.narrowed(16 / max(recipe.network.widths))  # narrow ones launch as many
    assert launches(recipe.changed(network=network.model_dump()), toy) <= most


def test_more_filters_of_other_shapes_cost_muon_no_kernel_more() -> None:
    def update(widths: tuple[int, ...]) -> int:
        recipe = recipes.get("airbench94-muon", "cifar10")
        recipe = recipe.changed(network={**recipe.network.model_dump(), "widths": widths}, precision="bf16")
        with simulated("cuda"):
            state = TrainState(toys.dataset(train=8, test=4, channels=3, size=32), recipe, 0, torch.device("cuda"))
            for p in state.network.parameters():
                p.grad = torch.ones_like(p) if p.requires_grad else None
            with Launches() as seen:
                state.optimizer.step(0.1, 0.1)
        return seen.count

    assert update((8, 8)) == update((8, 16, 24)) <= 30


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd_in_one_kernel_is_sgd(decay: float) -> None:
    def stepped(device: str) -> tuple[list[float], int]:
        w = torch.linspace(-1, 1, 5).to(device)
        sgd = MomentumSGD([w], 0.4, 0.9, decay, lr_in_buffer=False)
        for gradient, factor in ((0.5, 0.25), (-2.0, 1.0), (1.0, 0.5)):
            w.grad = torch.full_like(w, gradient)
            with Launches() as seen:
                sgd.step(factor)
            assert w.grad is None
        return w.cpu().tolist(), seen.count

    expected, _ = stepped("cpu")
    with simulated("cuda"):
        found, kernels = stepped("cuda")
    assert found == pytest.approx(expected, rel=1e-5)
    assert kernels == 1
