"""The whole test of a claim about paired arms, fixed before any run: from paired differences to a verdict.

A claim ("with augmentation it is higher") is tested on several data sets, its family. On each, two questions are put to
the differences of the pairs of seeds:

1. Is there a difference? Exact two-sided sign-flip test, p corrected by Holm for the tested family.
2. Is there none that matters? TOST by sign flips against bounds that were set beforehand, corrected likewise.

    not testable              too few pairs for the corrected test to reach the level, whatever they show
    equivalent within bounds  the difference was shown to lie within the bounds
    supported                 not so, and a difference in the direction of the claim was shown
    not supported             anything else, the opposite of the claim included

Equivalence comes first: a difference shown to be smaller than what matters supports nothing, however certain its sign.
Each question errs in at most 5 % of families (`benchmarks/claim_calibration.py` counts it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from speedcore.stats import descriptive, effects, intervals, tests
from speedcore.stats.intervals import Interval
from speedcore.stats.verdicts import Verdict


@dataclass(frozen=True)
class Tested:
    """One data set (or outcome) of a family. differences: one a pair, positive where the claim has it.

    p, p_holm: that there is no difference, by itself and corrected; p_equivalence, p_equivalence_holm: that the difference is
    as large as `bound` or larger. The corrected ones are None where nothing was tested, those of equivalence also without
    a bound, all of them without pairs.
    """

    differences: tuple[float, ...]
    bound: float | None
    verdict: Verdict
    p: float | None = None
    p_holm: float | None = None
    p_equivalence: float | None = None
    p_equivalence_holm: float | None = None

    @property
    def n(self) -> int:
        return len(self.differences)

    @property
    def difference(self) -> float | None:
        return descriptive.mean(self.differences) if self.n else None

    @cached_property
    def interval(self) -> Interval | None:
        """95 % interval of the mean difference over seeds, not corrected for the family; None for fewer than three pairs."""
        return intervals.mean_interval(self.differences)

    @property
    def effect_size(self) -> float | None:
        """d_z."""
        return effects.effect_size(self.differences)

    @property
    def superiority(self) -> float | None:
        """Share of pairs in favour of the claim, ties half."""
        return effects.superiority(self.differences) if self.n else None

    @property
    def opposite(self) -> bool:
        """Whether the contrary of the claim was shown."""
        return self.p_holm is not None and self.p_holm < tests.ALPHA and descriptive.mean(self.differences) < 0


def judge(family: Mapping[str, Sequence[float]], bound: float | Mapping[str, float] | None = None) -> dict[str, Tested]:
    """The verdict on each data set of a family: name -> differences of its pairs, in the direction of the claim.

    bound: half-width of what counts as no difference, in their unit, one for all or by name; None: equivalence is not tested.
    """
    bounds: Mapping[str, float | None] = bound if isinstance(bound, Mapping) else dict.fromkeys(family, bound)
    fewest = tests.testable_from([len(differences) for differences in family.values()])
    tested = [name for name, differences in family.items() if len(differences) >= fewest]
    ps = {name: tests.sign_flip_p(differences) for name, differences in family.items() if differences}
    equal = {name: tests.equivalence_p(family[name], half) for name in ps if (half := bounds[name]) is not None}
    holm, equal_holm = (dict(zip(tested, tests.holm([found[name] for name in tested]), strict=True)) if found else {}
                        for found in (ps, equal))
    return {name: Tested(tuple(differences), bounds[name], _verdict(differences, holm.get(name), equal_holm.get(name)),
                         ps.get(name), holm.get(name), equal.get(name), equal_holm.get(name))
            for name, differences in family.items()}


def _verdict(differences: Sequence[float], p: float | None, p_equivalence: float | None) -> Verdict:
    if p is None:
        return Verdict.NOT_TESTABLE
    if p_equivalence is not None and p_equivalence < tests.ALPHA:
        return Verdict.EQUIVALENT
    shown = p < tests.ALPHA and descriptive.mean(differences) > 0
    return Verdict.SUPPORTED if shown else Verdict.NOT_SUPPORTED


def reconciled(verdict: Verdict, interval: Interval | None, bound: float | None, opposite: bool = False) -> str:
    """Why interval and verdict seem to say different things, as a sentence; "" where they do not.

    opposite: whether the contrary of the claim was shown.
    """
    if interval is None:
        return ""
    holds_zero = interval.low <= 0 <= interval.high
    wider = "The test takes the differences to be symmetric about their mean; the interval allows for skewed ones, and "
    if holds_zero and (verdict is Verdict.SUPPORTED or opposite):
        return f"{wider}holds zero."
    if verdict is Verdict.EQUIVALENT and bound is not None and max(-interval.low, interval.high) > bound:
        return f"{wider}reaches past the bound."
    if verdict is Verdict.NOT_SUPPORTED and not (opposite or holds_zero):
        return "The interval leaves zero out, but is not corrected for the number of tests; the verdict is by the corrected p."
    return ""


def pairs_needed(family: Mapping[str, Sequence[float]]) -> int:
    """Pairs that each data set of the family that has any would need to be tested."""
    return tests.pairs_needed(max(1, sum(len(differences) > 0 for differences in family.values())))
