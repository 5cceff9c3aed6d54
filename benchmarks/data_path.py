"""How fast do augmented batches come, what do they cost a training step, and what do stored epochs buy?

python -m benchmarks.data_path [--data DIR] [--device cpu] [--peers DIR] [--rounds 5] [--parts compare,share,stored]
Images are CIFAR-10's where --data has them, else as many made ones of that size: the work is the same. Peers (kornia,
airbench) are not dependencies: --peers names a folder that holds them, and those that are not there are left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from benchmarks import contest, loaders, record
from benchmarks.contest import spread
from benchmarks.loaders import Source, Task
from speedcore import recipes
from speedcore.clock import Stopwatch
from speedcore.data import Dataset, load
from speedcore.data.batches import Batches
from speedcore.data.dataset import Provenance, Split
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.machine.queue import synchroniser
from speedcore.recipe import Augment
from speedcore.techniques.augment import Normalise
from speedcore.training.settle import settled
from speedcore.training.state import TrainState

ARTICLE = Augment(crop=4, flip="random", cutout=8)
AIRBENCH = Augment(crop=2, flip="alternating")
F32, BF16 = torch.float32, torch.bfloat16

@dataclass(frozen=True)
class Contestant:
    """Who, compared with which of ours, over how many images a round (whole epochs where that is the unit of work), and how
    many batches its workers may have made while others ran: those are drawn before the clock starts."""

    name: str
    loader: loaders.Loader
    images: int
    rival: str | None = "ours, float32"
    queued: int = 0


CONTESTANTS = (
    Contestant("ours, float32", loaders.ours(F32), 100_000, None),
    Contestant("ours, bfloat16", loaders.ours(BF16), 100_000, None),
    Contestant("torchvision v2, DataLoader, tensors, 0 workers", loaders.torchvision(0, pil=False), 1_500),
    Contestant("torchvision v2, DataLoader, tensors, 2 workers", loaders.torchvision(2, pil=False), 2_500, queued=4),
    Contestant("torchvision v2, DataLoader, PIL, 0 workers", loaders.torchvision(0, pil=True), 1_000),
    Contestant("torchvision v2, DataLoader, PIL, 2 workers", loaders.torchvision(2, pil=True), 1_500, queued=4),
    Contestant("torchvision v2 on batches (one draw a batch)", loaders.torchvision_a_batch(), 15_000),
    Contestant("kornia", loaders.kornia, 10_000),
    Contestant("airbench's method, float32", loaders.airbench_method(F32), 50_000),
    Contestant("airbench's method, bfloat16", loaders.airbench_method(BF16), 50_000, "ours, bfloat16"),
    Contestant("airbench's own loader, float16", loaders.airbench, 50_000, "ours, bfloat16"),
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path)
    contest.add_options(options, rounds=5)
    options.add_argument("--batches", default="250,512")
    options.add_argument("--parts", default="compare,share,stored")
    chosen = options.parse_args()
    device = contest.prepare(chosen)
    dataset = load("cifar10", chosen.data) if chosen.data else made()
    facts = {"device": chosen.device, "images": dataset.provenance.source, "threads": torch.get_num_threads()}
    suffix = "" if device.type == "cpu" else f"-{device.type}"
    source = Source(dataset.train.to(device), Normalise.of(dataset))
    if "compare" in chosen.parts:
        tasks = [Task(name, augment, batch) for batch in map(int, chosen.batches.split(","))
                 for name, augment in (("crop 4, flip, cutout 8", ARTICLE), ("alternating flip, translate 2", AIRBENCH))]
        rows, missing = [], {}
        for task in tasks:
            rows += compare(source, task, chosen.rounds, missing)
        print(record.write(f"data-path{suffix}", "Augmented, normalised batches, ready for the network: images a second. "
                           "Contestants alternate in rounds; ratio is ours over theirs in the same round, in floats of the "
                           "same size.", rows, rounds=chosen.rounds,
                           left_out=[f"{name}: {why}" for name, why in missing.items()] or "nobody", **facts))
    if "share" in chosen.parts:
        rows = [share(dataset, name, device) for name in ("record", "sprint")]
        print(record.write(f"data-path-share{suffix}", "What share of a training step goes to making its batch (choosing, "
                           "augmenting, normalising)?", rows, **facts))
    if "stored" in chosen.parts:
        print(record.write(f"data-path-stored{suffix}", "Stored augmented epochs against augmenting while training: uint8 "
                           "batches a second, alone, and in the training of sprint. Cold: the files are put out of the "
                           "page cache before each round.", stored(dataset, source, chosen.rounds), **facts))


def made() -> Dataset:
    """50,000 + 1,000 random images of CIFAR-10's size. What augmentation costs does not depend on what it shows."""
    generator = torch.Generator().manual_seed(0)
    splits = [Split(torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=generator),
                    torch.randint(10, (n,), generator=generator)) for n in (50_000, 1_000)]
    return Dataset.make("cifar10", tuple(map(str, range(10))), *splits, Provenance("made: random images", False))


def rate(stream: Iterator, batches: int, batch: int, device: torch.device) -> float:
    """Images a second over the next `batches`, once the stream is under way."""
    wait = synchroniser(device)
    next(stream)
    wait()
    watch = Stopwatch()
    for _ in islice(stream, batches):
        pass
    wait()
    return batches * batch / watch.seconds()


