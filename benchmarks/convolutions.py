"""What do other ways to convolve save on this CPU, and at what error? Layer by layer, and in whole training steps.

python -m benchmarks.convolutions [--precisions bf16 fp32] [--rounds 5] [--batch 250] [--steps-only] [--most 2000]
The layers are those of the record network on 32×32 images; forward and backward, laid out as n·h·w·c, in turns: direct (torch's),
by Winograd and, in bf16, by Winograd multiplied in 8 bits and on the matrix unit, where the processor has what these need.
Precisions: all in which this machine has a way that is quicker than direct. Errors are of the result against fp64, root mean
square over that of the result. A step is a whole one: images as they come, forward, backward, optimiser; not the direct way with
the network's other layers fused around them. --most: images of a step at most, for machines on which a whole batch takes long.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import record
from speedcore import kernels, recipes
from speedcore.cli.console import run_app
from speedcore.clock import Stopwatch
from speedcore.data import streams
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.errors import UserError
from speedcore.kernels import amx, winograd, winograd8, winograd_fp32
from speedcore.machine.allocator import keep_memory
from speedcore.training.state import TrainState

# (inputs, outputs, cells a side)
LAYERS = ((64, 64, 15), (64, 256, 15), (256, 256, 7), (256, 256, 3))
# (recipe, the data set whose recipe it is, channels and side of its images)
STEPS = (("airbench94-muon", "cifar10", 3, 32), ("airbench94-muon", "fashion-mnist", 1, 28), ("record", "fashion-mnist", 1, 28),
         ("sprint", "fashion-mnist", 1, 28), ("sprint", "mnist", 1, 28), ("dash", "mnist", 1, 28))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def backends(precision: str) -> tuple[str, ...]:
    """What this machine is quick at."""
    return ("torch", *reversed(kernels.available(precision)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--precisions", nargs="+", choices=DTYPES, default=[p for p in DTYPES if kernels.available(p)])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--most", type=int, default=2000)
    options.add_argument("--batch", type=int, default=250)
    options.add_argument("--steps-only", action="store_true", help="leave the single layers out")
    chosen = options.parse_args()
    if not chosen.precisions:
        raise UserError("this machine has no backend quicker than torch: they need Linux, a C compiler (install gcc, or name "
                        "one with CC), and a processor with AVX2 or NEON.")
    keep_memory()
    for precision in chosen.precisions:
        rows = [] if chosen.steps_only else [layer(*sizes, chosen.batch, chosen.rounds, precision) for sizes in LAYERS]
        rows += [step(*which, chosen.rounds, precision, chosen.most) for which in STEPS]
        others = "" if precision == "fp32" else ", by that in 8 bits, on the matrix unit (amx)"
        print(record.write("convolutions" if precision == "bf16" else f"convolutions-{precision}",
                           f"Seconds of forward and backward through a 3×3 convolution in {precision}, and of a whole training "
                           f"step: direct, by Winograd's F(4×4, 3×3){others}; medians over alternating rounds.",
                           rows, rounds=chosen.rounds))


def layer(inputs: int, outputs: int, side: int, batch: int, rounds: int, precision: str) -> dict:
    """One layer, every way."""
    torch.manual_seed(0)
    layout, dtype = torch.channels_last, DTYPES[precision]
    x = F.gelu(torch.randn(batch, inputs, side, side)).to(dtype).to(memory_format=layout).requires_grad_()
    weight = (torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5).to(memory_format=layout).requires_grad_()
    gradient = torch.randn(batch, outputs, side, side).to(dtype).to(memory_format=layout)
    short = winograd_fp32 if precision == "fp32" else winograd
    all_backends: dict[str, Callable[[], Tensor]] = {
        "torch": lambda: F.conv2d(x, weight.to(dtype), padding=1), "winograd": lambda: short.convolve(x, weight),
        "winograd8": lambda: winograd8.convolve(x, weight), "amx": lambda: amx.convolve(x, weight)}
    contestants = {backend: all_backends[backend] for backend in backends(precision)}
    with torch.no_grad():
        exact = F.conv2d(x.double(), weight.double(), padding=1)
        errors = {backend: ((run().double() - exact).pow(2).mean() / exact.pow(2).mean()).sqrt().item()
                  for backend, run in contestants.items()}
    seconds = alternate({backend: lambda run=run: run().backward(gradient) for backend, run in contestants.items()}, rounds)
    return _row(f"{inputs} → {outputs} channels, {side}×{side}", precision, batch, seconds,
                {f"error {backend} %": 100 * error for backend, error in errors.items()})


def step(name: str, dataset: str, channels: int, side: int, rounds: int, precision: str, most: int) -> dict:
    """A whole step of a recipe, every way, on made images."""
    recipe = recipes.get(name, dataset)
    recipe = recipe.changed(precision=precision, batch_size=min(most, recipe.batch_size))
    images = torch.randint(0, 256, (2 * recipe.batch_size, channels, side, side), dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    data = Dataset.make(dataset, tuple("0123456789"), Split(images, labels), Split(images[:10], labels[:10]),
                        Provenance("made for the benchmark", False))
    contestants = {}
    for backend in backends(precision):
        state = TrainState(data, recipe.changed(convolutions=backend), 0, torch.device("cpu"))
        state.whiten(data.train)
        state.network.train()
        stream = iter(streams.of_recipe(state.recipe, data.train, 0, state.normalise))
        contestants[backend] = lambda state=state, stream=stream: state.step(*next(stream), 0.1, 0.5)
    return _row(f"a step of {name}, {dataset}", precision, recipe.batch_size, alternate(contestants, rounds))


def alternate(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each, in turns, after two rounds that warm up. Each turn is taken twice, and its second time counts.

    The first finds its memory taken by the other way: a step by Winograd then waits for 100,000 page faults, a third longer.
    """
    found: dict[str, list[float]] = {backend: [] for backend in contestants}
    for _ in range(rounds + 2):
        for backend, take in contestants.items():
            take()
            watch = Stopwatch()
            take()
            found[backend].append(watch.seconds())
    return {backend: seconds[2:] for backend, seconds in found.items()}


def _row(what: str, precision: str, batch: int, seconds: dict[str, list[float]], more: dict[str, float] | None = None) -> dict:
    row = {"what": what, "precision": precision, "images": batch,
           **{f"{backend} s": statistics.median(taken) for backend, taken in seconds.items()}}
    for backend, taken in seconds.items():
        if backend != "torch":
            ratios = [one / direct for one, direct in zip(taken, seconds["torch"], strict=True)]
            row |= {f"{backend} / direct": statistics.median(ratios), f"{backend} from": min(ratios),
                    f"{backend} to": max(ratios)}
    row |= more or {}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
