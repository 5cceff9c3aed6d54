"""A ladder that was run as a table and sentences on the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from speedcore import stats
from speedcore.ladders.changes import RULE, Change
from speedcore.ladders.result import REPRODUCTION, LadderResult, RungFinding
from speedcore.recipe.ladder import Ladder, Reported
from speedcore.stats.numbers import signed

if TYPE_CHECKING:
    from rich.console import Console


def reported_accuracy(reported: Reported) -> str:
    """99.04 ± 0.07, with n where it is known; ≥ 99.00 where only a claim is; – where nothing is."""
    if reported.mean is None:
        return "–" if reported.at_least is None else f"≥ {100 * reported.at_least:.2f}"
    return _mean_sd(100 * reported.mean, reported.spread and 100 * reported.spread) + (
        f" (n = {reported.count})" if reported.count else "")


def measured_accuracy(finding: RungFinding) -> str:
    """Mean ± sd (n), then the 95 % interval of the mean."""
    interval = finding.interval
    between = "" if interval is None else f" [{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
    return f"{spread([100 * accuracy for accuracy in finding.accuracies])} (n = {len(finding.accuracies)}){between}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean ± sd; the mean alone of a single value."""
    return _mean_sd(stats.mean(values), stats.sd(values), digits)


def _mean_sd(mean: float, sd: float | None, digits: int = 2) -> str:
    return f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def accuracy_change(change: Change) -> str:
    """Points with interval."""
    between = "" if change.interval is None else f" [{signed(100 * change.interval.low)}, {signed(100 * change.interval.high)}]"
    return f"{signed(100 * change.value)}{between}"


def time_change(change: Change) -> str:
    """Ratio with interval."""
    between = "" if change.interval is None else f" [{change.interval.low:.2f}, {change.interval.high:.2f}]"
    return f"×{change.value:.2f}{between}"


def seconds(value: float | None, sd: float | None = None) -> str:
    """Seconds to three digits, ± sd; – where there are none."""
    if value is None:
        return "–"
    digits = max(0, 3 - len(str(int(value)))) if value >= 1 else 3
    return f"{value:.{digits}f}" + ("" if sd is None else f" ± {sd:.3g}")


def caption(result: LadderResult) -> str:
    """What the table is of: ladder, data, scale, device."""
    record = next(run for runs in result.runs.values() for run in runs).record
    official = "" if record.data.official else " (not the official files)"
    return (f"Ladder {result.ladder.name} on {record.data.name}{official}, {result.scale.text}; {record.data.train_images:,} "
            f"training images, {record.device}. Seconds of the clock “{result.ladder.clock}” unless said otherwise.")


def show(result: LadderResult, out: Console) -> None:
    """Print the table, the rules, one sentence a rung, and what was left out."""
    from rich.table import Table

    clocks = result.clocks
    table = Table(box=None, header_style="bold", pad_edge=False, show_lines=False)
    table.add_column("rung", no_wrap=True)
    table.add_column("what changed", min_width=16)
    for heading in ("epochs", "reported %", "reported s", "measured % [95 %]", *(f"{name} s" for name in clocks)):
        table.add_column(heading, justify="right", no_wrap=heading[:8] in ("reported", "measured"))
    changes = Table("rung", "against", "pairs", "accuracy, points [95 %]", "", "time [95 %]", "", box=None,
                    header_style="bold", pad_edge=False)
    found = result.findings
    for finding in found:
        rung, own = finding.rung, result.ladder.clock
        times = [seconds(mean, stats.sd(finding.seconds) if name == own else None)
                 for name, mean in finding.clocks.items()]
        what = rung.what + (f" ({rung.note})" if rung.note else "") + (" †" if finding.peeked else "")
        table.add_row(rung.name, what, f"{finding.epochs:.3g}", reported_accuracy(rung.reported),
                      seconds(rung.reported.seconds, rung.reported.seconds_sd), measured_accuracy(finding), *times)
        if finding.accuracy and finding.time:
            changes.add_row(rung.name, finding.against, str(finding.accuracy.pairs), accuracy_change(finding.accuracy),
                            finding.accuracy.verdict, time_change(finding.time), finding.time.verdict)
    out.print(caption(result), markup=False, soft_wrap=True)
    out.print(table)
    if changes.row_count:
        out.print()
        out.print(changes)
    out.print(f"Verdicts: {RULE}. {REPRODUCTION}.".replace(". r", ". R"), markup=False, soft_wrap=True)
    if any(finding.peeked for finding in found):
        out.print("† The test set decided when training ended: this accuracy says nothing about unseen images.",
                  markup=False, soft_wrap=True)
    for finding in found:
        out.print(f"- {finding.sentence}", markup=False, soft_wrap=True)
    for sentence in (*result.remarks, *result.left_out):
        out.print(sentence, markup=False, soft_wrap=True)


def show_list(ladders: dict[str, Ladder], out: Console) -> None:
    """Print the ladders there are."""
    for ladder in ladders.values():
        out.print(f"{ladder.name}: {ladder.description}, on {ladder.dataset}; rungs "
                  f"{', '.join(rung.name for rung in ladder.steps)}. {ladder.source}", markup=False, soft_wrap=True)
