"""The claim, run as it was preregistered: none against the recipe's augmentation, and against each of its parts.

Every arm of a seed is a whole run of the same recipe but for its augmentation: the same initial weights, order of images and
number of steps. What decides the claim comes first: the pairs (none, with), seeds outermost, so that whatever time allows is
balanced over the data sets; then checkpoints of equal accuracy; then the parts of the augmentation by themselves. Runs are
stored like all runs, outcomes beside them; what exists is reused, and after each seed the result is put together again.

    RUNS/studies/claim-…/result.json   which runs, and each outcome of each (`ClaimRecord`); verdicts follow from it alone
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from explain.claim.preregistration import Outcome, Preregistration
from explain.claim.verdicts import NONE, WITH, ClaimRecord, DatasetRecord, Pair, Pairs
from explain.models import ExplainError
from explain.studies.measuring import nulls, value
from speedcore import recipes
from speedcore.clock import Stopwatch
from speedcore.data.dataset import Dataset
from speedcore.machine import provenance
from speedcore.machine.device import resolve
from speedcore.planning.run import whole_key, whole_run
from speedcore.recipe import Recipe, TTAConfig
from speedcore.store.runs import Run, RunStore
from speedcore.studies import records
from speedcore.training.callback import Callback

T = TypeVar("T")

MATCHED = "matched"
TRIALS = 4  # halvings of the epochs' range in the search for a checkpoint of equal accuracy


class Study(NamedTuple):
    """The record, where it lies, and what was left out for want of time, in sentences."""

    record: ClaimRecord
    path: Path
    left_out: tuple[str, ...]


def study(plan: Preregistration, datasets: Sequence[Dataset], store: RunStore, recipe: str | Mapping[str, str] = "sprint",
          epochs: float | Mapping[str, float] | None = None, seeds: int | None = None, parts: bool | Sequence[str] = True,
          match: bool = True, device: str = "auto", images_per_class: int = 100, callback: Callback | None = None,
          seconds_left: Callable[[], float] = lambda: float("inf")) -> Study:
    """Train what is missing, measure every registered outcome, and keep the result.

    recipe, epochs: one for all, or by data set (one that is not named takes "sprint", and the recipe's own epochs). seeds: None
    takes as many pairs as are registered. parts: also each part of the augmentation by itself, or those named, in that order.
    match: also the outcomes on checkpoints of equal accuracy, which take up to four more runs a pair. seconds_left: asked before
    each pair, match and part; what no longer fits is left out, except a data set's first pair. What an earlier call measured
    stays on record. Raises ExplainError for a data set that is not registered, for a part that is not, and for a recipe that
    augments nothing.
    """
    chosen, device = bases(plan, datasets, recipe, epochs), str(resolve(device))
    works = [_Work(plan, dataset, chosen[dataset.name], store, device, images_per_class, callback, parts) for dataset in datasets]
    asked = [plan.model_dump(mode="json"), images_per_class, torch.device(device).type, torch.get_num_threads(),
             {w.dataset.name: [w.dataset.fingerprint, w.base.hash] for w in works}]
    path = records.folder(store, "claim", asked)
    existing = records.read(path, ClaimRecord)
    before = existing.datasets if existing else {}
    count = seeds or plan.pairs.planned

    def keep() -> ClaimRecord:
        found = {w.dataset.name: w.record(before.get(w.dataset.name)) for w in works}
        record = ClaimRecord(preregistration=plan, images_per_class=images_per_class, device=torch.device(device).type,
                             datasets=found, provenance=provenance.collect(device))
        records.write(path, record)
        return record

    record = None
    for stage in _stages(match):
        for seed in range(count):
            if any([work.do(what, seed, seconds_left) for work in works for what in stage(work)]):
                record = keep()
    return Study(record or keep(), path / "result.json", tuple(
        f"{work.dataset.name}: {done} of {count} {_pairs(what)} stand; the others were left out because the time ran out, and "
        f"the same command continues." for work in works for what, done in work.stopped.items()))


def _pairs(what: str) -> str:
    return {WITH: "pairs", MATCHED: "matched pairs"}.get(what, f"pairs of the part '{what}'")


def _stages(match: bool) -> list[Callable[[_Work], Sequence[str]]]:
    """What is done in turn, each for all seeds and data sets before the next begins."""
    stages = [lambda work: (WITH,), lambda work: (MATCHED,) if work.matched else (), lambda work: work.parts]
    return stages if match else [stages[0], stages[2]]


def bases(plan: Preregistration, datasets: Sequence[Dataset], recipe: str | Mapping[str, str],
          epochs: float | Mapping[str, float] | None) -> dict[str, Recipe]:
    """The recipe of each data set, augmented, for its epochs."""
    names = [dataset.name for dataset in datasets]
    missing = [name for name in names if plan.of(name) is None]
    if missing or not datasets:
        raise ExplainError(f"{', '.join(missing) or 'no data set'} is not in the preregistration, which has "
                           f"{', '.join(plan.datasets)}; what it does not name cannot be claimed.")
    made = {}
    for name in names:
        base = recipes.get(recipe if isinstance(recipe, str) else recipe.get(name, "sprint"), name).changed(tta=TTAConfig())
        wanted = epochs.get(name) if isinstance(epochs, Mapping) else epochs
        if wanted is not None:
            base = base.changed(epochs=wanted, min_epochs=min(wanted, base.min_epochs))
        if not base.augment.any:
            raise ExplainError(f"recipe '{base.name}' augments nothing on {name}, so its two arms are one; choose one that does, "
                               f"such as sprint or record.")
        made[name] = base
    return made


def arms(plan: Preregistration, dataset: str, base: Recipe, parts: bool | Sequence[str] = True) -> dict[str, Recipe]:
    """The recipe of each arm: none, with, and the registered parts. Arms that are the same are one run under two names."""
    registered = plan.datasets[dataset].parts
    chosen = tuple(registered if parts is True else parts or ())
    if wrong := [part for part in chosen if part not in plan.parts or part == NONE]:
        raise ExplainError(f"'{wrong[0]}' is no registered part of the augmentation; there are "
                           f"{', '.join(part for part in plan.parts if part != NONE)}.")
    made = {NONE: base.without_augmentation(), WITH: base}
    # A part that does not fit a data set (flips of digits) is passed over there.
    return made | {part: base.changed(augment=plan.part(part, dataset).model_dump()) for part in chosen if part in registered}


@dataclass
class _Work:
    """One data set in the making: its arms, and what was measured of them so far. stopped: what -> how many stand, for what
    time ran out for."""

    plan: Preregistration
    dataset: Dataset
    base: Recipe
    store: RunStore
    device: str
    images_per_class: int
    callback: Callback | None
    wanted: bool | Sequence[str] = True
    runs: dict[str, list[Run]] = field(default_factory=dict)
    values: dict[str, dict[str, list[Pair]]] = field(default_factory=dict)
    nulls: dict[str, dict[str, list[Pair]]] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.arms = arms(self.plan, self.dataset.name, self.base, self.wanted)
        self.claim = self.plan.claim(self.plan.datasets[self.dataset.name].claim)
        self.parts = [arm for arm in self.arms if arm not in (NONE, WITH)]
        self.matched = [o for o in self.claim.secondary if o.subset == "accuracy matched"]

    def do(self, what: str, seed: int, seconds_left: Callable[[], float]) -> bool:
        """One seed of the pair (none, with), of its match, or of a part; False if time ran out for it or for its pair."""
        if what in self.stopped or seed >= len(self.runs.get(WITH, ())) and what != WITH:
            return False
        if not self._stands(what, seed) and (seed > 0 or what != WITH) and seconds_left() < self._estimate(what):
            self.stopped[what] = seed
            return False
        watch = Stopwatch()
        fresh = not self._stands(what, seed)
        if what == WITH:
            self._pair(seed)
        elif what == MATCHED:
            self._match(seed)
        else:
            self._part(what, seed)
        if fresh:
            self.seconds[what] = watch.seconds()
        return True

    def record(self, before: DatasetRecord | None) -> DatasetRecord:
        """What exists now; where an earlier record has more pairs, those."""
        found = DatasetRecord(recipe=self.base, values=_frozen(self.values), nulls=_frozen(self.nulls),
                              runs={arm: tuple(run.record.key for run in runs) for arm, runs in self.runs.items()},
                              accuracies={arm: tuple(map(_accuracy, runs)) for arm, runs in self.runs.items()})
        if before is None:
            return found
        return DatasetRecord(recipe=self.base, runs=_longer(found.runs, before.runs),
                             accuracies=_longer(found.accuracies, before.accuracies),
                             values=_longer_each(found.values, before.values), nulls=_longer_each(found.nulls, before.nulls))

    # --- one seed ------------------------------------------------------------------------------------------------------

    def _pair(self, seed: int) -> None:
        pair = self._run(NONE, seed), self._run(WITH, seed)
        for outcome in (self.claim.primary, *(o for o in self.claim.secondary if o not in self.matched)):
            self._measure(outcome, WITH, pair)
            found = [nulls(run, pair, self.dataset, outcome, self.store, self.device, self.images_per_class) for run in pair]
            for control in found[0]:
                self.nulls.setdefault(outcome.name, {}).setdefault(control, []).append((found[0][control], found[1][control]))

    def _match(self, seed: int) -> None:
        pair = self._equally_accurate(self.runs[NONE][seed], self.runs[WITH][seed])
        for outcome in self.matched:
            self._measure(outcome, WITH, pair)

    def _part(self, arm: str, seed: int) -> None:
        self._measure(self.claim.primary, arm, (self.runs[NONE][seed], self._run(arm, seed)))

    def _measure(self, outcome: Outcome, arm: str, pair: tuple[Run, Run] | None) -> None:
        found: Pair = None, None
        if pair is not None:
            without, augmented = (value(run, pair, self.dataset, outcome, self.store, self.device, self.images_per_class)
                                  for run in pair)
            found = without, augmented
        self.values.setdefault(outcome.name, {}).setdefault(arm, []).append(found)

    def _run(self, arm: str, seed: int) -> Run:
        run = self._trained(self._name(arm), self.arms[arm], seed)
        self.runs.setdefault(arm, []).append(run)
        return run

    def _trained(self, name: str, recipe: Recipe, seed: int) -> Run:
        return whole_run(self.dataset, recipe, name, seed, self.store, self.device, self.callback)

    def _name(self, arm: str) -> str:
        """Of arms with one recipe the first gives its name to the runs."""
        return next(first for first, other in self.arms.items() if other.hash == self.arms[arm].hash)

    def _equally_accurate(self, without: Run, augmented: Run) -> tuple[Run, Run] | None:
        """The pair, its more accurate side trained again for fewer epochs until the accuracies match; None if none of four did.

        The range of epochs is halved towards the other side's accuracy: the first trial takes half of the recipe's epochs.
        """
        limit, seed = self.plan.pairs.accuracy_match, without.record.seed
        if abs(_accuracy(without) - _accuracy(augmented)) <= limit:
            return without, augmented
        arm, other = (WITH, without) if _accuracy(augmented) > _accuracy(without) else (NONE, augmented)
        low, high = 0.0, self.arms[arm].epochs
        for _ in range(TRIALS):
            epochs = (low + high) / 2
            trial = self.arms[arm].changed(epochs=epochs, min_epochs=min(epochs, self.arms[arm].min_epochs))
            run = self._trained(f"{arm}-matched", trial, seed)
            if abs(_accuracy(run) - _accuracy(other)) <= limit:
                return (other, run) if arm == WITH else (run, other)
            low, high = (epochs, high) if _accuracy(run) < _accuracy(other) else (low, epochs)
        return None

    # --- time ----------------------------------------------------------------------------------------------------------

    def _stands(self, what: str, seed: int) -> bool:
        """Whether its runs need no training; what is then left to do takes seconds. Of a match nobody knows beforehand."""
        wanted = {WITH: (NONE, WITH), MATCHED: ()}.get(what, (what,))
        keys = [whole_key(self.dataset, self.arms[arm], self._name(arm), seed, self.device) for arm in wanted]
        return what != MATCHED and all(self.store.path_of(key).exists() for key in keys)

    def _estimate(self, what: str) -> float:
        """Seconds that one more seed will take: as many as the last, or what the ledgers of the runs that stand say."""
        if what in self.seconds:
            return self.seconds[what]
        runs = [runs[-1] for arm in (NONE, WITH) if (runs := self.runs.get(arm))]
        pair = sum(seconds for run in runs for phase, seconds in run.record.ledger.items() if phase not in ("provision", "load"))
        return pair if what in (WITH, MATCHED) else pair / 2


def _frozen(values: Mapping[str, Mapping[str, Sequence[Pair]]]) -> dict[str, dict[str, Pairs]]:
    return {name: {key: tuple(pairs) for key, pairs in of.items()} for name, of in values.items()}


def _longer(mine: Mapping[str, tuple[T, ...]], theirs: Mapping[str, tuple[T, ...]]) -> dict[str, tuple[T, ...]]:
    """Of each key the one with more in it, mine where they are as long."""
    return {key: max(mine.get(key, ()), theirs.get(key, ()), key=len) for key in {**mine, **theirs}}


def _longer_each(mine: Mapping[str, dict[str, Pairs]], theirs: Mapping[str, dict[str, Pairs]]) -> dict[str, dict[str, Pairs]]:
    return {key: _longer(mine.get(key, {}), theirs.get(key, {})) for key in {**mine, **theirs}}


def _accuracy(run: Run) -> float:
    return run.record.plain_accuracy
