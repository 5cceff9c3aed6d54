"""The chapter of an architecture search: what deeper networks bring for their time, and what longer training brings."""

from __future__ import annotations

from reports.figures.searches import Reach, search
from reports.labels import slug, title_of
from reports.model import Block, Bullets, Cell, Code, Column, FigureSpec, Prose, Section, Table
from reports.renderers import formats as f
from speedcore import stats
from speedcore.ladders.result import LadderResult
from speedcore.studies.architecture_search import LONG, NAME, SHORT, Line, lines

__all__ = ["NAME", "headline", "section"]


def section(climbed: LadderResult, number: int) -> Section:
    """The chapter; `number` tells several searches apart."""
    found = lines(climbed)
    name = slug(f"study-{climbed.ladder.name}") + (f"-{number}" if number else "")
    blocks: list[Block] = [Prose(_of_what(climbed))]
    if found:
        blocks += [_figure(name, climbed, found), _table(name, climbed, found), Prose(headline(climbed))]
    if climbed.left_out:
        blocks.append(Bullets(tuple(f"{text[:1].upper()}{text[1:]}" for text in climbed.left_out)))
    blocks.append(Code(_command(climbed), "Command that continues this search"))
    scale = "" if climbed.scale.whole else ", at a reduced scale"
    return Section(name, "", f"Architecture search{scale}", "Does a deeper network or a longer training buy more for its time?",
                   tuple(blocks))


def headline(climbed: LadderResult) -> str:
    """The best network and the mean gain of the longer training, in a sentence."""
    found = lines(climbed)
    if not found:
        return f"**Architecture search**, {climbed.scale.text}: no network has been trained for both lengths yet."
    best = found[0]
    gain = stats.mean([line.gain for line in found])
    short, long = _epochs(climbed)
    return (f"**Architecture search**, {climbed.scale.text}: of {f.plural(len(found), 'network')}, {best.network} is the best "
            f"after {short} epochs, {f.percent(stats.mean(best.short))} in {f.seconds(best.short_seconds)} "
            f"(n{f.NBSP}={f.NBSP}{len(best.short)}); going on to {long} epochs changes the networks by {f.points(gain)} points "
            f"on average.")


def _epochs(climbed: LadderResult) -> tuple[str, str]:
    """The two lengths, at this scale."""
    return f.number(SHORT * climbed.scale.epochs), f.number(LONG * climbed.scale.epochs)


def _of_what(climbed: LadderResult) -> str:
    record = next(run for runs in climbed.runs.values() for run in runs).record
    files = "" if record.data.official else ", not the official files"
    return (f"Trained on {title_of(record.data.name)} ({f.count(record.data.train_images)} training images{files}), on "
            f"{'a GPU' if record.device == 'cuda' else 'a CPU'}, {climbed.scale.text}. Source: {climbed.ladder.source}. "
            f"Seconds are those of the clock “{climbed.ladder.clock}”.")


def _figure(name: str, climbed: LadderResult, found: tuple[Line, ...]) -> FigureSpec:
    reaches = [Reach(line.network, (line.short_seconds, 100 * stats.mean(line.short)),
                     (line.long_seconds, 100 * stats.mean(line.long))) for line in found]
    short, long = _epochs(climbed)
    alt = f"Accuracy against time of {f.plural(len(found), 'network')}, {climbed.scale.text}. " + "; ".join(
        f"{reach.network}: {reach.short[1]:.2f} % in {f.seconds(reach.short[0])}, then {reach.long[1]:.2f} % in "
        f"{f.seconds(reach.long[0])}" for reach in reaches) + "."
    return FigureSpec(name + "-figure", search("Architecture search", reaches, f"seconds, clock “{climbed.ladder.clock}”"), alt,
                      f"Time across, test accuracy up, {climbed.scale.text}: a point after {short} epochs, a line to {long}. "
                      f"Means over runs; the stages are those with one more block (extra) or a residual branch (residual).",
                      {reach.network: [reach.short, reach.long] for reach in reaches})


def _table(name: str, climbed: LadderResult, found: tuple[Line, ...]) -> Table:
    short, long = _epochs(climbed)
    rows = tuple((
        Cell(line.network), Cell(f.spread(stats.mean(line.short), stats.sd(line.short))),
        Cell(f.seconds(line.short_seconds)), Cell(f.spread(stats.mean(line.long), stats.sd(line.long))),
        Cell(f.seconds(line.long_seconds)), Cell(f.points(line.gain)), Cell(str(len(line.short)))) for line in found)
    columns = (Column("Network"), Column(f"{short} epochs", True), Column("Time", True), Column(f"{long} epochs", True),
               Column("Time, longer", True), Column("Points for the longer training", True), Column("n", True))
    return Table(name + "-table", f"Networks of the search, the best first, {climbed.scale.text}", columns, rows, wide=True,
                 note="Mean ± standard deviation over n runs. Times are means.")


def _command(climbed: LadderResult) -> str:
    scale = "" if climbed.scale.whole else " --scale " + ",".join(f"{part}={share:g}" for part, share in
                                                                  vars(climbed.scale).items())
    data = next(run for runs in climbed.runs.values() for run in runs).record.data.name
    dataset = "" if data == climbed.ladder.dataset else f" --dataset {data}"
    seeds = max(len(runs) for runs in climbed.runs.values())
    return f"python -m speedcore study {NAME}{dataset} --seeds {seeds}{scale}"
