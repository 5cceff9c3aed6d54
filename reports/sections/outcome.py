"""2 Results and 3 Paired effects."""

from __future__ import annotations

from reports import findings
from reports.figures.bars import LedgerRow, ledger
from reports.figures.pairs import PairedData, paired
from reports.findings import Claim
from reports.model import Block, Bullets, Cell, Column, FigureSpec, Group, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.context import Context, budget_share, files_word, mean_of, plain, remarks, with_views
from reports.sections.registry import report_section
from speedcore import stats
from speedcore.clock import POLICIES
from speedcore.training import health


@report_section("results", "Results", 10)
def results(context: Context) -> Section:
    said = [remark for one in context.sets for remark in remarks(one)]
    blocks: list[Block] = [_accuracy_table(context), *([Bullets(tuple(said))] if said else []), _cost_table(context),
                           _ledger(context)]
    return Section("results", "", "Results",
                   "Every number is a mean over training seeds on the test split, which each run sees once, after its "
                   "last step.", tuple(blocks))


def _accuracy_table(context: Context) -> Table:
    rows = []
    for one in context.sets:
        for arm, runs in one.arms.items():
            values, constant = [plain(run) for run in runs], health.constant_prediction(runs[0])
            mean, interval, views = stats.mean(values), stats.mean_interval(values, (0.0, 1.0)), with_views(runs)
            rows.append((
                Cell(one.title), Cell(arm, mark=arm), Cell(str(len(runs))),
                Cell(f.spread(mean, stats.sd(values)), sort=repr(mean)),
                Cell(f.bounds(interval.low, interval.high, scale=100) if interval else f.NONE,
                     sort=repr(interval.low) if interval else ""),
                Cell(f.bounds(min(values), max(values), scale=100), sort=repr(min(values))),
                Cell(f.percent(constant.share), mark="warn" if mean <= constant.share else "", sort=repr(constant.share)),
                Cell(f.percent(stats.mean(views)) if views else f.NONE,
                     sort=repr(stats.mean(views)) if views else ""),
                Cell(files_word(one), mark="" if one.record.official else "warn"),
            ))
    columns = (Column("Data set"), Column("Augmentation"), Column("n", True), Column("Test accuracy", True),
               Column("95 % interval", True), Column("Min to max", True),
               Column("Constant prediction", True, "the share of the most frequent class in the test images"),
               Column("With views", True), Column("Files"))
    return Table("results-accuracy", "Accuracy on the test split, by data set and arm", columns, tuple(rows), heads=2,
                 sortable=True, note="n: training seeds. Mean ± standard deviation over seeds; 95 % "
                                     f"{stats.MEAN_INTERVAL}. Constant prediction: what always naming "
                                     "the most frequent class scores. Views: logits averaged over mirrored or "
                                     "shifted copies of the test image, where the recipe has them; arms are compared "
                                     "without.")


def _cost_table(context: Context) -> Table:
    rows = []
    for one in context.sets:
        for arm, runs in one.arms.items():
            epochs = mean_of(runs, lambda r: r.record.epochs)
            shares = [s for run in runs if (s := budget_share(run)) is not None]
            clocks = [stats.mean([run.record.clocks[name] for run in runs]) for name in POLICIES]
            peak = max(run.record.peak_memory_bytes for run in runs)
            rows.append((
                Cell(one.title), Cell(arm, mark=arm), Cell(runs[0].record.recipe.name),
                Cell(f.number(epochs), sort=repr(epochs)), *(Cell(f.seconds(s), sort=repr(s)) for s in clocks),
                Cell(f.percent(max(shares), 1) if shares else f.NONE, sort=repr(max(shares)) if shares else ""),
                Cell(f.memory(peak), sort=str(peak)),
            ))
    columns = (Column("Data set"), Column("Augmentation"), Column("Recipe"), Column("Epochs", True),
               *(Column(f"Clock “{name}”", True, policy.meaning) for name, policy in POLICIES.items()),
               Column("Share of budget", True), Column("Peak memory", True))
    meanings = "; ".join(f"**{name}** counts {policy.meaning}" for name, policy in POLICIES.items())
    return Table("results-cost", "What it cost, by data set and arm", columns, tuple(rows), heads=2, sortable=True,
                 note=f"Seconds are means of the runs; share of budget and peak memory are of the run that took most. "
                      f"Clocks: {meanings}.")