def compare(source: Source, task: Task, rounds: int, missing: dict[str, str]) -> list[dict]:
    """One row a contestant, median over the rounds. Names of those that cannot run go into `missing`."""
    streams = {}
    for one in CONTESTANTS:
        stream = one.loader(source, task)
        try:
            first = next(stream)
        except ImportError as error:
            missing[one.name] = str(error)
            continue
        assert first.shape == (task.batch, *source.split.images.shape[1:]) and first.is_floating_point(), one.name
        streams[one] = stream
    found = {one.name: [] for one in streams}
    for _ in range(rounds):
        for one, stream in streams.items():
            for _ in islice(stream, one.queued):
                pass
            found[one.name].append(rate(stream, max(2, one.images // task.batch), task.batch, source.device))
    rows = []
    for one in streams:
        row = {"augmentation": task.name, "batch": task.batch, "who": one.name, "images/s": statistics.median(found[one.name])}
        if one.rival:
            row |= spread("ours / theirs", [a / b for a, b in zip(found[one.rival], found[one.name], strict=True)])
        rows.append(row)
        print(row, flush=True)
    return rows


def share(dataset: Dataset, name: str, device: torch.device) -> dict:
    """Seconds of batch and normalisation beside the seconds of whole steps of recipe `name`."""
    recipe = settled(recipes.get(name, "cifar10"), dataset, device)
    state, wait = TrainState(dataset, recipe, 0, device), synchroniser(device)
    state.whiten(dataset.train)
    state.network.train()
    stream = iter(Batches(dataset.train.to(device), recipe.augment, recipe.batch_size, 0, state.normalise))
    state.step(*next(stream), 0.1)
    making, whole = [], []
    while sum(whole) < 8 or len(whole) < 5:
        wait()
        watch = Stopwatch()
        images, labels = next(stream)
        wait()
        drawn, watch = watch.seconds(), Stopwatch()
        state.normalise(images).to(memory_format=state.layout)
        wait()
        normalised, watch = watch.seconds(), Stopwatch()
        state.step(images, labels, 0.1)  # normalises for itself
        wait()
        making.append(drawn + normalised)
        whole.append(drawn + watch.seconds())
    batch_ms, step_ms = (1000 * statistics.median(v) for v in (making, whole))
    return {"recipe": name, "batch": recipe.batch_size, "making a batch, ms": batch_ms, "whole step, ms": step_ms,
            "share %": 100 * batch_ms / step_ms, "steps": len(whole)}


def stored(dataset: Dataset, source: Source, rounds: int, epochs: int = 3) -> list[dict]:
    """Rows: augmenting, streaming from a warm cache, streaming from a cold one."""
    recipe = settled(recipes.get("sprint", "cifar10"), dataset, source.device)
    live = Batches(source.split, ARTICLE, recipe.batch_size, 0, source.normalise)
    steps, batch = epochs * live.steps_per_epoch, recipe.batch_size
    state = TrainState(dataset, recipe, 0, source.device)
    state.whiten(dataset.train)
    state.network.train()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        watch = Stopwatch()
        epochs_on_disk = PrecomputedEpochs(live, steps, Path(folder))
        seconds = watch.seconds()
        cooled = partial(cool, Path(folder))
        ways = {"augmenting while training": (live, lambda: None), "stored, warm cache": (epochs_on_disk, lambda: None),
                "stored, cold cache": (epochs_on_disk, cooled)}
        alone, training = ({name: [] for name in ways} for _ in range(2))
        for _ in range(rounds):
            for name, (batches, before) in ways.items():
                before()
                alone[name].append(rate(iter(batches), steps - 1, batch, source.device))
        for _ in range(4 * rounds):  # many short ones: what else the machine does must not fall on one of them alone
            for name, (batches, before) in ways.items():
                before()
                training[name].append(trained(state, iter(batches), 8))
    rows = []
    first = "augmenting while training"
    for name in ways:
        ratios = ([a / b for a, b in zip(of[name], of[first], strict=True)] for of in (alone, training))
        row = {"batches": name, "images/s alone": statistics.median(alone[name]),
               **spread("speed / augmenting", next(ratios)), "images/s in training": statistics.median(training[name])}
        row |= {f"in training, {key}": value for key, value in spread("speed / augmenting", next(ratios)).items()}
        if name != first:
            row |= {"written in s": seconds, "images/s written": steps * batch / seconds, "GB": epochs_on_disk.bytes / 1e9,
                    "epochs": epochs}
        rows.append(row)
        print(row, flush=True)
    return rows


def trained(state: TrainState, stream: Iterator, steps: int) -> float:
    """Images a second of training on the next `steps` batches."""
    wait, images = synchroniser(state.device), 0
    next(stream)
    watch = Stopwatch()
    for batch, labels in islice(stream, steps):
        state.step(batch, labels, 0.1)
        images += len(labels)
    wait()
    return images / watch.seconds()


def cool(folder: Path) -> None:
    """Put the files of `folder` out of the page cache, as far as the kernel lets a user do that."""
    if hasattr(os, "posix_fadvise"):
        for path in folder.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())  # dirty pages stay
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
