"""Runs that no one trained but that are valid in every file: accuracies, ledgers and curves as a test wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from explain.claim.preregistration import preregistration
from explain.claim.verdicts import ClaimRecord, DatasetRecord
from explain.metrics import Score
from explain.studies.shortcuts import LayerRecord, ModelRecord, StudyRecord
from speedcore.clock import POLICIES
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.networks import build, parameter_counts
from speedcore.recipe import Augment, Recipe, RecordNetConfig, SGDConfig, TTAConfig
from speedcore.recipe.schedules import interpolate
from speedcore.store import names
from speedcore.store.consistency import score
from speedcore.store.runs import Metrics, ReplanRecord, Run, RunRecord, RunStore
from speedcore.training.loop import data_record, digest

CLASSES = ("zero", "one", "two & <three>")
RECIPE = Recipe(name="tiny", description="for tests", network=RecordNetConfig(widths=(4, 6, 8), whiten_kernel=3,
                                                                     activation="relu"),
                optimizer=SGDConfig(lr=0.5), augment=Augment(crop=2, flip="random", cutout=4), batch_size=10, epochs=2,
                tta=TTAConfig(mirror=True), val_images=10)
STEPS, PER_EPOCH = 8, 4
FINISHED = "2031-05-06T07:08:09+00:00"


def dataset(name: str = "mnist", channels: int = 1, official: bool = True, masks: bool = False) -> Dataset:
    """60 training and 30 test images of 28×28: a bright square whose place tells the class, on dark noise."""
    generator = torch.Generator().manual_seed(7)

    def split(n: int) -> Split:
        labels = torch.arange(n) % len(CLASSES)
        images = torch.randint(0, 30, (n, channels, 28, 28), dtype=torch.uint8, generator=generator)
        where = torch.zeros(n, 28, 28, dtype=torch.bool)
        for i, label in enumerate(labels.tolist()):
            where[i, 8 * label + 2:8 * label + 10, 10:18] = True
        images[where[:, None].expand_as(images)] = 220
        return Split(images, labels, where if masks else None)

    note = "" if official else "re-encoded by someone."
    return Dataset.make(name, CLASSES, split(60), split(30), Provenance("made for a test", official, note=note))


def logits_of(labels: np.ndarray, right: int) -> np.ndarray:
    """Logits that answer the first `right` images correctly and take the others for the next class."""
    answers = np.where(np.arange(len(labels)) < right, labels, (labels + 1) % len(CLASSES))
    return 4 * np.eye(len(CLASSES), dtype=np.float32)[answers]


def save(store: RunStore, data: Dataset, arm: str, seed: int, right: int, *, views_right: int | None = None,
         steps: int = STEPS, ledger: Mapping[str, float] | None = None, budget: float = 1000.0,
         replans: Sequence[ReplanRecord] = (), recipe: Recipe | None = None) -> Run:
    """A run of `arm` with that seed that answers `right` of the 30 test images correctly."""
    recipe = recipe or RECIPE
    recipe = recipe if arm == "with" else recipe.without_augmentation()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(recipe.network, data.channels, data.size, len(data.classes))
    weights = dict(network.state_dict())
    labels = data.test.labels.numpy()
    ledger = dict(ledger or {"load": 1.0, "prepare": 2.0, "train": 40.0 + seed, "test": 3.0})
    predictions = {"labels": labels, "logits": logits_of(labels, right)}
    if arm == "with":
        predictions["tta_logits"] = logits_of(labels, views_right if views_right is not None else right)
    progress = [(i + 1) / steps for i in range(steps)]
    rates = [recipe.optimizer.lr * interpolate(recipe.schedule.knots, p, recipe.schedule.shape) for p in progress]
    count = range(1, steps + 1)
    columns = {"step": list(count), "epoch": [i / PER_EPOCH for i in count], "lr": rates,
               "loss": [2 / i for i in count], "accuracy": [1 - 1 / (i + 1) for i in count],
               "seconds": [ledger["train"] * p for p in progress]}
    epochs = {"step": list(count), "epoch": columns["epoch"], "progress": progress, "train_loss": columns["loss"],
              "train_accuracy": columns["accuracy"], "validation_loss": columns["loss"],
              "validation_accuracy": columns["accuracy"]}
    views = views_right if views_right is not None else right
    metrics = Metrics(test_accuracy=right / 30, test_loss=score(predictions["logits"], labels)[1],
                      train_accuracy=columns["accuracy"][-1], train_loss=columns["loss"][-1],
                      validation_accuracy=columns["accuracy"][-1], tta_accuracy=views / 30 if arm == "with" else None)
    key = f"{names.part(data.name)}-{arm}-tiny-s{seed}"
    record = RunRecord(
        key=key, data=data_record(data, 50, 10), arm=arm, recipe=recipe, recipe_hash=recipe.hash, seed=seed,
        budget_seconds=budget, budget_policy="article", limit_seconds=budget, steps=steps, planned_steps=STEPS,
        steps_per_epoch=PER_EPOCH, epochs=steps / PER_EPOCH, final_lr=rates[-1], final_factor=0.0,
        replans=tuple(replans),
        parameters=parameter_counts(network), ledger=ledger,
        clocks={name: policy.seconds(ledger) for name, policy in POLICIES.items()}, metrics=metrics,
        peak_memory_bytes=250_000_000 + seed, weights_sha256=digest(weights), device="cpu",
        provenance={"revision": "a" * 40, "dirty": False, "lock_sha256": "b" * 64, "versions": {"torch": "9.9"},
                    "device": "cpu: toy, 2 cores", "system": "Linux toy", "threads": 2, "command": "making.py",
                    "finished": FINISHED})
    return store.save(record, columns, epochs, weights, predictions)


def pairs(store: RunStore, data: Dataset, without: Sequence[int], augmented: Sequence[int], **more) -> list[Run]:
    """Both arms of seeds 0, 1, …, answering so many test images correctly."""
    return [save(store, data, arm, seed, right, **more)
            for arm, rights in (("without", without), ("with", augmented)) for seed, right in enumerate(rights)]


def shortcut_study(seeds: int = 2) -> StudyRecord:
    """A study that no one ran: maps on the corner patch follow reliance, maps on the hue do not."""
    models = []
    for shortcut, correlation, reliance, mass in (
            ("corner", 0.0, 0.0, 0.02), ("corner", 0.5, 0.1, 0.2), ("corner", 1.0, 0.8, 0.7),
            ("hue", 0.0, 0.0, 0.3), ("hue", 0.5, 0.2, 0.1), ("hue", 1.0, 0.9, 0.2)):
        for seed in range(seeds):
            def score(value: float | None) -> Score:
                n = 0 if value is None else 28
                return Score(n=n, dead=30 - n, empty=0, mass=value, foreground=None, ceiling=None, score=value)

            kinds = {kind: score(0.05) for kind in ("uniform", "gaussian", "another_image", "wrong_class", "untrained")}
            layer = LayerRecord(shortcut=score(mass + seed / 100), object=score(0.4), controls=kinds)
            models.append(ModelRecord(
                shortcut=shortcut, correlation=correlation, arm="without", seed=seed, run=f"run-{len(models)}",
                weights_sha256="d" * 64, accuracy_right=0.95, accuracy_swapped=0.95 - reliance - seed / 500,
                probability_right=0.9, probability_swapped=0.9 - reliance,
                layers={"middle": layer, "last": layer.model_copy(update={"shortcut": score(None)})}))
    return StudyRecord(recipe=RECIPE, train_images=600, test_images=300, images_per_class=3, method="grad-cam", device="cpu",
                       models=tuple(models), provenance={})


def claim_study(pairs: int = 10, sets: Sequence[str] = ("shapes", "mnist", "cifar10")) -> ClaimRecord:
    """A study that no one ran. Mass: shapes a tenth more with augmentation in every pair, the same of a wrong class's maps; mnist
    within a hundredth of none. cifar10: agreement with occlusion a tenth less in every pair. Parts: crop as the whole."""
    plan = preregistration()
    up = tuple((0.2 + i / 500, 0.3 + i / 400) for i in range(pairs))
    same = tuple((0.2, 0.2 + (-1) ** i / 100) for i in range(pairs))
    down = tuple((b, a) for a, b in up)
    found = {}
    for name, values in (("shapes", up), ("mnist", same), ("cifar10", down)):
        if name in sets:
            claim = plan.of(name)
            table = {o.name: {"with": values} for o in (claim.primary, *claim.secondary)}
            table[claim.primary.name] |= {"crop": values, "cutout": same}
            nulls = {o.name: {"wrong_class": up, "another_image": same} for o in (claim.primary, *claim.secondary)}
            found[name] = DatasetRecord(recipe=RECIPE, values=table, nulls=nulls,
                                        runs={arm: tuple(f"{name}-{arm}-{i}" for i in range(pairs)) for arm in ("none", "with")},
                                        accuracies={"none": (0.9,) * pairs, "with": tuple(0.91 + i / 1000 for i in range(pairs))})
    return ClaimRecord(preregistration=plan, images_per_class=100, device="cpu", datasets=found, provenance={})


def renamed(data: Dataset, name: str) -> Dataset:
    return replace(data, name=name)
