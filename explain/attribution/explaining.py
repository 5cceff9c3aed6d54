"""From finished runs to explanations on disk: which images, which maps, which measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explain import artefact, metrics, selection
from explain.artefact import CascadeRecord, Explanation, LayerRecord
from explain.attribution.geometry import Extent, extents
from explain.attribution.gradients import IMAGE
from explain.attribution.layers import named_layers
from explain.attribution.masks import foreground
from explain.attribution.methods import Method, heatmaps, method_of
from explain.attribution.targets import Targets
from explain.metrics.basics import positive
from explain.models import ExplainError
from explain.selection import Gallery, Predictions
from speedcore.data.dataset import Dataset
from speedcore.errors import UserError
from speedcore.machine import provenance
from speedcore.machine.device import resolve
from speedcore.store.runs import Run
from speedcore.techniques.augment import Normalise
from speedcore.training.state import TrainState

_RANDOMISED = 2  # images of each class whose maps are followed as weights are re-initialised


@dataclass(frozen=True)
class Progress:
    """What an observer is told after each batch: images done of all the passes of one run and method."""

    run: str
    method: str
    done: int
    total: int


Observer = Callable[[Progress], None]


@dataclass(frozen=True)
class Failure:
    """A run that could not be explained, and why: the others are."""

    run: str
    dataset: str
    method: str
    error: Exception

    @property
    def reason(self) -> str:
        """A sentence for a reader: a UserError's own, or that this project is at fault."""
        if isinstance(self.error, UserError):
            return str(self.error)
        return f"an error in this project, {type(self.error).__name__}: {self.error}"


def explain_run(run: Run, dataset: Dataset, root: Path | str | None = None, gallery: Gallery | None = None,
                images_per_class: int | None = None, device: torch.device | str = "auto",
                observer: Observer | None = None, method: str = "grad-cam") -> Explanation:
    """Explain a run on its data set's test images and write it below `root`/explanations, or reuse what exists there.

    root: the folder of runs; None takes the run's own. gallery: the images to keep maps of; None chooses them for this
    run alone. images_per_class: how many test images of each class are measured, the first in the split's order; None
    takes 100, or 10 if the method needs more than four passes a map. method: a name in `METHODS`.
    A damaged explanation is named, set aside and made again. Raises ExplainError if run and data set do not belong together,
    RunError if the run's weights or predictions are not there.
    """
    _check_fits(run, dataset)
    chosen, on = method_of(method), resolve(device)
    images_per_class = _measured(chosen) if images_per_class is None else images_per_class
    if images_per_class < 1:
        raise ExplainError(f"images_per_class must be at least 1, found {images_per_class}.")
    gallery = gallery or selection.gallery(dataset.test.labels, predictions_of(run))
    name = f"{run.record.key}-{method}-{_key(run, gallery, images_per_class, chosen)}"
    path = Path(root or run.path.resolve().parent) / artefact.FOLDER / name
    if existing := artefact.find(path):
        return existing
    return _Work(run, dataset, gallery, images_per_class, chosen, on, observer).write(path)


def explain_runs(first: Sequence[Run], second: Sequence[Run], dataset: Dataset, root: Path | str | None = None,
                 images_per_class: int | None = None, device: torch.device | str = "auto", observer: Observer | None = None,
                 method: str = "grad-cam", failed: Callable[[Failure], None] | None = None,
                 ) -> tuple[tuple[Explanation, ...], tuple[Explanation, ...]]:
    """Explain the runs of two arms on the same images; returns the explanations in the order given.

    The gallery is chosen once, from the predictions of the pair of the lowest seed that both have. A run that cannot be explained
    takes no other with it. failed: told of each such run, which is then left out; None raises the first one's error after all
    others have been explained and kept.
    """
    if not first or not second:
        raise ExplainError("two arms of at least one run each are needed; use explain_run for a single one.")
    for run in (*first, *second):
        _check_fits(run, dataset)
    shared = gallery_of(*pair(first, second), dataset)
    made: tuple[list[Explanation], list[Explanation]] = [], []
    failures = []
    for explained, arm in zip(made, (first, second), strict=True):
        for run in arm:
            try:
                explained.append(explain_run(run, dataset, root, shared, images_per_class, device, observer, method))
            except Exception as error:
                failures.append(Failure(run.record.key, dataset.name, method, error))
                if failed:
                    failed(failures[-1])
    if failures and not failed:
        raise failures[0].error
    return tuple(made[0]), tuple(made[1])


