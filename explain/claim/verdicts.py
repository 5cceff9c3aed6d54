"""What a study of the claim left on disk, and what follows from it: tests, families, verdicts. No network is run here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from explain.claim.preregistration import Claim, Kind, Outcome, Preregistration
from speedcore.recipe import Frozen, Recipe
from speedcore.stats.claims import Tested, judge
from speedcore.store.fields import Name, Share
from speedcore.store.runs import RunStore
from speedcore.studies import records

NONE, WITH = "none", "with"

Pair = tuple[float | None, float | None]
Pairs = tuple[Pair, ...]


class DatasetRecord(Frozen):
    """One data set. Everything a pair is in order of the seeds, from 0 on.

    runs: keys by arm. accuracies: on the plain test images (shares of 1), by arm. values: outcome -> contrast (an arm) ->
    pairs (none, arm), None where a side could not be scored or matched. nulls: outcome -> null control -> the pairs of the
    contrast "with", had the maps been those of the control (`explain.metrics.CONTROLS`).
    """

    recipe: Recipe
    runs: dict[str, tuple[Name, ...]]
    accuracies: dict[str, tuple[Share, ...]] = {}
    values: dict[str, dict[str, Pairs]]
    nulls: dict[str, dict[str, Pairs]] = {}

    def pairs(self, outcome: Outcome, arm: str = WITH) -> int:
        """How many stand."""
        return len(self.values.get(outcome.name, {}).get(arm, ()))


class ClaimRecord(Frozen):
    """result.json."""

    version: Literal[1] = 1
    preregistration: Preregistration
    images_per_class: int
    device: str
    datasets: dict[str, DatasetRecord]
    provenance: dict[str, Any]

    @property
    def planned(self) -> bool:
        """Whether the primary outcome stands for as many pairs as are registered, on every data set; else its verdicts are
        exploratory."""
        plan = self.preregistration
        return all((claim := plan.of(name)) is not None and one.pairs(claim.primary) == plan.pairs.planned
                   for name, one in self.datasets.items())


@dataclass(frozen=True)
class ClaimTests:
    """What the record says. primary: data set -> test of the claim. secondary: data set -> outcome -> test, corrected within
    the data set. parts: "data set: part" -> test of the primary outcome, corrected over all of them."""

    kind: Kind
    claim: Claim
    primary: dict[str, Tested]
    secondary: dict[str, dict[str, Tested]]
    parts: dict[str, Tested]


def verdicts(record: ClaimRecord) -> tuple[ClaimTests, ...]:
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
                 for arm in one.values.get(primary.name, {}) if arm != WITH}
        found.append(ClaimTests(kind, claim, tested, secondary, judge(parts, primary.bound)))
    return tuple(found)


def differences(one: DatasetRecord, outcome: Outcome, arm: str) -> list[float]:
    """Of the pairs that could be scored, positive where `arm` does better than none."""
    return _differences(one.values.get(outcome.name, {}).get(arm, ()), outcome)


def null_differences(one: DatasetRecord, outcome: Outcome) -> dict[str, list[float]]:
    """The same of each null control: what the arms differ by in maps that know nothing of the image, or of its class."""
    return {control: _differences(pairs, outcome) for control, pairs in one.nulls.get(outcome.name, {}).items()}


def _differences(pairs: Pairs, outcome: Outcome) -> list[float]:
    return [outcome.difference(without, augmented) for without, augmented in pairs
            if without is not None and augmented is not None]


def rows(found: Sequence[ClaimTests]) -> list[dict[str, object]]:
    """One row a test, for tables: what was compared where, and what came out."""
    return [_row(*entry) for one in found for entry in entries(one)]


def entries(one: ClaimTests) -> Iterator[tuple[str, str, str, Tested]]:
    """(which, data set, outcome or part, test) of each registered test; which: "primary", "secondary" or "part"."""
    yield from (("primary", name, one.claim.primary.name, test) for name, test in one.primary.items())
    yield from (("secondary", name, outcome, test) for name, tests in one.secondary.items() for outcome, test in tests.items())
    for key, test in one.parts.items():
        dataset, part = key.split(": ", 1)
        yield "part", dataset, part, test


def _row(which: str, dataset: str, what: str, tested: Tested) -> dict[str, object]:
    return {"test": which, "data set": dataset, "what": what, "pairs": tested.n, "difference": tested.difference,
            "interval": tested.interval, "d": tested.effect_size, "superiority": tested.superiority, "p, Holm": tested.p_holm,
            "p, equivalent": tested.p_equivalence_holm, "verdict": tested.verdict}


def load_all(store: RunStore) -> Iterator[ClaimRecord]:
    """The studies beside the runs, in the order of their names; not those that another one contains whole."""
    found = list(records.looked_at(store, "claim-*", ClaimRecord))
    for i, record in enumerate(found):
        if not any(_contains(other, record) and not (_contains(record, other) and j > i)
                   for j, other in enumerate(found) if j != i):
            yield record


def _contains(record: ClaimRecord, other: ClaimRecord) -> bool:
    """Whether every run and every value of `other` is one of `record`'s."""
    def rule(one: ClaimRecord) -> tuple[object, ...]:
        return one.preregistration, one.images_per_class, one.device

    return (rule(record) == rule(other) and other.datasets.keys() <= record.datasets.keys()
            and all(_within(one, record.datasets[name]) for name, one in other.datasets.items()))


def _within(small: DatasetRecord, large: DatasetRecord) -> bool:
    return (all(keys == large.runs.get(arm, ())[:len(keys)] for arm, keys in small.runs.items())
            and all(len(pairs) <= len(large.values.get(outcome, {}).get(arm, ()))
                    for outcome, arms in small.values.items() for arm, pairs in arms.items()))
