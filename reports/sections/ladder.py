"""The chapter of a climbed ladder: reported beside measured, the change on each rung, and what was found in words."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.climbs import MEASURED, REPORTED, Point, climb
from reports.labels import slug, title_of
from reports.model import Block, Bullets, Cell, Code, Column, FigureSpec, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.studies.overview import unbroken
from speedcore import stats
from speedcore.ladders.changes import RULE, Change
from speedcore.ladders.result import REPRODUCTION, LadderResult, RungFinding
from speedcore.store.run_record import DataRecord

_PEEK = " †"


def section(climbed: LadderResult, number: int) -> Section:
    """The chapter; `number` tells several climbs of one ladder apart."""
    ladder, found = climbed.ladder, climbed.findings
    name = slug(f"ladder-{ladder.name}") + (f"-{number}" if number else "")
    blocks: list[Block] = [Prose(_of_what(climbed)), _figure(name, climbed, found),
                           Bullets(tuple(unbroken(finding.sentence) for finding in found))]
    if said := climbed.remarks:
        blocks.append(Bullets(said))
    failed = [finding.rung.name for finding in found if finding.reproduced is False]
    if failed:
        blocks.append(Prose(f"**Not reproduced: {'rung' if len(failed) == 1 else 'rungs'} {f.listing(failed)}.** "
                            f"{REPRODUCTION[:1].upper()}{REPRODUCTION[1:]}."))
    if climbed.left_out:
        blocks.append(Bullets(tuple(f"{text[:1].upper()}{text[1:]}" for text in climbed.left_out)))
    blocks += [Code(_command(climbed), "Command that climbs this ladder again, or further"), _table(name, climbed, found)]
    if any(finding.accuracy for finding in found):
        blocks.append(_changes(name, climbed, found))
    scale = "" if climbed.scale.whole else ", at a reduced scale"
    return Section(name, "", f"Ladder {ladder.name}{scale}", _lead(climbed), tuple(blocks))


def headline(climbed: LadderResult) -> str:
    """From the lowest rung to the highest, in a sentence for the summary."""
    found = climbed.findings
    first, last = found[0], found[-1]
    start = f"rung {first.rung.name} reaches {f.percent(first.mean)} in {f.seconds(stats.mean(first.seconds))}"
    end = f", rung {last.rung.name} {f.percent(last.mean)} in {f.seconds(stats.mean(last.seconds))}"
    failed = sum(finding.reproduced is False for finding in found)
    compared = sum(finding.reproduced is not None for finding in found)
    said = f" Of {compared} reported accuracies {compared - failed} were reproduced." if compared else ""
    return (f"**Ladder {climbed.ladder.name}**, {climbed.scale.text}: {start}{end if last is not first else ''} "
            f"(clock “{climbed.ladder.clock}”).{said}")


def _lead(climbed: LadderResult) -> str:
    words = climbed.ladder.description or "rung by rung"
    return f"{words[:1].upper()}{words[1:]}: what each change does, reported beside measured."


def _of_what(climbed: LadderResult) -> str:
    data, device = _data(climbed), next(run for runs in climbed.runs.values() for run in runs).record.device
    source = f" Source: {climbed.ladder.source}." if climbed.ladder.source else ""
    files = "" if data.official else ", not the official files"
    return (f"Trained on {title_of(data.name)} ({f.count(data.train_images)} training images{files}), on "
            f"{'a GPU' if device == 'cuda' else 'a CPU'}, {climbed.scale.text}.{source} Seconds are those of the clock "
            f"“{climbed.ladder.clock}” unless said otherwise: {climbed.clocks[climbed.ladder.clock].meaning}. Another "
            "machine takes other seconds; what can be compared are the ratios from rung to rung.")


def _data(climbed: LadderResult) -> DataRecord:
    return next(run for runs in climbed.runs.values() for run in runs).record.data


def _table(name: str, climbed: LadderResult, found: tuple[RungFinding, ...]) -> Table:
    clocks, rows = climbed.clocks, []
    compared = any(finding.reproduced is not None for finding in found)
    signs = _signs(found)
    marked = {rung: rung if rung == sign else f"{sign}{f.NBSP} {rung}" for rung, sign in signs.items()}
    for finding in found:
        reported, interval = finding.rung.reported, finding.interval
        epochs = f.number(finding.epochs) + (f" ({reported.epochs})" if reported.epochs else "")
        rows.append((
            Cell(marked[finding.rung.name] + _PEEK * finding.peeked), Cell(_what(finding)), Cell(epochs),
            Cell(_reported(finding)), Cell(_reported_seconds(finding)),
            Cell(f.spread(finding.mean, finding.sd)), Cell(str(len(finding.accuracies))),
            Cell(f.bounds(interval.low, interval.high, scale=100) if interval else f.NONE),
            *(Cell(f.seconds(finding.clocks[clock])) for clock in clocks)))
        if compared:
            rows[-1] += (Cell({True: "yes", False: "no", None: f.NONE}[finding.reproduced],
                              mark={True: "supported", False: "warn", None: ""}[finding.reproduced]),)
    columns = [Column("Rung"), Column("What changed"), Column("Epochs (reported)", True), Column("Reported accuracy", True),
               Column("Reported time", True), Column("Measured accuracy", True), Column("n", True),
               Column("95 % interval", True),
               *(Column(f"Clock “{clock}”", True, policy.meaning) for clock, policy in clocks.items())]
    if compared:
        columns.append(Column("Reproduced"))
    peeks = ("† The test set decided when training ended: this accuracy says nothing about unseen images. "
             if any(finding.peeked for finding in found) else "")
    rule = (f"{REPRODUCTION[:1].upper()}{REPRODUCTION[1:]}." if compared else
            "Only at full scale and on the source’s data set can a rung be said to be reproduced.")
    note = f"{peeks}Mean ± standard deviation over n runs; 95 % {stats.MEAN_INTERVAL}. Times are means. {rule}"
    return Table(name + "-table", f"{climbed.ladder.name}, reported and measured, {climbed.scale.text}", tuple(columns),
                 tuple(rows), wide=True, note=note)


def _what(finding: RungFinding) -> str:
    rung = finding.rung
    return f"{rung.what} ({rung.note})" if rung.note else rung.what or f.NONE


def _reported(finding: RungFinding) -> str:
    reported = finding.rung.reported
    if reported.mean is None:
        return f.NONE if reported.at_least is None else f"≥{f.NBSP}{f.percent(reported.at_least)}"
    n = f" (n{f.NBSP}={f.NBSP}{reported.count})" if reported.count else ""
    return f.spread(reported.mean, reported.spread) + n


def _reported_seconds(finding: RungFinding) -> str:
    return f.seconds(finding.rung.reported.seconds)


def _changes(name: str, climbed: LadderResult, found: tuple[RungFinding, ...]) -> Table:
    by_name = {finding.rung.name: finding for finding in found}
    rows = []
    for finding in found:
        if not (finding.accuracy and finding.time) or finding.against is None:
            continue
        below = by_name[finding.against].rung.reported.seconds
        ratio = finding.rung.reported.seconds / below if below and finding.rung.reported.seconds else None
        rows.append((
            Cell(finding.rung.name), Cell(finding.against), Cell(str(finding.accuracy.pairs)),
            Cell(f.points(finding.accuracy.value)), Cell(_interval(finding.accuracy, 100, True)), _verdict(finding.accuracy),
            Cell(f.decimal(ratio)), Cell(f.decimal(finding.time.value)), Cell(_interval(finding.time, 1, False)),
            _verdict(finding.time)))
    columns = (Column("Rung"), Column("Against"), Column("Pairs", True), Column("Accuracy, points", True),
               Column("95 % interval", True), Column("Accuracy"), Column("Time ratio, reported", True),
               Column("Time ratio, measured", True), Column("95 % interval", True), Column("Time"))
    return Table(name + "-changes", f"What each rung changes, {climbed.scale.text}", columns, tuple(rows),
                 wide=True, note=f"Paired by seed. {RULE[:1].upper()}{RULE[1:]}. Times as ratios, below 1 is faster.")


def _interval(change: Change, scale: float, sign: bool) -> str:
    return f.bounds(change.interval.low, change.interval.high, scale=scale, sign=sign) if change.interval else f.NONE


def _verdict(change: Change) -> Cell:
    marks = {"helps": "supported", "hurts": "not-supported", "cannot tell": "not-testable"}
    return Cell(change.verdict, mark=marks[change.verdict])


def _signs(found: tuple[RungFinding, ...]) -> dict[str, str]:
    """What stands beside a rung's point in the plot: its name, or its number in the table where names are long."""
    names = [finding.rung.name for finding in found]
    return {name: name if max(map(len, names)) < 3 else str(i) for i, name in enumerate(names, 1)}