def pair(first: Sequence[Run], second: Sequence[Run]) -> tuple[Run, Run]:
    """The two runs of the lowest seed that both arms have; of no common seed, the first of each."""
    left, right = ({run.record.seed: run for run in reversed(arm)} for arm in (first, second))
    common = sorted(left.keys() & right.keys())
    return (left[common[0]], right[common[0]]) if common else (first[0], second[0])


def gallery_of(first: Run, second: Run | None, dataset: Dataset, per_class: int = 2, mistakes: int = 10) -> Gallery:
    """The images shown of a pair of runs: some of each class, and those that only one of the two gets wrong.

    Of one run alone (second: None): some of each class, and those that it gets wrong.
    """
    for run in (first, second) if second else (first,):
        _check_fits(run, dataset)
    if per_class < 1 or mistakes < 0:
        raise ExplainError(f"per_class must be at least 1 and mistakes at least 0, found {per_class} and {mistakes}.")
    one, other = predictions_of(first), predictions_of(second) if second else None
    if second and other and one.name == other.name:
        one, other = (Predictions(f"{a.name}, seed {run.record.seed}", a.logits) for a, run in ((one, first), (other, second)))
    return selection.gallery(dataset.test.labels, one, other, per_class, mistakes)


def predictions_of(run: Run) -> Predictions:
    """The run's predictions for the plain test images, under the name of its arm."""
    return Predictions(arm_title(run.record.arm), run.predictions["logits"])


def arm_title(arm: str) -> str:
    return {"with": "with augmentation", "without": "without augmentation"}.get(arm, arm)


