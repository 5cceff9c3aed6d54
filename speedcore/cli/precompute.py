"""python -m speedcore precompute: augmented epochs on disk, and how fast they come back."""

from __future__ import annotations

from pathlib import Path

from speedcore.checks import numbers_of
from speedcore.cli.console import console
from speedcore.cli.options import DataDir, DatasetName, EpochsText, Offline, OutPath, RecipeName, Seed
from speedcore.errors import UserError

MOST_EPOCHS = 10_000


def precompute(dataset: DatasetName = "mnist", recipe: RecipeName = "article",
               epochs: EpochsText = "1", seed: Seed = 0, out: OutPath = Path("precomputed"), data: DataDir = None,
               offline: Offline = False) -> None:
    """Write augmented epochs to disk, stream them back, and say how fast both went."""
    from speedcore import recipes
    from speedcore.clock import Stopwatch
    from speedcore.data import load
    from speedcore.data.batches import Batches
    from speedcore.data.precompute import PrecomputedEpochs
    from speedcore.techniques.augment import Normalise
    from speedcore.training.loop import hold_out

    count, *others = numbers_of(epochs or "1", "--epochs")
    if others or count > MOST_EPOCHS:
        raise UserError(f"--epochs '{epochs}': write one number above 0, {MOST_EPOCHS:,} at most.")
    source, chosen = load(dataset, data, offline), recipes.get(recipe, dataset)
    split, _ = hold_out(source.train, chosen.val_images)
    batches = Batches(split, chosen.augment, chosen.batch_size, seed, Normalise.of(source))
    steps, watch = max(1, round(count * batches.steps_per_epoch)), Stopwatch()
    stored = PrecomputedEpochs(batches, steps, out)
    written = watch.seconds()
    watch, images = Stopwatch(), steps * chosen.batch_size
    for _ in stored:
        pass
    console(stderr=False).print(f"{images:,} augmented images ({stored.bytes / 1e9:.2f} GB) written to {out} at "
                                f"{images / written:,.0f} a second, streamed back at {images / watch.seconds():,.0f}")
