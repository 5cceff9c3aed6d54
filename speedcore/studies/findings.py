"""Is a source's finding seen in runs of our own? One rule for all studies, computed from one number a seed.

*seen* where the 95 % interval over seeds lies wholly where the source's finding has it, *contradicted* where it lies wholly where
the finding does not, *cannot tell* otherwise, and always with a single seed. From six seeds on the exact sign-flip test of
`speedcore.stats.claims` stands beside it, corrected by Holm for the findings of one study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from speedcore import stats
from speedcore.stats import Verdict, by_interval, claims
from speedcore.stats.claims import Tested
from speedcore.stats.numbers import signed

RULE = ("seen: the 95 % interval over seeds lies wholly where the source’s finding has it; contradicted: wholly where it does "
        "not; cannot tell: neither, or fewer than three seeds")


@dataclass(frozen=True)
class Question:
    """A source's finding, and one number a seed that decides it.

    says: the finding in a few words. measure: what the numbers are, in words that end in their unit. numbers: positive where
    the finding has it; with a bound, the finding is that there is no difference, and holds where they lie within ±bound.
    digits: after the decimal point.
    """

    says: str
    measure: str
    numbers: tuple[float, ...]
    bound: float | None = None
    digits: int = 3


@dataclass(frozen=True)
class Finding:
    """A question and its answer."""

    question: Question
    tested: Tested

    @property
    def verdict(self) -> Verdict:
        bound = self.question.bound
        low, high = (0.0, math.inf) if bound is None else (-bound, bound)
        return by_interval(self.tested.interval, Verdict.SEEN, Verdict.CONTRADICTED, low, high)

    @property
    def sentence(self) -> str:
        """The verdict, the finding, the number with its interval and its test."""
        q, t = self.question, self.tested
        difference = t.difference
        if difference is None:
            return f"Cannot tell whether {q.says}: no seed has all the runs that this takes."
        low, high = (signed(bound, q.digits) for bound in (t.interval.low, t.interval.high)) if t.interval else ("", "")
        between = f", 95 % interval {low} to {high}" if t.interval else ""
        within = "" if q.bound is None else f"; within ±{q.bound:g} counts as none"
        measure = q.measure[:1].upper() + q.measure[1:]
        return (f"{self.verdict.capitalize()}: {q.says}. {measure}: {signed(difference, q.digits)}{between}, "
                f"{t.n} {'seed' if t.n == 1 else 'seeds'}{within}; {self._test}.")

    @property
    def _test(self) -> str:
        p = self.tested.p_holm if self.question.bound is None else self.tested.p_equivalence_holm
        if p is None:
            return f"too few seeds for an exact test, which needs {stats.pairs_needed()}"
        return f"exact sign-flip test p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"


def answer(questions: Sequence[Question]) -> tuple[Finding, ...]:
    """The answers, in the order of the questions: differences are one family of tests, equalities another."""
    tested: dict[Question, Tested] = {}
    for family in ([q for q in questions if q.bound is None], [q for q in questions if q.bound is not None]):
        if family:
            bounds = {str(i): q.bound for i, q in enumerate(family) if q.bound is not None}
            judged = claims.judge({str(i): q.numbers for i, q in enumerate(family)}, bounds or None)
            tested |= {q: judged[str(i)] for i, q in enumerate(family)}
    return tuple(Finding(q, tested[q]) for q in questions)