@dataclass
class _Work:
    """The making of one explanation: networks, maps, measures."""

    run: Run
    dataset: Dataset
    gallery: Gallery
    images_per_class: int
    method: Method
    device: torch.device
    observer: Observer | None
    done: int = 0
    total: int = 0

    def write(self, path: Path) -> Explanation:
        record, test = self.run.record, self.dataset.test
        network = self._ready(self.run.network())
        normalise = Normalise.of(record.data)
        named = named_layers(network) if self.method.layers else {IMAGE: IMAGE}
        placed = self._placed(network, normalise(test.images[:1]), list(named.values()))

        shown = self.gallery.indices
        measured = selection.first_of_each_class(test.labels, self.images_per_class)
        truth = foreground(self.dataset, measured)
        # Two passes over the measured images: with masks also untrained, without them also mirrored.
        self.total = len(shown) + 2 * len(measured)

        logits = torch.from_numpy(self.run.predictions["logits"])[shown].float()
        predicted = logits.argmax(1)
        arrays = {"gallery_index": shown, "gallery_label": test.labels[shown], "gallery_predicted": predicted,
                  "gallery_confidence": logits.softmax(1).amax(1), "measured_index": measured}
        both = self._maps(network, normalise(test.images[shown]), [test.labels[shown], predicted])
        for name, module in named.items():
            arrays |= {f"{name}_{target}": both[module][:, i] for i, target in enumerate(artefact.TARGETS)}

        images, labels = normalise(test.images[measured]), test.labels[measured]
        if truth is None:
            maps = {"true": self._maps(network, images, labels), "mirrored": self._maps(network, images.flip(-1), labels)}
        else:
            wrong = metrics.wrong_class(labels, len(self.dataset.classes))
            trained = self._maps(network, images, [labels, wrong])
            maps = {"true": {m: t[:, :1] for m, t in trained.items()},
                    "wrong_class": {m: t[:, 1:] for m, t in trained.items()},
                    "untrained": self._maps(self._ready(self._untrained(network, images[:100])), images, labels)}
        layers = {}
        for name, module in named.items():
            of_layer = {kind: made[module][:, 0] for kind, made in maps.items()}
            layers[name], per_image = self._measure(module, placed[module], of_layer, None if truth is None else truth.masks)
            arrays |= {key if key == "foreground" else f"{name}_{key}": value for key, value in per_image.items()}
            arrays[f"{name}_class_mean"] = _class_means(of_layer["true"], labels, len(self.dataset.classes))

        return artefact.save(
            path, {name: value.numpy() for name, value in arrays.items()}, run=record.key,
            weights_sha256=record.weights_sha256, dataset=record.data.name, fingerprint=record.data.fingerprint,
            classes=record.data.classes, arm=record.arm, seed=record.seed, gallery=self.gallery,
            method=self.method.name, how=f"{self.method.definition} ({self.method.source}); fp32, eval mode",
            foreground=None if truth is None else truth.rule, layers=layers, cascade=self._cascade(network, named),
            provenance=provenance.collect(self.device),
            measured=f"the first {self.images_per_class} test images of each class ({len(measured)} in all)")

    def _placed(self, network: torch.nn.Module, image: torch.Tensor, modules: list[str]) -> dict[str, Extent]:
        if self.method.grid == "layer":
            return extents(network, image, modules)
        height, width = self.dataset.size
        return dict.fromkeys(modules, Extent(0, 0, height, width))

    def _measure(self, module: str, extent: Extent, maps: dict[str, torch.Tensor],
                 masks: torch.Tensor | None) -> tuple[LayerRecord, dict[str, torch.Tensor]]:
        true = maps["true"]
        dead, gini = metrics.is_empty(true), metrics.gini(true)
        per_image = {"dead": dead, "gini": gini}
        fields: dict[str, Any] = {
            "module": module, "height": true.shape[1], "width": true.shape[2], **vars(extent), "n": len(true),
            "dead": dead.double().mean().item(), "gini": metrics.mean_of(gini)}
        if masks is None:
            moved = metrics.flip_consistency(true, maps["mirrored"], self.dataset.size, extent)
            per_image["flip_consistency"] = moved
            fields["flip_consistency"] = metrics.mean_of(moved)
        else:
            scores, arrays = metrics.scores(maps, masks, extent)
            fields |= {"score": scores.pop("true"), "controls": scores}
            per_image |= {kind if kind in ("foreground", "ceiling") else f"mass_{kind}": v for kind, v in arrays.items()}
        return LayerRecord(**fields), per_image

    def _cascade(self, network: torch.nn.Module, named: dict[str, str]) -> CascadeRecord | None:
        """How the maps of a few images change as the network's weights are re-initialised."""
        if not self.method.layers:
            return None
        test = self.dataset.test
        rows = selection.first_of_each_class(test.labels, min(_RANDOMISED, self.images_per_class))
        images, labels, modules = Normalise.of(self.run.record.data)(test.images[rows]), test.labels[rows], list(named.values())
        found = metrics.parameter_randomisation(network, images, labels, modules, self.method.name)
        trained, other = heatmaps(network, images, labels, modules, self.method.name), metrics.another_image(len(rows))

        def alike(maps: torch.Tensor) -> float | None:
            dead = metrics.is_empty(maps) | metrics.is_empty(maps[other])
            return metrics.mean_of(metrics.rank_correlation(maps, maps[other]).masked_fill(dead, torch.nan))

        return CascadeRecord(
            modules=found.modules, images=len(rows),
            similarity={name: tuple(map(metrics.mean_of, found.similarity[module])) for name, module in named.items()},
            another_image={name: alike(trained[module][:, 0]) for name, module in named.items()})

    def _maps(self, network: torch.nn.Module, images: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        start, observer = self.done, self.observer
        self.done += len(images)

        def tell(done: int) -> None:
            if observer:
                observer(Progress(self.run.record.key, self.method.name, start + done, self.total))

        images = images.to(memory_format=torch.channels_last)  # as the network is
        return heatmaps(network, images, targets, method=self.method.name, observer=tell if observer else None)

    def _untrained(self, trained: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
        """The network as training found it: drawn from the run's seed, with its data-dependent filters, no step taken.

        Those filters are frozen, so the trained network still has them: no need to learn them from training images.
        """
        network = TrainState(self.dataset, self.run.record.recipe, self.run.record.seed, torch.device("cpu")).network.float()
        prepare: Any = getattr(network, "prepare", None)
        if prepare is not None:
            prepare([images])
        kept = dict(trained.named_parameters())
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if not parameter.requires_grad:
                    parameter.copy_(kept[name])
        return network

    def _ready(self, network: torch.nn.Module) -> torch.nn.Module:
        return network.to(self.device).to(memory_format=torch.channels_last)


def _class_means(maps: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(K, h, w): the mean positive part of each class's maps; NaN for a class without images."""
    evidence = positive(maps)
    return torch.stack([evidence[labels == label].mean(0) for label in range(classes)]).float()


def _check_fits(run: Run, dataset: Dataset) -> None:
    data = run.record.data
    if data.fingerprint != dataset.fingerprint:
        raise ExplainError(f"{run.path} was trained on '{data.name}' with content {data.fingerprint[:12]}, but the data "
                           f"set given is '{dataset.name}' with content {dataset.fingerprint[:12]}; give the data set "
                           f"that the run was trained on.")


def _measured(method: Method) -> int:
    return 100 if method.forward + method.backward <= 4 else 10


def _key(run: Run, gallery: Gallery, images_per_class: int, method: Method) -> str:
    """Twelve hex digits over everything that decides the content."""
    content = {"schema": artefact.SCHEMA_VERSION, "method": method.name, "how": method.definition,
               "weights": run.record.weights_sha256, "data": run.record.data.fingerprint, "gallery": gallery.model_dump(),
               "images_per_class": images_per_class}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
