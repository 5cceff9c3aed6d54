"""What does a change of a recipe do? Each change beside the recipe as it is, paired by seed, on held-out training images.

python -m benchmarks.tuning NAME --dataset fashion-mnist --recipe sprint [--epochs 2] [--seeds 3]
    --change 'augment.crop = 0' --change 'augment.crop = 0; label_smoothing = 0.1'

A change is TOML, with ; between its lines. The test set is not read: choices are made here, so that the records can be
measured there. With --images N only N images are trained on and all others are held out: differences of some tenths of a
point show with one seed. Writes results/tuning-NAME.json after each seed.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
from pathlib import Path

import torch

from benchmarks import record
from speedcore import recipes, stats
from speedcore.cli.console import run_app
from speedcore.clock import Budget
from speedcore.data import Dataset, load
from speedcore.errors import UserError
from speedcore.recipe import Recipe, TTAConfig, merged, validated
from speedcore.store.runs import RunStore
from speedcore.training.job import Job
from speedcore.training.loop import full_steps, train

_HELD_OUT = 5000
# The same images for every change, seed and call.
_ORDER = 0x7041


def changed(base: Recipe, change: str) -> Recipe:
    """`base` with the TOML of `change` over it. Raises UserError."""
    try:
        fields = tomllib.loads(change.replace(";", "\n"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"--change '{change}' is not TOML: {error}.") from None
    return validated(merged(base.model_dump(), fields), f"--change '{change}'")


def without_test(dataset: Dataset, images: int | None = None) -> Dataset:
    """The same data set with held-out training images in place of its test images: `images` of them are left to train on."""
    order = torch.randperm(len(dataset.train), generator=torch.Generator().manual_seed(_ORDER))
    count = len(order) - min(_HELD_OUT, len(order) // 10) if images is None else images
    if not 0 < count < len(order):
        raise UserError(f"--images {count}: {dataset.name} has {len(order):,} training images; leave some to be held out.")
    training, held_out = (dataset.train.take(rows.sort().values) for rows in (order[:count], order[count:]))
    return Dataset(dataset.name, dataset.classes, training, held_out, dataset.provenance)


def trial(dataset: Dataset, recipe: Recipe, seed: int, store: RunStore) -> dict[str, float]:
    """Accuracy in percent on the held-out images (with views, where the recipe has some) and seconds of training."""
    steps = full_steps(dataset, recipe)
    job = Job(f"trial-{seed}", recipe, "with", seed, Budget(float("inf")), float("inf"), steps, steps)
    r = train(dataset, job, store).record
    return {"accuracy": 100 * r.accuracy, "loss": r.metrics.test_loss, "training accuracy": 100 * r.metrics.train_accuracy,
            "seconds": r.ledger["train"]}


def rows(found: dict[str, list[dict[str, float]]]) -> list[dict]:
    """A row a change; the first is what the others are compared with."""
    made, first = [], next(iter(found.values()))
    for change, trials in found.items():
        accuracies = [t["accuracy"] for t in trials]
        paired = list(zip(trials, first, strict=False))
        row = {"change": change, "n": len(trials), "held-out % mean": stats.mean(accuracies),
               "sd": stats.sd(accuracies), "training % mean": stats.mean([t["training accuracy"] for t in trials]),
               "seconds (median)": stats.median([t["seconds"] for t in trials])}
        if trials is not first:
            differences = [t["accuracy"] - b["accuracy"] for t, b in paired]
            row |= {"difference": stats.mean(differences), "sd of difference": stats.sd(differences),
                    "time ratio (median)": stats.median([t["seconds"] / b["seconds"] for t, b in paired])}
        made.append(row)
    return made


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("name")
    options.add_argument("--dataset", default="fashion-mnist")
    options.add_argument("--recipe", default="sprint")
    options.add_argument("--epochs", type=float)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--images", type=int, help="training images to use; the others are held out")
    options.add_argument("--change", action="append", default=[])
    options.add_argument("--data", type=Path)
    chosen = options.parse_args()
    base = recipes.get(chosen.recipe, chosen.dataset)
    epochs = chosen.epochs or base.epochs
    base = base.changed(epochs=epochs, min_epochs=min(base.min_epochs, epochs), val_images=0, tta=TTAConfig())
    variants = {"as it is": base} | {change: changed(base, change) for change in chosen.change}
    dataset = without_test(load(chosen.dataset, chosen.data), chosen.images)
    found = {change: [] for change in variants}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(chosen.seeds):
            for i, (change, recipe) in enumerate(variants.items()):
                found[change].append(trial(dataset, recipe, seed, RunStore(Path(folder) / str(i))))
                print(f"seed {seed}, {change}: {found[change][-1]}", flush=True)
            path = record.write(
                f"tuning-{chosen.name}", f"Changes of recipe '{base.name}' on {chosen.dataset}, {epochs:g} epochs, judged on "
                f"{len(dataset.test):,} held-out training images.", rows(found), images=len(dataset.train),
                recipes={"as it is": base.model_dump(mode="json")}, per_seed=found)
    print(path)


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
