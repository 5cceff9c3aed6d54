"""What a ladder that was run shows: rung by rung the figures, the change against its base, a verdict, a sentence.

The unit is the training seed; two rungs are compared seed by seed, by the rule of `speedcore.ladders.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from speedcore import stats
from speedcore.clock import POLICIES, SOURCE_POLICIES, ClockPolicy
from speedcore.ladders.changes import Change, of_accuracy, of_time
from speedcore.ladders.scale import Scale
from speedcore.recipe.ladder import Ladder, Reported, Rung
from speedcore.stats import Interval
from speedcore.stats.numbers import signed
from speedcore.store.runs import Run
from speedcore.training import health

REPRODUCTION = ("reproduced: the mean lies within two of the source's standard deviations of the source's mean (where it states "
                "none, within two of those within our rungs), or reaches what the source claims to reach where that is no figure")


@dataclass(frozen=True)
class RungFinding:
    """One row. accuracies and seconds: one value a run; clocks: mean seconds by rule; against: the rung compared with.

    reproduced: None where nothing can be compared; why says on what grounds.
    """

    rung: Rung
    accuracies: tuple[float, ...]
    seconds: tuple[float, ...]
    epochs: float
    clocks: dict[str, float]
    against: str | None
    accuracy: Change | None
    time: Change | None
    peeked: bool
    reproduced: bool | None
    why: str
    sentence: str

    @property
    def mean(self) -> float:
        return stats.mean(self.accuracies)

    @property
    def sd(self) -> float | None:
        return stats.sd(self.accuracies)

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean accuracy."""
        return stats.mean_interval(self.accuracies, (0.0, 1.0))


