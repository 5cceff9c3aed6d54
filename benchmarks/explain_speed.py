"""How fast do heatmaps come, beside other packages, beside what cannot be undercut, and many of them beside one?

python -m benchmarks.explain_speed [--device cpu] [--peers DIR] [--rounds 3] [--batch 125]
Grad-CAM of random images of CIFAR-10's size, on the article's DavidNet and on the record network, at their last layer and at the
one of 15 or 16 cells a side; everyone is given the same network, images and classes, a batch at a time. The maps are those of the
layer's own resolution: pytorch-grad-cam's are taken before it rescales them, which costs it more. Peers (grad-cam, torchcam) are
not dependencies: --peers names a folder that holds them, and those that are not there are left out.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import math
import statistics
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from benchmarks import contest, record
from benchmarks.contest import spread
from explain import heatmaps
from speedcore.clock import Stopwatch
from speedcore.machine.queue import synchroniser
from speedcore.networks import build
from speedcore.recipe import DavidNetConfig, RecordNetConfig

NETWORKS = {"DavidNet": DavidNetConfig(), "record": RecordNetConfig(widths=(64, 256, 256), whiten_kernel=2)}
LAYERS = ("last", "middle")
CLASSES = 10
OURS, HALF, FLOOR, RIVAL = "ours", "ours, bfloat16", "floor: forward, and backward to the layer", "pytorch-grad-cam"
TOLERANCE = 1e-5  # of the largest value
# Of the images, as many must agree to that. In a few rounding decides which of two equal cells a max-pool reads, and whether a
# ReLU is open: their maps are others, and as right.
AGREEING = 0.9


@dataclass(frozen=True)
class Task:
    """What everyone is asked for: maps of one layer, for one class an image. half: the same model in bfloat16."""

    model: nn.Module
    name: str
    images: Tensor
    targets: Tensor
    half: nn.Module

    @property
    def layer(self) -> nn.Module:
        return self.model.get_submodule(self.name)


def ours(task: Task, method: str = "grad-cam") -> Tensor:
    return heatmaps(task.model, task.images, task.targets, [task.name], method, batch_size=len(task.images))[task.name][:, 0]


def ours_half(task: Task) -> Tensor:
    return ours(replace(task, model=task.half))


def floor(task: Task) -> Tensor:
    """The scores, and their gradient at the layer: no map is made of them."""
    seen = []

    def leaf(module, inputs, output):
        seen.append(output.detach().requires_grad_())
        return seen[0].clone()  # DavidNet's ReLUs work in place, and a leaf may not be changed

    needs = [p.requires_grad for p in task.model.parameters()]
    task.model.requires_grad_(False)
    handle = task.layer.register_forward_hook(leaf)
    try:
        scores = task.model(task.images).gather(1, task.targets[:, None]).sum()
        return torch.autograd.grad(scores, seen[0])[0]
    finally:
        handle.remove()
        for parameter, needed in zip(task.model.parameters(), needs, strict=True):
            parameter.requires_grad_(needed)


def captum(task: Task) -> Tensor:
    """As its manual has it."""
    return LayerGradCam(task.model, task.layer).attribute(task.images, task.targets).detach()[:, 0]


def torchcam(task: Task) -> Tensor:
    from torchcam.methods import GradCAM

    with GradCAM(task.model, task.layer) as extractor:
        return extractor(task.targets.tolist(), task.model(task.images), normalized=False)[0]


def grad_cam(task: Task, method: str = "GradCAM") -> Tensor:
    """pytorch-grad-cam, signed: before it rectifies and rescales."""
    package = _pytorch_grad_cam()
    made = []

    class Early(getattr(package, method)):
        def compute_cam_per_layer(self, input_tensor, targets, eigen_smooth):
            acts = self.activations_and_grads
            activations, grads = (side[0].cpu().data.numpy() for side in (acts.activations, acts.gradients))
            made.append(self.get_cam_image(input_tensor, self.target_layers[0], targets, activations, grads, eigen_smooth))
            return []

        def aggregate_multi_layers(self, cam_per_target_layer):
            return made[0]

    targets = [package.utils.model_targets.ClassifierOutputTarget(k) for k in task.targets.tolist()]
    with Early(task.model, [task.layer]) as method:
        return torch.from_numpy(method(task.images, targets))


@cache
def _pytorch_grad_cam() -> types.ModuleType:
    """The package. On import it asks for OpenCV and scikit-learn, for what is not used here; where they are not installed, empty
    modules that can do nothing stand in for them until it is imported."""
    importlib.import_module("torchvision.transforms")  # looks for these itself, and is not to find the stand-ins
    stand_ins = []
    for name, members in (("cv2", ("COLORMAP_JET",)), ("sklearn", ()), ("sklearn.decomposition", ("KernelPCA", "NMF"))):
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = types.ModuleType(name)
            stand_ins.append(name)
            for member in members:
                setattr(sys.modules[name], member, None)
    try:
        return importlib.import_module("pytorch_grad_cam")
    finally:
        for name in stand_ins:
            del sys.modules[name]


CONTESTANTS: dict[str, Callable[[Task], Tensor]] = {
    OURS: ours, HALF: ours_half, FLOOR: floor, "captum in a plain loop": captum, "torchcam": torchcam, RIVAL: grad_cam}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    contest.add_options(options, rounds=3)
    options.add_argument("--batch", type=int, default=125)
    chosen = options.parse_args()
    device = contest.prepare(chosen)
    rows, missing, worst = [], {}, {}
    for name in NETWORKS:
        for layer in LAYERS:
            rows += measured(task_of(name, layer, chosen.batch, device), name, layer, chosen.rounds, missing, worst)
        rows += many(*(task_of(name, layer, chosen.batch, device) for layer in LAYERS), name, chosen.rounds, RIVAL not in missing)
    suffix = "" if device.type == "cpu" else f"-{device.type}"
    question = ("Grad-CAM: images a second. Contestants alternate in rounds; ratio is ours over theirs in the same round: at "
                "least 3 is wanted beside pytorch-grad-cam, 0.87 (1.15 times its time) beside the floor; ten classes for 1.2 "
                "times the time of one. Who also goes back to the images and to the weights does about three passes' work; what "
                "the floor leaves of that bounds the ratio for a single map in fp32.")
    print(record.write(f"explain-speed{suffix}", question, rows, chosen.device, rounds=chosen.rounds, batch=chosen.batch,
                       threads=torch.get_num_threads(),
                       largest_difference=[f"{who}: {error:.1e} of the largest value in {AGREEING:.0%} of the images"
                                           for who, error in worst.items()] or "not compared",
                       left_out=[f"{who}: {why}" for who, why in missing.items()] or "nobody"))


def task_of(network: str, layer: str, batch: int, device: torch.device) -> Task:
    """Random weights and images: what a map costs does not depend on what it shows. Laid out channels last, as runs are
    explained: everyone takes images as they lie."""
    layout = torch.channels_last
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(NETWORKS[network], 3, (32, 32), CLASSES).to(device, memory_format=layout).eval()
        images, targets = torch.randn(batch, 3, 32, 32), torch.randint(CLASSES, (batch,))
    return Task(model, model.explain_layers[layer], images.to(device, memory_format=layout), targets.to(device),
                copy.deepcopy(model).bfloat16())


def measured(task: Task, network: str, layer: str, rounds: int, missing: dict[str, str], worst: dict[str, float]) -> list[dict]:
    """One row a contestant, median over the rounds. Names of those that are not there go into `missing`, the largest
    differences from their maps into `worst`."""
    there, maps = {}, {}
    for who, make in CONTESTANTS.items():  # a round that does not count: kernels are chosen, imports made
        try:
            maps[who] = make(task)
        except ImportError as error:
            missing[who] = str(error)
            continue
        there[who] = make
    for who, error in differences(task, maps).items():
        worst[who] = max(worst.get(who, 0.0), error)
    wait, speeds = synchroniser(task.images.device), {who: [] for who in there}
    for _ in range(rounds):
        for who, make in there.items():
            speeds[who].append(len(task.images) / seconds(partial(make, task), wait))
    rows = []
    for who in there:
        row = {"network": network, "layer": layer, "cells": "×".join(map(str, maps[OURS].shape[1:])), "who": who,
               "images/s": statistics.median(speeds[who])}
        if who == HALF:
            row["largest difference from fp32, share of the largest value"] = _apart(maps[who], maps[OURS])
        if who != OURS:
            row |= spread("ours / theirs", [a / b for a, b in zip(speeds[OURS], speeds[who], strict=True)])
        rows.append(row)
        print(row, flush=True)
    return rows


def differences(task: Task, maps: dict[str, Tensor]) -> dict[str, float]:
    """How far our maps lie from each peer's at most, in nine of ten images, as a share of the largest value: they must do the
    same work.

    torchcam's are rectified, and so is ours beside them. Raises ValueError for maps that are not the same.
    """
    pairs = {who: (maps[OURS], maps[who]) for who in maps if who not in (OURS, HALF, FLOOR)}
    if "torchcam" in pairs:
        pairs["torchcam"] = (maps[OURS].clamp_min(0), maps["torchcam"])
    if RIVAL in pairs:
        pairs[f"{RIVAL}, HiResCAM"] = (ours(task, "hirescam"), grad_cam(task, "HiResCAM"))
    found = {who: _apart(mine, theirs, AGREEING) for who, (mine, theirs) in pairs.items()}
    if wrong := [who for who, error in found.items() if not error <= TOLERANCE]:
        raise ValueError(f"our maps differ from those of {wrong[0]} by {found[wrong[0]]:.1e} of the largest value, more than "
                         f"{TOLERANCE:g}: there is no point in comparing speeds.")
    return found


def _apart(mine: Tensor, theirs: Tensor, share: float = 1.0) -> float:
    """The largest difference in the `share` of images that differ least."""
    each = (mine.cpu() - theirs.cpu()).abs().flatten(1).amax(1)
    return float(each.sort().values[math.ceil(share * len(each)) - 1] / theirs.abs().max())


def many(last: Task, middle: Task, network: str, rounds: int, rival: bool) -> list[dict]:
    """Rows: all ten classes' maps of the last layer, and both layers' maps of one class, beside the time of one map of the last
    layer and beside pytorch-grad-cam, which is asked once for each."""
    classes = torch.arange(CLASSES, device=last.images.device).expand(len(last.images), -1)
    both = [last.name, middle.name]
    ways = {"ours, all ten classes": lambda: ours(replace(last, targets=classes)),
            "ours, both layers": lambda: heatmaps(last.model, last.images, last.targets, both, batch_size=len(last.images))}
    theirs = {"ours, all ten classes": lambda: [grad_cam(replace(last, targets=column)) for column in classes.unbind(1)],
              "ours, both layers": lambda: [grad_cam(task) for task in (last, middle)]}
    wait, rows = synchroniser(last.images.device), []
    for who, make in ways.items():
        make()
        prices, ratios, speeds = [], [], []
        for _ in range(rounds):
            one, took = seconds(lambda: ours(last), wait), seconds(make, wait)
            prices.append(took / one)
            speeds.append(len(last.images) / took)
            # Ten times three passes are long: once is enough for a ratio that is far from any bound.
            if rival and not (ratios and who == "ours, all ten classes"):
                ratios.append(seconds(theirs[who], wait) / took)
        rows.append({"network": network, "layer": "both" if "both" in who else "last", "who": who,
                     "images/s": statistics.median(speeds), "time ÷ one map of the last layer": statistics.median(prices),
                     **({f"{RIVAL}'s time ÷ ours": statistics.median(ratios)} if ratios else {})})
        print(rows[-1], flush=True)
    return rows


def seconds(make: Callable[[], object], wait: Callable[[], None]) -> float:
    wait()
    watch = Stopwatch()
    make()
    wait()
    return watch.seconds()


if __name__ == "__main__":
    main()
