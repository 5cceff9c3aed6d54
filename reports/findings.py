"""From numbers to verdicts: the claims that the report tests, fixed before any run, one pair of arms a seed.

What is claimed of heatmaps, and the outcome that decides it, are those of `explain/claim/preregistration.toml`; the test is
`speedcore.stats.claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from explain.claim.outcomes import both_right, normalised_mass
from explain.claim.preregistration import preregistration
from reports.renderers import formats as f
from reports.results import DatasetResults, Pair, Results
from speedcore import stats
from speedcore.stats import Interval, Verdict
from speedcore.stats import claims as procedure
from speedcore.store.runs import Run

if TYPE_CHECKING:
    from explain.artefact import Explanation

ACCURACY = "Augmentation raises accuracy on plain test images, at equal training"


@dataclass(frozen=True)
class Claim:
    """A claim on one data set and what the runs say of it.

    differences: with − without, a value a seed, as shares of 1. p: two-sided, exact; p_holm: corrected for all data sets
    on which the same claim is tested, and what the verdict is by. bound: a difference below it does not matter, and
    p_equivalence: of the test that it is not below, corrected likewise (None: not tested). caveats: what weakens this
    test. needed: pairs that would have made it a test. reason: why there is nothing to test.
    """

    kind: Literal["accuracy", "attention"]
    dataset: str
    title: str
    text: str
    without: tuple[float, ...] = ()
    augmented: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    interval: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    bound: float | None = None
    p_equivalence: float | None = None
    verdict: Verdict = Verdict.NOT_TESTABLE
    needed: int = stats.FEWEST_PAIRS
    reason: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[float, ...]:
        return tuple(b - a for a, b in zip(self.without, self.augmented, strict=True))

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def difference(self) -> float | None:
        return stats.mean(self.differences) if self.n else None


def claims(results: Results) -> tuple[Claim, ...]:
    """All claims of a report: each kind on each data set, verdicts corrected within the kind."""
    made = [_accuracy(one) for one in results.sets] + [_attention(one) for one in results.sets]
    return tuple(_judged(made))


def _accuracy(one: DatasetResults) -> Claim:
    claim = Claim("accuracy", one.name, one.title, ACCURACY)
    caveats = []
    unequal = [pair for pair in one.pairs if not pair.equal_steps]
    if unequal:
        caveats.append(f"in {len(unequal)} of {f.plural(len(one.pairs), 'pair')} the two arms did not take the same "
                       f"number of steps, because the time ran out at different ones")
    return _with_pairs(replace(claim, caveats=tuple(caveats)), one.pairs, lambda run: run.record.plain_accuracy,
                       "no seed was trained in both arms")


def _attention(one: DatasetResults) -> Claim:
    registered = preregistration()
    logical = registered.claim("logical")
    claim = Claim("attention", one.name, one.title, logical.text, bound=logical.primary.bound)
    if not one.explanations:
        return replace(claim, reason="no heatmaps were made")
    if all(e.record.foreground is None for e in one.explanations.values()):
        return replace(claim, reason="this data set has no object masks, so nothing says which section is the logical "
                                     "one")
    masses = {key: mass for key, e in one.explanations.items()
              if (mass := normalised_mass(e, logical.primary)) is not None}
    pairs = [pair for pair in one.pairs if all(run.record.key in masses for run in pair.runs)]
    caveats = (*_controls(one.explanations.values()), *_robustness(one, pairs))
    if registered.of(one.name) is not logical:
        caveats += ("this data set is not in the preregistration, so its test is exploratory",)
    elif len(pairs) != registered.pairs.planned:
        caveats += (f"{registered.pairs.planned} pairs were preregistered, this report has {len(pairs)}",)
    claim = replace(claim, caveats=caveats)
    return _with_pairs(claim, pairs, lambda run: masses[run.record.key], "no seed has usable heatmaps in both arms")


def _robustness(one: DatasetResults, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """The same difference on the images that both arms of a pair get right: there accuracy cannot be what differs."""
    primary, differences = preregistration().claim("logical").primary, []
    for pair in pairs:
        without, augmented = (one.explanations[run.record.key] for run in pair.runs)
        if without.arrays["measured_index"].tolist() != augmented.arrays["measured_index"].tolist():
            return ()
        rows = both_right(without, pair.runs)
        first, second = (normalised_mass(e, primary, rows) for e in (without, augmented))
        if first is not None and second is not None:
            differences.append(primary.difference(first, second))
    if not differences:
        return ()
    interval = stats.mean_interval(differences)
    said = f", 95{f.NBSP}% interval {f.bounds(interval.low, interval.high, scale=100, sign=True)}" if interval else ""
    return (f"on the images that both arms get right the difference is {f.points(stats.mean(differences))} points"
            f"{said}",)


def _controls(explanations: Iterable[Explanation]) -> tuple[str, ...]:
    """What maps that know nothing of the answer score at the same layer: the measure against which a score is read."""
    names = {"wrong_class": "maps of a wrong class", "untrained": "maps of untrained networks",
             "gaussian": "a blob in the middle"}
    primary = preregistration().claim("logical").primary
    layers = [layer for e in explanations if (layer := e.record.layers.get(primary.layer))]
    means = {said: stats.mean(values) for kind, said in names.items()
             if (values := [s.score for layer in layers if (s := layer.controls.get(kind)) and s.score is not None])}
    if not means:
        return ()
    return (f"at this layer {', '.join(f'{said} score {value:.2f}' for said, value in means.items())} "
            f"(0 is an even map, 1 the best possible), so the difference says little of how good either arm's maps are",)


def _with_pairs(claim: Claim, pairs: Sequence[Pair], value: Callable[[Run], float], reason: str) -> Claim:
    if not pairs:
        return replace(claim, reason=reason)
    return replace(claim, without=tuple(value(p.without) for p in pairs),
                   augmented=tuple(value(p.augmented) for p in pairs),
                   seeds=tuple(p.seed for p in pairs))


def _judged(made: Sequence[Claim]) -> list[Claim]:
    """Intervals, p and verdicts, corrected within each kind of claim."""
    judged = []
    for kind in dict.fromkeys(claim.kind for claim in made):
        of_kind = [claim for claim in made if claim.kind == kind]
        family = {claim.dataset: claim.differences for claim in of_kind}
        tested, needed = procedure.judge(family, of_kind[0].bound), procedure.pairs_needed(family)
        for claim in of_kind:
            t = tested[claim.dataset]
            judged.append(replace(claim, interval=t.interval, p=t.p, p_holm=t.p_holm, p_equivalence=t.p_equivalence_holm,
                                  verdict=t.verdict, needed=needed))
    return judged


def sentence(claim: Claim) -> str:
    """The verdict in plain words, e.g. "On MNIST, test accuracy was 0.21 points higher with augmentation (…): …"."""
    difference = claim.difference
    if difference is None:
        return f"{claim.title}: left out, because {claim.reason}."
    seen = f"On {claim.title}, {_change(claim, difference)} ({_evidence(claim)})"
    opposite = claim.p_holm is not None and claim.p_holm < stats.ALPHA and difference < 0
    return " ".join(filter(None, (f"{seen}{_conclusion(claim, opposite)}",
                                  procedure.reconciled(claim.verdict, claim.interval, claim.bound, opposite))))


def _conclusion(claim: Claim, opposite: bool) -> str:
    if claim.verdict == "supported":
        return ": the claim is supported."
    if claim.verdict == "not testable":
        return (f". {_few(claim.n)} cannot settle the claim: the smallest p of {claim.n} is "
                f"{stats.smallest_p(claim.n):.2g} before any correction; {claim.needed} are needed.")
    if claim.bound is not None and claim.p_equivalence is not None and claim.verdict == "equivalent within bounds":
        return (f": whatever its sign, the difference is smaller than the {f.decimal(100 * claim.bound, 0)} points that "
                f"would matter (equivalence, {f.p_value(claim.p_equivalence)}).")
    return ": " + ("the runs show the opposite of the claim." if opposite
                   else "the runs do not support the claim.")


def _change(claim: Claim, difference: float) -> str:
    size = f"{f.decimal(abs(100 * difference))} points"
    if claim.kind == "accuracy":
        if difference == 0:
            return "test accuracy was the same with and without augmentation"
        return f"test accuracy was {size} {'higher' if difference > 0 else 'lower'} with augmentation"
    if difference == 0:
        return "the maps lay as much on the object with as without augmentation"
    return f"{size} {'more' if difference > 0 else 'less'} of the maps’ normalised mass lay on the object with augmentation"


def _few(n: int) -> str:
    return "One pair of seeds" if n == 1 else f"{n} pairs of seeds"


def _evidence(claim: Claim) -> str:
    parts = [f"mean of {f.plural(claim.n, 'paired seed')}"]
    if claim.interval:
        parts.append(f"95{f.NBSP}% interval {f.bounds(claim.interval.low, claim.interval.high, scale=100, sign=True)}")
    if claim.p_holm is not None:
        parts.append(f.p_value(claim.p_holm) + ("" if claim.p_holm == claim.p else " after Holm’s correction"))
    return ", ".join(parts)
