"""11 Limitations, 12 Provenance, 13 How to regenerate, 14 Appendix: what a careful reader asks last."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reports.labels import title_of
from reports.model import Block, Bullets, Cell, Code, Column, Facts, Group, Prose, Section, Table
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections import methods
from reports.sections.context import ARM_LABELS, Context, arithmetic
from reports.sections.registry import always, report_section
from speedcore import stats

_PLACES = ("--data", "--runs", "--out")
_CITATION = """\
@misc{speedcore,
  title  = {speedcore: train small image classifiers fast and honestly},
  note   = {Version %s, revision %s. Report of %s},
  year   = {%s}
}
@misc{thousand-seconds,
  title  = {Are 1000 Seconds Enough to Train?},
  note   = {The article whose experiment this report repeats}
}
@misc{dawnbench-page,
  title  = {How to Train Your ResNet},
  author = {Page, David C.},
  year   = {2018},
  note   = {The network and most of the tricks}
}"""


# --- limitations -----------------------------------------------------------------------------------------------------

@report_section("limitations", "Limitations", 200, always)
def limitations(context: Context) -> Section:
    return Section("limitations", "", "Limitations", "Each of these follows from what is in this report; none is "
                                                     "boilerplate.",
                   (Bullets(tuple(_limits(context))),))


def _limits(context: Context) -> Iterator[str]:
    inputs = context.results.inputs
    for missing in inputs.missing:
        yield f"**{missing.title} {'are' if missing.what else 'is'} not here.** {missing.reason}"
    for name, whys in inputs.diverged.items():
        yield f"**Pairs of {title_of(name)} are missing**, because training diverged. {' '.join(whys)}"
    few = {one.title: len(one.pairs) for one in context.sets if len(one.pairs) < stats.FEWEST_PAIRS}
    if few:
        counts = f.listing([f"{name} ({n})" for name, n in few.items()])
        yield (f"**Few seeds.** With fewer than {stats.FEWEST_PAIRS} pairs nothing can be tested: {counts}. "
               f"Intervals over so few seeds are wide.")
    if context.sets:
        yield ("**What an interval cannot know.** It speaks of runs like those that were seen. Where one run in ten fails, 73 of "
               "100 samples of three hold none that did, and their intervals know nothing of it; of values with a very "
               "long tail, intervals of fewer than eight hold the mean in 91 to 93 % instead of 95 (`benchmarks/RESULTS.md`, "
               "claim-calibration).")
    for one in context.sets:
        yield from _of_set(one)
    if {run.record.device for run in (*context.results.runs, *context.results.climbed)} == {"cpu"}:
        yield ("**Small machine.** Everything was trained on processor cores; the article used a GPU. Seconds say what "
               "this machine can do, not what the article’s could.")
    yield ("**One test split.** Intervals are over seeds. How accuracies would change with other test images is not in "
           f"them; for 10,000 images at 99{f.NBSP}% that alone is about ±0.2 points.")
    if any(one.explanations for one in context.sets):
        yield ("**Grad-CAM is coarse.** The networks end in a global max-pool: few cells of the last layer carry a "
               "gradient, and Grad-CAM spreads their weight over the whole map. The middle layer is therefore the "
               "primary one. A map shows what speaks for a class in this network, not why a person would choose it.")


def _of_set(one: DatasetResults) -> Iterator[str]:
    if not one.record.official:
        yield (f"**{one.title} is not from the official files** ({one.record.source}). Accuracies cannot be set beside "
               f"published ones. {one.record.note}".strip())
    short = [run for run in one.runs if run.record.epochs < run.record.recipe.epochs - 0.01]
    if short:
        low, high = min(r.record.epochs for r in short), max(r.record.epochs for r in short)
        span = f.number(low) if f.number(low) == f.number(high) else f"{f.number(low)} to {f.number(high)}"
        yield (f"**{one.title} was cut short.** {len(short)} of {f.plural(len(one.runs), 'run')} took {span} of the "
               f"{short[0].record.recipe.epochs:g} epochs that the recipe wants, because the time of the build is "
               f"shared; accuracy would be higher with more.")
    peeked = [run for run in one.runs if run.record.peeked]
    if peeked:
        yield (f"**{one.title} was stopped by its test set.** {len(peeked)} of {f.plural(len(one.runs), 'run')} ended when "
               f"the test accuracy was high enough, as the recipe replicates it: these accuracies say nothing about "
               f"unseen images.")
    changed = [run for run in one.runs if run.record.replans]
    if changed:
        count = sum(len(run.record.replans) for run in changed)
        yield (f"**{one.title} was re-planned.** {len(changed)} of {f.plural(len(one.runs), 'run')} changed the number "
               f"of steps on the way "
               f"({f.plural(count, 'time')} in all), because the machine was faster or slower than measured. Such runs "
               f"are repeated exactly only by replaying their record.")
    unequal = [pair for pair in one.pairs if not pair.equal_steps]
    if unequal:
        yield (f"**Unequal pairs on {one.title}.** In {len(unequal)} of {f.plural(len(one.pairs), 'pair')} the arms "
               f"took different numbers of steps, so a difference is not augmentation’s alone.")
    if len(one.arms) < 2:
        yield f"**One arm only on {one.title}**: {ARM_LABELS[next(iter(one.arms))]}. Nothing can be compared."
    rules = {e.record.foreground for e in one.explanations.values()}
    if one.explanations and rules == {None}:
        yield (f"**No object masks for {one.title}.** Its heatmaps can be looked at and their stability measured; "
               f"whether they lie on the object cannot.")
    for rule in sorted(r for r in rules if r and "threshold" in r or r and "brighter" in r):
        yield f"**What counts as the object on {one.title}** is itself a rule: {rule}."


# --- provenance ------------------------------------------------------------------------------------------------------

@report_section("provenance", "Provenance", 210, always)
def provenance(context: Context) -> Section:
    runs = (*context.results.runs, *context.results.climbed)
    origin: list[Mapping[str, Any]] = [run.record.provenance for run in runs] or [context.results.inputs.environment]

    def every(get: Callable[[Mapping[str, Any]], object], nothing: str = "unknown") -> str:
        values = sorted({str(v) for p in origin if (v := get(p)) is not None})
        return f.listing(values) if values else nothing

    def version(name: str) -> str:
        return every(lambda p: p.get("versions", {}).get(name), "none")

    names = sorted({name for p in origin for name in p.get("versions", {})})
    machine = Facts((
        ("Revision", every(lambda p: f"`{p.get('revision', 'unknown')}`" + _dirty(p.get("dirty")))),
        ("Locked packages", every(lambda p: f"sha256 `{p['lock_sha256']}`" if p.get("lock_sha256") else None,
                                  "no lock file")),
        ("Device", every(lambda p: p.get("device"))),
        ("Arithmetic", f.listing([said[:1].upper() + said[1:] for said in arithmetic(runs)]) or "unknown"),
        ("3×3 convolutions", every(lambda p: p.get("convolutions"))),
        ("System", every(lambda p: p.get("system"))),
        ("Threads", every(lambda p: p.get("threads"))),
        ("Switches", every(lambda p: ", ".join(f"{k.replace('_', ' ')}: {_word(p.get(k))}" for k in
                                               ("deterministic_algorithms", "cudnn_benchmark", "float32_matmul")))),
        ("Versions", ", ".join(f"{name} {version(name)}" for name in names)),
        ("Runs finished", _span([str(p.get("finished", "")) for p in origin])),
        ("Command of the runs", every(lambda p: f"`{_command(p['command'])}`" if p.get("command") else None)),
    ))
    blocks: list[Block] = [machine]
    if context.sets:
        blocks.append(_recipes(context))
    return Section("provenance", "", "Provenance", "What made these numbers. Where runs differ, every value is listed.",
                   tuple(blocks))


def _command(recorded: str) -> str:
    """A command without where its files lie, which means nothing elsewhere."""
    try:
        words = shlex.split(recorded)
    except ValueError:
        return recorded  # kept by a version that did not quote
    kept = [word for before, word in zip(("", *words), words, strict=False)
            if before not in _PLACES and word.partition("=")[0] not in _PLACES]
    return shlex.join(kept)


def _dirty(flag: bool | None) -> str:
    return {True: ", with changes that were not committed", False: ", clean", None: ""}[flag]


def _word(value: Any) -> str:
    return {True: "on", False: "off", None: "unknown"}.get(value, str(value)) if not isinstance(value, str) else value


def _span(dates: list[str]) -> str:
    known = sorted(d for d in dates if d)
    if not known:
        return "unknown"
    first, last = (d[:16].replace("T", " ") for d in (known[0], known[-1]))
    return first if first == last else f"{first} to {last} (UTC)"


def _recipes(context: Context) -> Table:
    rows = []
    for one in context.sets:
        for arm, runs in one.arms.items():
            r = runs[0].record
            rows.append((Cell(one.title), Cell(arm, mark=arm), Cell(r.recipe.name), Cell(r.recipe_hash),
                         Cell(", ".join(str(run.record.seed) for run in runs)), Cell(one.record.fingerprint[:12])))
    columns = (Column("Data set"), Column("Augmentation"), Column("Recipe"), Column("Recipe hash"), Column("Seeds"),
               Column("sha256 of the data"))
    return Table("recipes", "Recipes, seeds and inputs", columns, tuple(rows), heads=2,
                 note="sha256: the first twelve digits of the digest of all decoded images and labels; results.json "
                      "has it whole.")


# --- how to regenerate -----------------------------------------------------------------------------------------------

@report_section("regenerate", "How to make it again", 220, always)
def regenerate(context: Context) -> Section:
    inputs = context.results.inputs
    blocks: list[Block] = []
    if inputs.command:
        blocks += [Prose("The same report, from the runs that stand; what is missing is trained first:"),
                   Code(inputs.command, "Command that makes this report")]
        if "folder:" in inputs.command:
            blocks.append(Prose("A folder that lay elsewhere is named without its path: write where yours is.", "quiet"))
    budget = f"{f.seconds(inputs.budget_seconds)} a run" if inputs.budget_seconds else "no limit a run"
    within = f"{f.duration(inputs.within_seconds)} for all of it" if inputs.within_seconds else "no limit for all of it"
    if context.sets or not context.results.chapters:
        blocks.append(Prose(f"It was given {budget} and {within}."))
    if inputs.plan:
        blocks.append(_plan(context))
    if inputs.notes:
        blocks.append(Group("more-time", "Why so, and what more time would buy", (Bullets(inputs.notes),)))
    if inputs.missing:
        blocks.append(Group("missing", "What is missing", (Bullets(tuple(
            f"**{m.title}**: {m.sentence}" for m in inputs.missing)),)))
    return Section("regenerate", "", "How to make it again", "", tuple(blocks))


def _plan(context: Context) -> Table:
    rows = []
    for planned in context.results.inputs.plan:
        limit = f.NONE if planned.limit is None else f.seconds(planned.limit)
        rows.append((Cell(title_of(planned.dataset)), Cell(planned.recipe.name), Cell(str(planned.seeds)),
                     Cell(f.count(planned.steps)),
                     Cell(f"{f.number(planned.epochs)} of {planned.recipe.epochs:g}"), Cell(limit),
                     Cell(f.duration(planned.estimate))))
    columns = (Column("Data set"), Column("Recipe"), Column("Pairs", True), Column("Steps", True),
               Column("Epochs", True),
               Column("Limit a run", True), Column("Estimate", True))
    return Table("plan", "The plan, made before anything was trained", columns, tuple(rows),
                 note="Estimate: all runs of both arms with their tests.")


# --- appendix --------------------------------------------------------------------------------------------------------

@report_section("appendix", "Appendix", 400, always)
def appendix(context: Context) -> Section:
    versions: Mapping[str, Any] = context.results.inputs.environment
    revision = str(versions.get("revision") or "unknown")[:12]
    day = context.results.finished[:10]
    from speedcore import __version__

    blocks: list[Block] = [
        Prose("`results.json` holds the same numbers for machines: it lies beside this report, is attached to the PDF, "
              "and is embedded in the HTML page as the element with the id `results-json`. docs/results-json.md "
              "describes it."),
        Code(_CITATION % (__version__, revision, day, day[:4]), "BibTeX"),
    ]
    if used := methods.table(context):
        blocks.append(used)
    if context.sets:
        blocks.append(_every_run(context))
    return Section("appendix", "", "Appendix", "", tuple(blocks))


def _every_run(context: Context) -> Table:
    rows = []
    for one in context.sets:
        for arm, runs in one.arms.items():
            for run in runs:
                r, m = run.record, run.record.metrics
                rows.append((
                    Cell(one.title), Cell(arm, mark=arm), Cell(str(r.seed)),
                    Cell(f.percent(m.test_accuracy), sort=repr(m.test_accuracy)),
                    Cell(f.percent(m.tta_accuracy), sort=repr(m.tta_accuracy or 0.0)), Cell(f.decimal(m.test_loss, 4)),
                    Cell(f.percent(m.train_accuracy)), Cell(f.number(r.epochs), sort=repr(r.epochs)),
                    Cell(f.count(r.steps), sort=str(r.steps)),
                    *(Cell(f.seconds(s), sort=repr(s)) for s in (r.clocks["article"], r.clocks["everything"])),
                    Cell(str(len(r.replans)) if r.replans else f.NONE, sort=str(len(r.replans))),
                    Cell(f"{r.final_lr:.3g}"),
                    Cell(r.weights_sha256[:12])))
    columns = (Column("Data set"), Column("Augmentation"), Column("Seed", True), Column("Test", True),
               Column("With views", True),
               Column("Test loss", True), Column("Training", True), Column("Epochs", True), Column("Steps", True),
               Column("Clock “article”", True), Column("Clock “everything”", True), Column("Re-plans", True),
               Column("Last rate", True), Column("Weights"))
    return Table("every-run", "Every run, one row", columns, tuple(rows), heads=3, sortable=True, wide=True,
                 note="Training: accuracy over the last twentieth of the steps. Weights: first twelve digits of their "
                      "sha256.")
