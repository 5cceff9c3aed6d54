"""What do bf16 and bf16 weights cost or buy? The same recipe and steps in three precisions, paired by seed.

python -m benchmarks.precision [--dataset fashion-mnist] [--recipe sprint] [--epochs 2] [--seeds 6]
Judged on held-out training images (validation): the test set is not read for choices.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from benchmarks import record
from speedcore import recipes
from speedcore.clock import Budget
from speedcore.data import Dataset, load
from speedcore.recipe import Views
from speedcore.runs import RunStore
from speedcore.training import Job, full_steps, train


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dataset", default="fashion-mnist")
    options.add_argument("--recipe", default="sprint")
    options.add_argument("--epochs", type=float, default=2.0)
    options.add_argument("--seeds", type=int, default=6)
    options.add_argument("--data", type=Path)
    chosen = options.parse_args()
    dataset = load(chosen.dataset, chosen.data)
    base = recipes.get(chosen.recipe, chosen.dataset).changed(epochs=chosen.epochs, min_epochs=min(1.0, chosen.epochs),
                                                              validation=5000, test_time=Views())
    # The test split plays no part here; ten images keep the loop's last look cheap.
    small = Dataset(dataset.name, dataset.classes, dataset.train, dataset.test.take(torch.arange(10)), dataset.provenance)
    precisions = ("fp32", "bf16", "bf16-weights")
    found = {p: {"accuracy": [], "seconds": []} for p in precisions}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(chosen.seeds):
            for precision in precisions:
                recipe = base.changed(precision=precision)
                steps = full_steps(small, recipe)
                job = Job(f"{precision}-{seed}", recipe, "with", seed, Budget(float("inf")), float("inf"), steps, steps)
                r = train(small, job, RunStore(folder)).record
                found[precision]["accuracy"].append(100 * r.metrics.validation_accuracy)
                found[precision]["seconds"].append(r.ledger["train"])
                print(precision, seed, found[precision]["accuracy"][-1], round(r.ledger["train"], 1), flush=True)
    rows = []
    for precision in precisions:
        values = found[precision]["accuracy"]
        differences = [a - b for a, b in zip(values, found["fp32"]["accuracy"], strict=True)]
        ratios = [a / b for a, b in zip(found[precision]["seconds"], found["fp32"]["seconds"], strict=True)]
        rows.append({"precision": precision, "n": len(values), "validation % mean": statistics.mean(values),
                     "sd": statistics.stdev(values), "difference to fp32, mean": statistics.mean(differences),
                     "sd of difference": statistics.stdev(differences), "time / fp32 (median)": statistics.median(ratios)})
    print(record.write("precision", "Same recipe, steps and seeds in three precisions: accuracy on 5,000 held-out "
                                    "training images, and time.", rows, dataset=chosen.dataset, recipe=chosen.recipe,
                       epochs=chosen.epochs))


if __name__ == "__main__":
    main()
