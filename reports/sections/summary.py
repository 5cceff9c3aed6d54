"""1 Summary: what was asked, what came out, and what became of the claims."""

from __future__ import annotations

import numpy as np

from reports import findings
from reports.figures.lines import Line, Panel, panels
from reports.model import Block, Bullets, ClaimBlock, FigureSpec, Outcome, Prose, Section, Tile, Tiles
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections import chapters, claim
from reports.sections.context import ARM_LABELS, Context, arithmetic, budget_share, mean_of, plain, remarks, with_views
from reports.sections.registry import always, report_section
from speedcore import stats
from speedcore.store.runs import Run


def title(context: Context) -> str:
    seconds = context.results.inputs.budget_seconds
    if context.results.chapters and not context.sets:
        return "What does each change do?"
    return f"Are {seconds:g} seconds enough?" if seconds else "How far does training get?"


def subtitle(context: Context) -> str:
    names = f.listing([one.title for one in context.sets])
    found = list(dict.fromkeys(chapters.name(one) for one in context.results.chapters))
    if not names and found and not context.results.inputs.studies:
        return f"What each change does, rung by rung: {f.listing(found)}."
    if not names and found:
        return f"Ladders and studies: {f.listing(found)}."
    if not names:
        return "No data set could be trained; this page says why and what to do."
    return f"Small networks on {names}: trained with and without augmentation, timed, tested once, and asked where they look."


def status_text(context: Context) -> str:
    others = {run.record.key for run in context.results.climbed}.union(*(one.runs for one in context.results.inputs.studies))
    runs = f.plural(len(context.results.runs) + len(others), "run")
    return {
        "complete": f"All planned runs are in this report: {runs}.",
        "partial": f"Some of what was asked for is not in this report ({runs} are); the limitations say what and why.",
        "smoke": f"A short trial ({runs}): it shows that everything works, not how well networks can do.",
    }[context.results.inputs.status]


@report_section("summary", "Summary", 0, always)
def section(context: Context) -> Section:
    blocks: list[Block] = []
    if context.sets:
        blocks.append(Tiles(tuple(_tile(one) for one in context.sets)))
        blocks.append(Prose(_answer(context)))
    if context.results.chapters:
        blocks.append(Bullets(tuple(chapters.of(found).headline(found) for found in context.results.chapters)))
    if context.results.inputs.missing:
        missing = context.results.inputs.missing
        blocks.append(Bullets(tuple(f"**{m.title} {'are' if m.what else 'is'} missing.** {m.sentence}" for m in missing)))
    if said := [*(remark for one in context.sets for remark in remarks(one)),
                *(f"**Diverged.** {why}" for whys in context.results.inputs.diverged.values() for why in whys)]:
        blocks.append(Bullets(tuple(said)))
    if soon := _soon(context):
        blocks.append(soon)
    registered = context.results.inputs.registered if context.sets else ()
    # What the preregistered pairs say of heatmaps goes before what these runs say of them, which the paired effects have.
    kinds = ("accuracy",) if registered else ("accuracy", "attention")
    blocks += [_verdict(kind, context) for kind in kinds if context.sets]
    blocks += [verdict for i, study in enumerate(registered, 1) for verdict in claim.outcomes(study, f"summary-{i}")]
    return Section("summary", "", "Summary", "", tuple(blocks))


def _tile(one: DatasetResults) -> Tile:
    arm = "with" if "with" in one.arms else "without"
    runs = one.arms[arm]
    views = with_views(runs)
    best = views or [plain(run) for run in runs]
    how = f"{ARM_LABELS[arm]}, mean of {f.plural(len(runs), 'seed')}"
    clock = f"{f.seconds(mean_of(runs, lambda r: r.record.clocks['article']))} of training"
    share = [s for run in runs if (s := budget_share(run)) is not None]
    detail = f"{how}; {clock}" + (f", {f.percent(stats.mean(share), 1)} of the budget" if share else "")
    if views:
        detail += f"; {f.percent(mean_of(runs, plain))} without test-time views"
    return Tile(f.percent(stats.mean(best)), one.title, detail)


def _answer(context: Context) -> str:
    runs = context.results.runs
    budget = context.results.inputs.budget_seconds
    longest = max(run.record.clocks[run.record.budget_policy] for run in runs)
    full = [run for run in runs if run.record.epochs >= run.record.recipe.epochs - 0.01]
    within = (f"Every run stayed within its budget of {f.seconds(budget)}; the longest took {f.seconds(longest)}."
              if budget and longest <= budget else f"The longest run took {f.seconds(longest)}.")
    if budget and longest > budget:
        within = f"The budget of {f.seconds(budget)} was exceeded: the longest run took {f.seconds(longest)}."
    off = sum(abs(run.record.final_factor - run.record.recipe.schedule.floor) > 1e-9 for run in runs)
    landed = ("in every run the learning rate came down to its end." if not off else
              f"in {off} of {f.plural(len(runs), 'run')} the learning rate did not come down to its end.")
    done = ("All took the epochs that their recipes want" if len(full) == len(runs) else
            f"{len(full) or 'None'} of {len(runs)} took all the epochs that their recipes want, "
            f"{'the others were' if full else 'each was'} cut to the time there was")
    trained = "".join(f" {said[:1].upper()}{said[1:]}." for said in arithmetic(runs))
    return f"{within} {done}; {landed}{trained}"


def _verdict(kind: str, context: Context) -> ClaimBlock:
    claims = [claim for claim in context.claims if claim.kind == kind]
    caveats = [f"{claim.title}: {caveat}." for claim in claims for caveat in claim.caveats]
    return ClaimBlock(f"claim-{kind}", claims[0].text, tuple(Outcome(c.verdict, findings.sentence(c)) for c in claims),
                   " ".join(caveats))


def _soon(context: Context) -> FigureSpec | None:
    """Validation accuracy against the clock, a panel a data set."""
    contents: list[Panel] = []
    for one in context.sets:
        arms = {arm: tuple(line for run in runs if (line := _clock_line(run))) for arm, runs in one.arms.items()}
        if any(arms.values()):
            contents.append(Panel(one.title, "seconds of training", "validation accuracy" if not contents else "", arms,
                                  percent=True))
    if not contents:
        return None
    alt = "Validation accuracy against seconds of training, a panel a data set. " + " ".join(map(_ends, contents))
    columns = len(contents) if len(contents) < 4 else 2
    return FigureSpec("accuracy-against-time", panels("Accuracy against time", contents, max(columns, 1)), alt,
                      "How soon each data set is learned: accuracy on held-out training images against the article’s "
                      "clock. Thin lines are seeds, the bold line is their mean at equal shares of the run.",
                      {p.title: {a: [line.y[-1] for line in ls] for a, ls in p.arms.items()} for p in contents})


def _ends(panel: Panel) -> str:
    """Where the curves of a panel end, in words."""
    ends = [f"{ARM_LABELS[arm]} it ends at {f.percent(stats.mean([line.y[-1] for line in lines]), 1)} after "
            f"{f.seconds(stats.mean([line.x[-1] for line in lines]))}" for arm, lines in panel.arms.items() if lines]
    return f"{panel.title}: {f.listing(ends)}."


def _clock_line(run: Run) -> Line | None:
    looks, steps = run.epochs, run.steps
    known = np.isfinite(looks["validation_accuracy"])
    if not known.any() or not len(steps["seconds"]):
        return None
    at = looks["step"][known].astype(int) - 1
    return Line(tuple(steps["seconds"][at].tolist()), tuple(looks["validation_accuracy"][known].tolist()))
