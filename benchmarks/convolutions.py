"""What do other ways to convolve save on this CPU, and at what error? Layer by layer, and in whole training steps.

python -m benchmarks.convolutions [--rounds 5] [--batch 250] [--steps-only]
The layers are those of the record network on 32×32 images; forward and backward in bf16, laid out as n·h·w·c, in turns: direct
(torch's), by Winograd, by Winograd multiplied in 8 bits and on the matrix unit, where the processor has what these need. Errors
are against fp32, of the result, root mean square over that of the result. A step is a whole one: images as they come, forward,
backward, optimiser; not the direct way with the network's other layers fused around them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import record
from speedcore import recipes
from speedcore.allocator import keep_memory
from speedcore.clock import Stopwatch
from speedcore.console import run_app
from speedcore.data import batches as data_path
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.errors import UserError
from speedcore.networks import amx, winograd, winograd8
from speedcore.settling import settled
from speedcore.trainee import Trainee

# (inputs, outputs, cells a side)
LAYERS = ((64, 64, 15), (64, 256, 15), (256, 256, 7), (256, 256, 3))
# (recipe, the data set whose recipe it is, channels and side of its images)
STEPS = (("airbench94-muon", "cifar10", 3, 32), ("airbench94-muon", "fashion-mnist", 1, 28), ("record", "fashion-mnist", 1, 28),
         ("sprint", "fashion-mnist", 1, 28), ("dash", "mnist", 1, 28))


def ways() -> tuple[str, ...]:
    """What this machine can do."""
    return ("direct", "winograd", *(["winograd8"] if winograd8.quick() else []), *(["amx"] if amx.quick() else []))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--batch", type=int, default=250)
    options.add_argument("--steps-only", action="store_true", help="leave the single layers out")
    chosen = options.parse_args()
    if winograd.library() is None:
        raise UserError("Winograd's convolutions need Linux and a C compiler; install gcc, or name one with CC.")
    keep_memory()
    rows = [] if chosen.steps_only else [layer(*sizes, chosen.batch, chosen.rounds) for sizes in LAYERS]
    rows += [step(*which, chosen.rounds) for which in STEPS]
    print(record.write("convolutions", "Seconds of forward and backward through a 3×3 convolution in bf16, and of a whole "
                                       "training step: direct, by Winograd's F(4×4, 3×3), by that in 8 bits, on the "
                                       "matrix unit (amx); medians over alternating rounds.",
                       rows, rounds=chosen.rounds))


def layer(inputs: int, outputs: int, side: int, batch: int, rounds: int) -> dict:
    """One layer, every way."""
    torch.manual_seed(0)
    layout = torch.channels_last
    x = F.gelu(torch.randn(batch, inputs, side, side)).bfloat16().to(memory_format=layout).requires_grad_()
    weight = (torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5).to(memory_format=layout).requires_grad_()
    gradient = torch.randn(batch, outputs, side, side).bfloat16().to(memory_format=layout)
    all_ways: dict[str, Callable[[], Tensor]] = {
        "direct": lambda: F.conv2d(x, weight.bfloat16(), padding=1), "winograd": lambda: winograd.convolve(x, weight),
        "winograd8": lambda: winograd8.convolve(x, weight), "amx": lambda: amx.convolve(x, weight)}
    takes = {way: all_ways[way] for way in ways()}
    with torch.no_grad():
        exact = F.conv2d(x.float(), weight, padding=1)
        errors = {way: ((run().float() - exact).pow(2).mean() / exact.pow(2).mean()).sqrt().item() for way, run in takes.items()}
    seconds = alternate({way: lambda run=run: run().backward(gradient) for way, run in takes.items()}, rounds)
    return _row(f"{inputs} → {outputs} channels, {side}×{side}", batch, seconds,
                {f"error {way} %": 100 * error for way, error in errors.items()})


def step(name: str, dataset: str, channels: int, side: int, rounds: int) -> dict:
    """A whole step of a recipe, every way, on made images."""
    recipe = recipes.get(name, dataset)
    images = torch.randint(0, 256, (2 * recipe.batch_size, channels, side, side), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    data = Dataset.make(dataset, tuple("0123456789"), Split(images, labels), Split(images[:10], labels[:10]),
                        Provenance("made for the benchmark", False))
    takes = {}
    for way in ways():
        trainee = Trainee(data, settled(recipe, data, torch.device("cpu")).changed(convolutions=way), 0, torch.device("cpu"))
        trainee.whiten(data.train)
        trainee.network.train()
        stream = iter(data_path.of_recipe(trainee.recipe, data.train, 0, trainee.normalise))
        takes[way] = lambda trainee=trainee, stream=stream: trainee.step(*next(stream), 0.1, 0.5)
    return _row(f"a step of {name}, {dataset}", recipe.batch_size, alternate(takes, rounds))


def alternate(takes: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turns, after two rounds that warm up. Each turn is taken twice, and its second time counts.

    The first finds its memory taken by the other way: a step by Winograd then waits for 100,000 page faults, a third longer.
    """
    found: dict[str, list[float]] = {way: [] for way in takes}
    for _ in range(rounds + 2):
        for way, take in takes.items():
            take()
            watch = Stopwatch()
            take()
            found[way].append(watch.seconds())
    return {way: seconds[2:] for way, seconds in found.items()}


def _row(what: str, batch: int, seconds: dict[str, list[float]], more: dict[str, float] | None = None) -> dict:
    row = {"what": what, "images": batch, **{f"{way} s": statistics.median(taken) for way, taken in seconds.items()}}
    for way, taken in seconds.items():
        if way != "direct":
            ratios = [one / direct for one, direct in zip(taken, seconds["direct"], strict=True)]
            row |= {f"{way} / direct": statistics.median(ratios), f"{way} from": min(ratios), f"{way} to": max(ratios)}
    row |= more or {}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
