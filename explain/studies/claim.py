"""The claim, run as it was preregistered: none against the recipe's augmentation, and against each of its parts.

Every arm of a seed is a whole run of the same recipe but for its augmentation: the same initial weights, order of images and
number of steps. Runs are stored like all runs, outcomes beside them; what stands is reused.

    RUNS/studies/claim-…/result.json   which runs, and each outcome of each (`ClaimRecord`); verdicts follow from it alone
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from explain.models import ExplainError
from explain.preregistration import Claim, Kind, Outcome, Preregistration
from explain.studies.measuring import value
from speedcore import executors, provenance, recipes
from speedcore.data.dataset import Dataset
from speedcore.executors import Watcher
from speedcore.procedure import Tested, judge
from speedcore.recipe import Frozen, Recipe, Views
from speedcore.runs import Run, RunStore, staged

NONE, WITH = "none", "with"
_TRIALS = 4  # halvings of the epochs' range in the search for a checkpoint of equal accuracy


class DatasetRecord(Frozen):
    """One data set. runs: keys by arm, in order of the seeds. values: outcome -> contrast (an arm) -> pairs (none, arm), None
    where a side could not be scored or matched."""

    recipe: Recipe
    runs: dict[str, tuple[str, ...]]
    values: dict[str, dict[str, tuple[tuple[float | None, float | None], ...]]]


class ClaimRecord(Frozen):
    """result.json."""

    version: Literal[1] = 1
    preregistration: Preregistration
    images_per_class: int
    device: str
    datasets: dict[str, DatasetRecord]
    provenance: dict


@dataclass(frozen=True)
class Verdicts:
    """What the record says. primary: data set -> test of the claim. secondary: data set -> outcome -> test, corrected within
    the data set. parts: "data set: part" -> test of the primary outcome, corrected over all of them."""

    kind: Kind
    claim: Claim
    primary: dict[str, Tested]
    secondary: dict[str, dict[str, Tested]]
    parts: dict[str, Tested]


def study(plan: Preregistration, datasets: Sequence[Dataset], store: RunStore, recipe: str = "sprint",
          epochs: float | None = None, seeds: int | None = None, parts: bool = True, match: bool = True, device: str = "cpu",
          images_per_class: int = 100, watcher: Watcher | None = None) -> tuple[ClaimRecord, Path]:
    """Train what is missing, measure every registered outcome, and keep the result; returns it and where it lies.

    seeds: None takes as many pairs as are registered. epochs: other than the recipe's. parts: also each part of the
    augmentation by itself. match: also the outcomes on checkpoints of equal accuracy, which take up to four more runs a
    pair. Raises ExplainError for a data set that is not registered.
    """
    missing = [d.name for d in datasets if plan.of(d.name) is None]
    if missing or not datasets:
        raise ExplainError(f"{', '.join(missing) or 'no data set'} is not in the preregistration, which has "
                           f"{', '.join(plan.datasets)}; what it does not name cannot be claimed.")
    count, found = seeds or plan.pairs.planned, {}
    for dataset in datasets:
        base = recipes.get(recipe, dataset.name).changed(test_time=Views())
        if epochs is not None:
            base = base.changed(epochs=epochs, min_epochs=min(epochs, base.min_epochs))
        found[dataset.name] = _dataset(_Work(plan, dataset, base, store, device, images_per_class, watcher), count, parts, match)
    record = ClaimRecord(preregistration=plan, images_per_class=images_per_class, device=torch.device(device).type,
                         datasets=found, provenance=provenance.collect(device))
    asked = json.dumps([plan.model_dump(mode="json"), images_per_class, record.device, count, parts, match,
                        {d.name: [d.fingerprint, found[d.name].recipe.hash] for d in datasets}], sort_keys=True)
    path = store.root / "studies" / f"claim-{hashlib.sha256(asked.encode()).hexdigest()[:10]}"
    with staged(path) as folder:
        (folder / "result.json").write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return record, path / "result.json"


@dataclass(frozen=True)
class _Work:
    plan: Preregistration
    dataset: Dataset
    base: Recipe
    store: RunStore
    device: str
    images_per_class: int
    watcher: Watcher | None

    def run(self, arm: str, recipe: Recipe, seed: int) -> Run:
        return executors.whole_run(self.dataset, recipe, arm, seed, self.store, self.device, self.watcher)

    def value(self, run: Run, pair: tuple[Run, Run], outcome: Outcome) -> float | None:
        return value(run, pair, self.dataset, outcome, self.store, self.device, self.images_per_class)


def arms(plan: Preregistration, dataset: str, base: Recipe, parts: bool) -> dict[str, Recipe]:
    """The recipe of each arm: none, with, and the registered parts. Arms that are the same are one run under two names."""
    made = {NONE: base.without_augmentation(), WITH: base}
    if parts:
        made |= {part: base.changed(augment=plan.part(part, dataset).model_dump()) for part in plan.datasets[dataset].parts}
    return made


def _dataset(work: _Work, seeds: int, parts: bool, match: bool) -> DatasetRecord:
    claim, runs = work.plan.of(work.dataset.name), {}
    made = arms(work.plan, work.dataset.name, work.base, parts)
    # Of arms with one recipe the first gives its name to the runs.
    names = {arm: next(first for first, other in made.items() if other.hash == recipe.hash) for arm, recipe in made.items()}
    for seed in range(seeds):
        for arm, recipe in made.items():
            runs.setdefault(arm, []).append(work.run(names[arm], recipe, seed))
    outcomes = [o for o in (claim.primary, *claim.secondary) if match or o.subset != "accuracy matched"]
    values: dict[str, dict[str, tuple]] = {}
    for outcome in outcomes:
        contrasts = [arm for arm in made if arm != NONE] if outcome is claim.primary else [WITH]
        values[outcome.name] = {arm: tuple(_pair(work, made[arm], outcome, runs[NONE][seed], runs[arm][seed])
                                           for seed in range(seeds)) for arm in contrasts}
    return DatasetRecord(recipe=work.base, values=values,
                         runs={arm: tuple(run.record.key for run in found) for arm, found in runs.items()})


def _pair(work: _Work, recipe: Recipe, outcome: Outcome, without: Run, augmented: Run) -> tuple[float | None, float | None]:
    pair = (without, augmented)
    if outcome.subset == "accuracy matched":
        found = _matched(work, recipe, *pair)
        if found is None:
            return None, None
        pair = found
    return tuple(work.value(run, pair, outcome) for run in pair)


def _matched(work: _Work, recipe: Recipe, without: Run, augmented: Run) -> tuple[Run, Run] | None:
    """The pair, its more accurate side trained anew for fewer epochs until the accuracies match; None if none of four did.

    The range of epochs is halved towards the other side's accuracy: the first trial takes half of the recipe's epochs.
    """
    def accuracy(run: Run) -> float:
        return run.record.metrics.test_accuracy

    limit, seed = work.plan.pairs.accuracy_match, without.record.seed
    if abs(accuracy(without) - accuracy(augmented)) <= limit:
        return without, augmented
    better_is_augmented = accuracy(augmented) > accuracy(without)
    better, other = (recipe, without) if better_is_augmented else (recipe.without_augmentation(), augmented)
    low, high = 0.0, better.epochs
    for _ in range(_TRIALS):
        epochs = (low + high) / 2
        trial = better.changed(epochs=epochs, min_epochs=min(epochs, better.min_epochs))
        run = work.run(f"{WITH if better_is_augmented else NONE}-matched", trial, seed)
        if abs(accuracy(run) - accuracy(other)) <= limit:
            return (other, run) if better_is_augmented else (run, other)
        low, high = (epochs, high) if accuracy(run) < accuracy(other) else (low, epochs)
    return None


def verdicts(record: ClaimRecord) -> tuple[Verdicts, ...]:
    """The registered tests, a kind of claim each."""
    plan, found = record.preregistration, []
    for kind, claim in plan.claims.items():
        sets = {name: one for name, one in record.datasets.items() if plan.of(name) is claim}
        if not sets:
            continue
        primary = claim.primary
        tested = judge({name: differences(one, primary, WITH) for name, one in sets.items()}, primary.bound)
        secondary = {}
        for name, one in sets.items():
            outcomes = [o for o in claim.secondary if o.name in one.values]
            secondary[name] = judge({o.name: differences(one, o, WITH) for o in outcomes}, {o.name: o.bound for o in outcomes})
        parts = {f"{name}: {arm}": differences(one, primary, arm) for name, one in sets.items()
                 for arm in one.values[primary.name] if arm != WITH}
        found.append(Verdicts(kind, claim, tested, secondary, judge(parts, primary.bound)))
    return tuple(found)


def differences(one: DatasetRecord, outcome: Outcome, arm: str) -> list[float]:
    """Of the pairs that could be scored, positive where `arm` does better than none."""
    pairs = one.values[outcome.name][arm]
    return [outcome.difference(without, augmented) for without, augmented in pairs if None not in (without, augmented)]


def rows(found: Sequence[Verdicts]) -> list[dict[str, object]]:
    """One row a test, for tables: what was compared where, and what came out."""
    made = []
    for one in found:
        primary = [("primary", name, one.claim.primary.name, test) for name, test in one.primary.items()]
        secondary = [("secondary", name, outcome, test) for name, tests in one.secondary.items()
                     for outcome, test in tests.items()]
        parts = [("part", *name.split(": ", 1), test) for name, test in one.parts.items()]
        made += [_row(*entry) for entry in (*primary, *secondary, *parts)]
    return made


def _row(which: str, dataset: str, what: str, tested: Tested) -> Mapping[str, object]:
    return {"test": which, "data set": dataset, "what": what, "pairs": tested.n, "difference": tested.difference,
            "interval": tested.interval, "d": tested.effect_size, "superiority": tested.superiority, "p, Holm": tested.p_holm,
            "p, equivalent": tested.p_equivalence_holm, "verdict": tested.verdict}