def _on(climbed: LadderResult, finding: RungFinding, shown: Sequence[RungFinding]) -> str:
    """The nearest rung below that is shown; "" where there is none."""
    names, rungs = {x.rung.name for x in shown}, {rung.name: rung for rung in climbed.ladder.steps}
    below = climbed.ladder.below(finding.rung)
    while below and below not in names:
        below = climbed.ladder.below(rungs[below])
    return below or ""


def _figure(name: str, climbed: LadderResult, found: tuple[RungFinding, ...]) -> FigureSpec:
    signs = _signs(found)
    told = [(x, seconds, mean) for x in found
            if (seconds := x.rung.reported.seconds) and (mean := x.rung.reported.mean) is not None]
    reported = [Point(x.rung.name, seconds, 100 * mean, hollow=x.peeked, sign=signs[x.rung.name],
                      on=_on(climbed, x, [one for one, *_ in told])) for x, seconds, mean in told]
    measured = []
    for x in found:
        low, high = (100 * x.interval.low, 100 * x.interval.high) if x.interval else (None, None)
        measured.append(Point(x.rung.name, stats.mean(x.seconds), 100 * x.mean, low, high, hollow=x.peeked,
                              sign=signs[x.rung.name], on=_on(climbed, x, found)))
    apart = bool(reported) and not climbed.scale.whole
    svg = climb(f"Ladder {climbed.ladder.name}", {REPORTED: reported, MEASURED: measured}, apart,
                f"seconds, clock “{climbed.ladder.clock}”")
    said = {REPORTED: reported, MEASURED: measured}
    alt = f"Accuracy against time of the ladder {climbed.ladder.name}, {climbed.scale.text}. " + " ".join(
        f"{label}: " + "; ".join(f"rung {p.name}, {p.accuracy:.2f} % in {f.seconds(p.seconds)}" for p in points) + "."
        for label, points in said.items() if points)
    hollow = " Hollow: stopped by looking at the test set." if any(x.peeked for x in found) else ""
    lines = "" if not reported else " What the source reported beside what was measured here."
    if any(name != sign for name, sign in signs.items()):
        lines += " Numbers are those of the rungs in the table."
    return FigureSpec(name + "-figure", svg, alt,
                      f"Time across (logarithmic), test accuracy up, a point a rung, joined to the rung it stands on, "
                      f"{climbed.scale.text}.{lines} Bars: 95{f.NBSP}% interval of the mean, cut where it leaves the "
                      f"frame.{hollow}",
                      {label: [(p.name, p.seconds, p.accuracy) for p in points] for label, points in said.items()})


def _command(climbed: LadderResult) -> str:
    scale = "" if climbed.scale.whole else " --scale " + ",".join(f"{part}={share:g}" for part, share in
                                                                  vars(climbed.scale).items())
    data = _data(climbed).name
    dataset = "" if data == climbed.ladder.dataset else f" --dataset {data}"
    seeds = max(len(runs) for runs in climbed.runs.values())
    from speedcore.ladders import built_in

    ladder = climbed.ladder.name if climbed.ladder.name in built_in() else f"{climbed.ladder.name}.toml"
    return f"python -m speedcore ladder {ladder}{dataset} --seeds {seeds}{scale}"