@dataclass(frozen=True)
class LadderResult:
    """A ladder that was run: rung by rung its runs, seeds 0, 1, ...; left_out: what had to wait, in sentences."""

    ladder: Ladder
    scale: Scale
    runs: dict[str, tuple[Run, ...]]
    left_out: tuple[str, ...] = ()

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs that have runs, from the base up."""
        return tuple(rung for rung in self.ladder.steps if self.runs.get(rung.name))

    @property
    def clocks(self) -> dict[str, ClockPolicy]:
        """The rules that a table of this ladder shows, the ladder's own first."""
        known = POLICIES | SOURCE_POLICIES
        own = self.ladder.clock
        return {own: known[own]} | {name: policy for name, policy in POLICIES.items() if name != own}

    @cached_property
    def findings(self) -> tuple[RungFinding, ...]:
        """One finding a rung that has runs, from the base up."""
        return _findings(self)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Runs that did no better than a constant prediction, or that lie apart from the others of their rung, as sentences."""
        return tuple(f"Rung {rung.name}: {said}." for rung in self.rungs
                     for said in health.remarks(self.runs[rung.name], [run.record.accuracy for run in self.runs[rung.name]]))


def _findings(result: LadderResult) -> tuple[RungFinding, ...]:
    clocks = result.clocks
    found: list[RungFinding] = []
    by_name: dict[str | None, RungFinding] = {}
    for rung in result.rungs:
        runs = result.runs[rung.name]
        base = result.ladder.nearest(rung, result.rungs)
        other = result.runs[base.name] if base else ()
        own = clocks[result.ladder.clock]
        pairs = _pairs(other, runs)
        accuracy = of_accuracy([(a.record.accuracy, b.record.accuracy) for a, b in pairs])
        time = of_time([(own.seconds(a.record.ledger), own.seconds(b.record.ledger)) for a, b in pairs])
        accuracies = tuple(run.record.accuracy for run in runs)
        reproduced, why = _reproduced(rung.reported, accuracies, result)
        peeked = any(run.record.peeked for run in runs)
        told = rung.model_copy(update={"what": result.ladder.what(rung)})
        finding = RungFinding(
            told, accuracies, tuple(own.seconds(run.record.ledger) for run in runs),
            stats.mean([run.record.epochs for run in runs]),
            {name: stats.mean([policy.seconds(run.record.ledger) for run in runs]) for name, policy in clocks.items()},
            base.name if base else None, accuracy, time, peeked, reproduced, why, "")
        sentence = _sentence(finding, by_name.get(finding.against))
        by_name[rung.name] = finding = RungFinding(**{**vars(finding), "sentence": sentence})
        found.append(finding)
    return tuple(found)


def _pairs(base: Sequence[Run], runs: Sequence[Run]) -> list[tuple[Run, Run]]:
    by_seed = {run.record.seed: run for run in base}
    return [(by_seed[run.record.seed], run) for run in runs if run.record.seed in by_seed]


def _reproduced(reported: Reported, accuracies: Sequence[float], result: LadderResult) -> tuple[bool | None, str]:
    data = next(run for runs in result.runs.values() for run in runs).record.data
    if not result.scale.whole:
        return None, "not compared: the source's scale is another"
    if data.name != result.ladder.dataset:
        return None, f"not compared: the source's data set is {result.ladder.dataset}"
    if not data.official:
        return None, "not compared: these are not the official files"
    mean, spread = stats.mean(accuracies), reported.spread
    if reported.mean is None:
        if reported.at_least is None:
            return None, "not compared: the source gives no accuracy"
        return mean >= reported.at_least, f"the source claims at least {100 * reported.at_least:.4g} %"
    whose = "the source's"
    if spread is None:
        # Of all rungs: three runs of one alone may lie closer together than the next three will.
        spread = stats.pooled_sd([run.record.accuracy for run in runs] for runs in result.runs.values())
        whose = "our rungs'"
    if spread is None:
        return None, "not compared: the source gives no spread, and no rung of ours has two runs"
    away = mean - reported.mean
    return abs(away) <= 2 * spread, (f"{signed(100 * away)} points from the source's {100 * reported.mean:.2f} %, where two of "
                                     f"{whose} standard deviations are {200 * spread:.2f}")


def _sentence(finding: RungFinding, base: RungFinding | None) -> str:
    """What was found on one rung, in words."""
    rung, parts = finding.rung, []
    if base is None or finding.accuracy is None or finding.time is None:
        seconds = stats.mean(finding.seconds)
        parts.append(f"Rung {rung.name} ({rung.what}) reaches {100 * finding.mean:.2f} % in {_seconds(seconds)}"
                     if rung.what else f"Rung {rung.name} reaches {100 * finding.mean:.2f} % in {_seconds(seconds)}")
    else:
        time, accuracy = finding.time, finding.accuracy
        took = f"{time.value:.2f} times the time of rung {base.rung.name}{_range(time.interval, '{:.2f}'.format)}"
        speed = {"helps": "makes training faster", "hurts": "makes training slower",
                 "cannot tell": "leaves the time undecided"}[time.verdict]
        gain = {"helps": "the accuracy rises", "hurts": "the accuracy falls",
                "cannot tell": "a change of accuracy cannot be told"}[accuracy.verdict]
        by = f"{signed(100 * accuracy.value)} points{_range(accuracy.interval, lambda share: signed(100 * share))}"
        parts.append(f"Rung {rung.name} ({rung.what}) {speed}: {took}; "
                     f"{gain}: {by}; {accuracy.pairs} "
                     f"{'pair' if accuracy.pairs == 1 else 'pairs'}")
        if rung.reported.seconds and base.rung.reported.seconds:
            parts.append(f"the source's ratio of times is {rung.reported.seconds / base.rung.reported.seconds:.2f}")
    if finding.peeked:
        parts.append("it stops by the test set, so its accuracy says nothing about unseen images")
    if finding.reproduced is not None:
        parts.append(f"the source's accuracy is {'reproduced' if finding.reproduced else 'NOT reproduced'} ({finding.why})")
    return "; ".join(parts) + "."


def _range(interval: Interval | None, written: Callable[[float], str]) -> str:
    return f" (95 %: {written(interval.low)} to {written(interval.high)})" if interval else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
