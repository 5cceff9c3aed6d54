"""Peak memory of a training run against the sum of what it must hold.

python -m benchmarks.memory [--datasets mnist,fashion-mnist,cifar10] [--recipes record,sprint] [--device cpu]
Each run is a process of its own. What it must hold: the data set; parameters, gradients and optimiser state; the
activations of one batch, counted by saved-tensor hooks. What it holds at its peak is counted above an interpreter that has
imported torch and done one small convolution. Images are made, of the size and number of each data set's own.
What the libraries take that training needs (their code, buffers of threads) has a column of its own: what a run on a few images
holds at its peak beyond what that one must hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchmarks import record
from speedcore import recipes
from speedcore.clock import Budget
from speedcore.data.batches import Batches
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.machine.memory import PeakMemory
from speedcore.recipe import Recipe
from speedcore.store.runs import RunStore
from speedcore.techniques.augment import Normalise
from speedcore.training.job import Job
from speedcore.training.loop import hold_out, train
from speedcore.training.settle import settled
from speedcore.training.state import TrainState

# data set -> (training images, test images, channels, side)
SIZES = {"mnist": (60_000, 10_000, 1, 28), "fashion-mnist": (60_000, 10_000, 1, 28), "cifar10": (50_000, 10_000, 3, 32)}
MB = 1e6
_FEW = 0.0005  # of the images: five and more


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--datasets", default=",".join(SIZES))
    options.add_argument("--recipes", default="record,sprint")
    options.add_argument("--device", default="cpu")
    options.add_argument("--steps", type=int, default=4, help="steps of each run; memory does not grow with them")
    options.add_argument("--one", choices=("whole", "few"), help="measure one run, in this process, and print it as JSON")
    chosen = options.parse_args()
    if chosen.one:
        recipe = recipes.get(chosen.recipes, chosen.datasets)
        print(json.dumps(measure(chosen.datasets, recipe, chosen.device, chosen.steps, few=chosen.one == "few")))
        return
    rows = []
    for name in chosen.datasets.split(","):
        for recipe in chosen.recipes.split(","):
            whole, few = (alone(name, recipe, chosen.device, chosen.steps, which) for which in ("whole", "few"))
            libraries = few["peak MB"] - few["sum MB"]
            rows.append(whole | {"libraries MB": libraries, "peak without libraries / sum":
                                 (whole["peak MB"] - libraries) / whole["sum MB"]})
            print(rows[-1], flush=True)
    print(record.write("memory" if chosen.device == "cpu" else f"memory-{chosen.device}",
                       "Peak memory of a training run, in MB (10^6 bytes) above an interpreter with torch, against the sum of "
                       "what it must hold: data set, parameters with gradients and optimiser state, activations of one "
                       "batch. Libraries: their code and buffers, what a run on a few images takes beyond its own sum.",
                       rows, device=chosen.device))


def alone(name: str, recipe: str, device: str, steps: int, which: str) -> dict:
    """`measure` in a process of its own."""
    process = subprocess.run([sys.executable, "-m", "benchmarks.memory", "--one", which, "--datasets", name, "--recipes", recipe,
                              "--device", device, "--steps", str(steps)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(process.stdout.splitlines()[-1])


def measure(name: str, recipe: Recipe, device: str, steps: int, few: bool = False) -> dict:
    """One row: the parts, their sum, the peak, and its ratio to the sum; of a run on `few` images if so."""
    before = baseline(torch.device(device))
    dataset = made(name, share=_FEW if few else 1)
    if few:
        recipe = recipe.changed(batch_size=16, val_images=0, bn_recalibration_images=0)
    recipe = settled(recipe, dataset, torch.device(device))
    job = Job("run", recipe, "with", 0, Budget(float("inf")), float("inf"), steps, steps)
    with tempfile.TemporaryDirectory() as folder:
        peak = train(dataset, job, RunStore(folder), device).record.peak_memory_bytes - before
    parts = {"data set": size_of([dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels]),
             **of_a_step(dataset, recipe, torch.device(device))}
    total = sum(parts.values())
    return {"data set": name, "recipe": recipe.name, **{f"{part} MB": size / MB for part, size in parts.items()},
            "sum MB": total / MB, "peak MB": peak / MB, "peak / sum": peak / total}


def baseline(device: torch.device) -> int:
    """Bytes that the process takes before it has anything to train: torch, and its kernels for one small convolution."""
    peak = PeakMemory(device)
    with torch.autocast(device.type, torch.bfloat16):
        out = nn.Conv2d(8, 8, 3).to(device)(torch.zeros(1, 8, 8, 8, device=device, requires_grad=True))
    out.float().sum().backward()
    return peak.bytes()


def made(name: str, share: float = 1) -> Dataset:
    """Random images in the number and size of data set `name`, or a share of that number."""
    *counts, channels, side = SIZES[name]
    splits = [Split(torch.randint(256, (n, channels, side, side), dtype=torch.uint8), torch.randint(10, (n,)))
              for n in (int(share * count) for count in counts)]
    return Dataset.make(name, tuple(map(str, range(10))), *splits, Provenance("made: random images", False))


def of_a_step(dataset: Dataset, recipe: Recipe, device: torch.device) -> dict[str, int]:
    """Bytes of parameters, gradients, optimiser state, and of what one forward pass keeps for its backward pass."""
    train_state = TrainState(dataset, recipe, 0, device)
    train_state.network.train()
    split, _ = hold_out(dataset.train, recipe.val_images)
    images, labels = next(iter(Batches(split.to(device), recipe.augment, recipe.batch_size, 0, Normalise.of(dataset))))
    own = {t.untyped_storage().data_ptr() for t in train_state.network.state_dict().values()}
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        train_state.gradients(images, labels)
    activations = size_of([t for t in kept if t.untyped_storage().data_ptr() not in own])
    gradients = size_of([p.grad for p in train_state.network.parameters() if p.grad is not None])
    weights = {t.untyped_storage().data_ptr(): t for t in train_state.network.state_dict().values()}
    state = [t for t in tensors(train_state.optimizer) if t.untyped_storage().data_ptr() not in weights]
    return {"parameters": size_of(list(weights.values())), "gradients": gradients, "optimiser state": size_of(state),
            "activations of a batch": activations}


def tensors(thing) -> Iterator[Tensor]:
    """All tensors that an object of plain parts holds."""
    if isinstance(thing, Tensor):
        yield thing
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from tensors(part)
    elif isinstance(thing, dict):
        yield from tensors(list(thing.values()))
    elif hasattr(thing, "__dict__"):
        yield from tensors(vars(thing))


def size_of(of: list[Tensor]) -> int:
    """Bytes of the distinct storages behind tensors."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in of}.values())


if __name__ == "__main__":
    main()