def _ledger(context: Context) -> FigureSpec:
    rows = []
    for one in context.sets:
        for arm, runs in one.arms.items():
            phases = sorted({phase for run in runs for phase in run.record.ledger})
            rows.append(LedgerRow(f"{one.title}, {arm}", {p: stats.mean([run.record.ledger.get(p, 0.0) for run in runs])
                                                          for p in phases}))
    alt = "Seconds by phase: " + "; ".join(
        f"{row.label} {f.seconds(sum(row.seconds.values()))}, of which training "
        f"{f.seconds(row.seconds.get('train', 0.0))}"
        for row in rows) + "."
    return FigureSpec("ledger", ledger("Seconds by phase", rows), alt,
                      "The whole ledger: every second of a run from the first touch of its data to the last result, "
                      "nothing paused. Training is the dark blue part.", {row.label: row.seconds for row in rows})


@report_section("effects", "Paired effects", 20)
def effects(context: Context) -> Section:
    blocks: list[Block] = [Prose("Arms are paired: both start from the same initial weights and see the same images for the same "
                    "number of steps; they differ in augmentation alone. The unit is the training seed, for images of "
                    "one run are no independent witnesses. A claim is tested on several data sets at once, so its p is "
                    "corrected by Holm’s method, and the more data sets, the more pairs it takes: with fewer than "
                    f"{stats.FEWEST_PAIRS} not even one can reach p < {stats.ALPHA:g}. What cannot reach it "
                    "is called not testable, whatever the runs show.")]
    shown = [claim for claim in context.claims if claim.n]
    if shown:
        blocks.append(_table(shown))
    for kind, title in (("accuracy", "Accuracy on plain test images"), ("attention", "Heatmaps on the object")):
        claims = [claim for claim in shown if claim.kind == kind]
        if claims:
            blocks.append(Group(f"effect-{kind}", title, (_figure(kind, title, claims),)))
    left_out = [findings.sentence(claim) for claim in context.claims if not claim.n]
    if left_out:
        blocks.append(Prose("Not tested. " + " ".join(left_out), "quiet"))
    return Section("effects", "", "Paired effects", "", tuple(blocks))


def _table(shown: list[Claim]) -> Table:
    rows = []
    for claim in shown:
        testable = claim.verdict != "not testable"
        rows.append((
            Cell(claim.title), Cell("accuracy" if claim.kind == "accuracy" else "mass on the object"),
            Cell(str(claim.n)),
            Cell(f.points(claim.difference)),
            Cell(f.bounds(claim.interval.low, claim.interval.high, scale=100, sign=True) if claim.interval else f.NONE),
            Cell(f"{sum(d > 0 for d in claim.differences)} of {claim.n}"),
            Cell(f.decimal(stats.effect_size(claim.differences))),
            Cell(f"{claim.p:.3f}" if testable else f.NONE), Cell(f"{claim.p_holm:.3f}" if testable else f.NONE),
            Cell(f.NONE if claim.p_equivalence is None else f"{claim.p_equivalence:.3f}"),
            Cell(claim.verdict, mark=claim.verdict.replace(" ", "-")),
        ))
    columns = (Column("Data set"), Column("Outcome"), Column("Pairs", True), Column("Difference", True),
               Column("95 % interval", True), Column("In favour", True), Column("d", True), Column("p", True),
               Column("p, Holm", True), Column("p, equivalent", True), Column("Verdict"))
    return Table("paired-effects", "With minus without augmentation, in percentage points", columns, tuple(rows),
                 heads=2,
                 note=f"95 % {stats.MEAN_INTERVAL}. {stats.INTERVAL_AND_P}. "
                      "In favour: seeds with a positive difference. d: mean difference over its standard deviation. p: "
                      "exact sign-flip test, two-sided, and the same corrected for all data sets on which the claim is "
                      "tested, by which the verdict is; equivalent: that the difference is within the bounds that were "
                      "set beforehand, where they were (two one-sided sign-flip tests, corrected likewise).")


def _figure(kind: str, title: str, claims: list[Claim]) -> FigureSpec:
    unit = "test accuracy (%)" if kind == "accuracy" else "normalised mass (%)"
    sets = [PairedData(c.title, tuple(100 * v for v in c.without), tuple(100 * v for v in c.augmented),
                       100 * c.interval.low if c.interval else None, 100 * c.interval.high if c.interval else None)
            for c in claims]
    alt = f"{title}, a line a seed. " + " ".join(
        f"{one.name}: " + "; ".join(f"seed {seed}, {a:.2f} without, {b:.2f} with" for seed, a, b in
                                    zip(claim.seeds, one.without, one.augmented, strict=True))
        + f"; mean difference {f.points(claim.difference)} points." for claim, one in zip(claims, sets, strict=True))
    counts = f.listing([f"{c.title} n = {c.n}" for c in claims])
    return FigureSpec(f"paired-{kind}", paired(title, sets, unit, "with minus without (percentage points)"), alt,
                      f"{title}. Above: both arms, a line a seed. Below: grey, the difference of each seed; black, the "
                      f"mean and its 95{f.NBSP}% interval. {counts}.", {c.dataset: c.differences for c in claims})
