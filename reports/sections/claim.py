"""The claim as it was preregistered and run: verdicts first, then every test behind them, with null controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from explain.claim.preregistration import NORMALISED_MASS, Outcome
from explain.claim.verdicts import NONE, WITH, ClaimRecord, ClaimTests, entries, null_differences, verdicts
from explain.metrics import METRICS
from explain.studies.shortcuts import LAYERS, tracking
from reports import model
from reports.figures.forest import Block, Panel, Row, forest
from reports.labels import title_of
from reports.model import Bullets, Cell, ClaimBlock, Code, Column, FigureSpec, Group, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.context import Context
from reports.sections.registry import has_input, report_section
from reports.sections.studies import shortcuts
from speedcore import stats
from speedcore.stats import claims
from speedcore.stats.claims import Tested

COMMAND = "python -m explain.studies claim"
# Of what a difference is shown beside the same difference of maps that know nothing of it.
_NULLS = {"wrong_class": "map of a wrong class", "another_image": "another image’s map"}
_PARTS = {"crop": "crop", "flip": "flip", "cutout": "cutout", "all": "all together"}


@report_section("claim", "The claim, as it was preregistered", 90, has_input("registered"))
def section(context: Context) -> Section:
    """A group a study; of a single one its blocks alone."""
    studies = context.results.inputs.registered
    blocks = _blocks(studies[0], 1, context) if len(studies) == 1 else tuple(
        Group(f"claim-{i}", f"Study {i}: {f.listing([title_of(name) for name in study.datasets])}", _blocks(study, i, context))
        for i, study in enumerate(studies, 1))
    lead = ("The article ends with a claim: with augmentation the network looks at a more logical section of the image. What "
            "would count as showing it was written down before it was run (`explain/claim/preregistration.toml`): the images, "
            "the layer, the measure, the number of pairs, and how small a difference does not matter.")
    return Section("claim", "", "The claim, as it was preregistered", lead, blocks)


def outcomes(study: ClaimRecord, prefix: str) -> tuple[ClaimBlock, ...]:
    """A block a kind of claim: what became of it on each data set."""
    note = _standing(study)
    return tuple(ClaimBlock(f"{prefix}-{found.kind}", found.claim.text,
                         tuple(model.Outcome(tested.verdict, sentence(tested, name, found.claim.primary))
                               for name, tested in found.primary.items()), note) for found in verdicts(study))


def not_run(context: Context) -> Prose | None:
    """What this report has no evidence for, and the command that makes it."""
    inputs = context.results.inputs
    left = [f"{what} (`{command}`)" for what, command, there in (
        ("whether maps show what networks rely on", "python -m explain.studies shortcuts", inputs.shortcuts),
        ("the preregistered claim with its ten pairs", COMMAND, inputs.registered)) if not there]
    return Prose(f"Not run beside these runs, and so not in this report: {f.listing(left)}.", "quiet") if left else None


def _blocks(study: ClaimRecord, number: int, context: Context) -> tuple[model.Block, ...]:
    found = verdicts(study)
    blocks: list[model.Block] = [*_believable(context), *outcomes(study, f"registered-{number}"), _forest(study, found, number)]
    if parts := _parts(found, number):
        blocks.append(parts)
    return (*blocks, _tests(found, number), _made(study, number),
            Code(command(study), "Command that runs this again, or continues it"))


def _believable(context: Context) -> list[model.Block]:
    """What the planted shortcuts say of maps at the deciding layer, before anything is read off the arms."""
    said = [shortcuts.sentence(tracking(study.models, kind, LAYERS[0])) for study in context.results.inputs.shortcuts
            for kind in dict.fromkeys(m.shortcut for m in study.models)]
    return [Prose("First, whether maps can be believed at all; the next chapter has the evidence."),
            Bullets(tuple(said))] if said else []


def sentence(tested: Tested, dataset: str, outcome: Outcome) -> str:
    """The verdict on one data set in plain words."""
    name = title_of(dataset)
    if tested.difference is None:
        return f"{name}: no pair could be scored."
    size = f.decimal(abs(tested.difference), 3)
    # Differences are positive in the claim's direction, which of some outcomes is down.
    up = (tested.difference > 0) == (outcome.better == "higher")
    change = f"{size} {'higher' if up else 'lower'}" if float(size) else "the same to three decimals"
    seen = f"On {name}, {measure(outcome)} was {change} with augmentation"
    evidence = [f"mean of {f.plural(tested.n, 'pair')}"]
    if tested.interval:
        evidence.append(f"95{f.NBSP}% interval in favour {f.bounds(tested.interval.low, tested.interval.high, 3, sign=True)}")
    if tested.effect_size is not None:
        evidence.append(f"d = {f.decimal(tested.effect_size)}")
    evidence.append(f"{sum(d > 0 for d in tested.differences)} of {tested.n} pairs in favour")
    if tested.p_holm is not None:
        evidence.append(f"{f.p_value(tested.p_holm)} after Holm’s correction")
    why = claims.reconciled(tested.verdict, tested.interval, tested.bound, tested.opposite)
    return f"{seen} ({', '.join(evidence)}): {_conclusion(tested)} {why}".rstrip()


def _conclusion(tested: Tested) -> str:
    if tested.p_equivalence_holm is not None and tested.verdict == "equivalent within bounds":
        return (f"whatever its sign, the difference is smaller than the {f.decimal(tested.bound)} that would matter "
                f"(equivalence, {f.p_value(tested.p_equivalence_holm)}).")
    if tested.opposite:
        return "the runs show the opposite of the claim."
    return {"supported": "the claim is supported.", "not testable": "too few pairs to settle the claim.",
            "not supported": "the runs do not support the claim."}[tested.verdict]


def measure(outcome: Outcome) -> str:
    """An outcome's measure as it stands in a sentence."""
    return "the maps’ normalised mass on the object" if outcome.measure == NORMALISED_MASS else METRICS[
        outcome.measure].title[:1].lower() + METRICS[outcome.measure].title[1:]


def _standing(study: ClaimRecord) -> str:
    plan = study.preregistration
    registered = f"Preregistered on {plan.registered}, version {plan.version}: {plan.pairs.planned} pairs on each data set"
    return f"{registered}, all of which were run." if study.planned else (
        f"{registered}. Other numbers were run, so these verdicts are exploratory.")


# --- figures ---------------------------------------------------------------------------------------------------------

def _forest(study: ClaimRecord, found: Sequence[ClaimTests], number: int) -> FigureSpec:
    panels, said = [], []
    for one in found:
        blocks = []
        for name, tested in one.primary.items():
            tests = {one.claim.primary.name: tested, **one.secondary[name]}
            of = {o.name: o for o in (one.claim.primary, *one.claim.secondary)}
            rows = tuple(_row(outcome, test, null_differences(study.datasets[name], of[outcome]), test is tested)
                         for outcome, test in tests.items())
            blocks.append(Block(title_of(name), rows))
            said += [_said(title_of(name), row) for row in rows]
        panels.append(Panel(_short(one), tuple(blocks)))
    return FigureSpec(
        f"forest-{number}", forest("Paired differences", panels, "difference in favour of the claim, in the outcome’s own unit"),
        "Differences between the arms of each pair, positive where augmentation did better. " + " ".join(said),
        "A row an outcome, the deciding one in black; a small dot a pair of seeds. Grey band: differences too small to matter, "
        "set beforehand. Coloured marks: the same difference had the maps been those of a null control; an outcome whose "
        "controls differ as much as itself says nothing of what speaks for the class. "
        f"{stats.INTERVAL_AND_P}.",
        {panel.title: {block.heading: {row.label: row.differences for row in block.rows} for block in panel.blocks}
         for panel in panels})


def _parts(found: Sequence[ClaimTests], number: int) -> FigureSpec | None:
    panels, said = [], []
    for one in (one for one in found if one.parts):
        by_set: dict[str, list[Row]] = {}
        for which, dataset, part, tested in entries(one):
            if which == "part":
                by_set.setdefault(dataset, []).append(_row(_PARTS.get(part, part), tested))
        panels.append(Panel(f"{one.claim.primary.name.capitalize()}, part by part", tuple(
            Block(title_of(name), tuple(rows)) for name, rows in by_set.items())))
        said += [_said(title_of(name), row) for name, rows in by_set.items() for row in rows]
    if not panels:
        return None
    return FigureSpec(f"parts-{number}", forest("Parts of the augmentation", panels, "difference from no augmentation at all"),
                      "Each part of the augmentation by itself against none, on the deciding outcome. " + " ".join(said),
                      "Which part does it: each by itself against no augmentation, on the deciding outcome, same seeds.",
                      {panel.title: {block.heading: {row.label: row.differences for row in block.rows} for block in panel.blocks}
                       for panel in panels})


def _short(one: ClaimTests) -> str:
    return {"logical": "More logical?", "stability": "More faithful and more stable?"}[one.kind]


def _row(label: str, tested: Tested, nulls: Mapping[str, Sequence[float]] | None = None, strong: bool = False) -> Row:
    low, high = (tested.interval.low, tested.interval.high) if tested.interval else (None, None)
    known = tuple((_NULLS.get(kind, kind), stats.mean(values)) for kind, values in (nulls or {}).items() if values)
    return Row(label, tested.differences, low, high, tested.bound, known, strong)


def _said(where: str, row: Row) -> str:
    if not row.differences:
        return f"{where}, {row.label}: no pair."
    between = ("" if row.low is None or row.high is None else
               f", 95 % interval {f.bounds(row.low, row.high, 3, sign=True)}")
    controls = "".join(f"; {what} {f.signed(value, 3)}" for what, value in row.nulls)
    return f"{where}, {row.label}: {f.signed(stats.mean(row.differences), 3)}{between}{controls}."


# --- tables ----------------------------------------------------------------------------------------------------------

def _tests(found: Sequence[ClaimTests], number: int) -> Table:
    rows = [_test(dataset, _named(which, what), tested) for one in found for which, dataset, what, tested in entries(one)]
    columns = (Column("Data set"), Column("Outcome or part"), Column("Verdict"), Column("Pairs", True),
               Column("Difference", True), Column("95 % interval", True), Column("d", True), Column("Superiority", True),
               Column("p, Holm", True), Column("p, equivalent", True))
    return Table(f"tests-{number}", "Every registered test", columns, tuple(rows), heads=2, sortable=True,
                 note="Difference: in favour of the claim, in the outcome’s own unit. d: mean difference over its standard "
                      "deviation. Superiority: share of pairs in favour, ties half. p: exact sign-flip tests, corrected by Holm: "
                      "the primary outcome over the data sets, secondary ones within a data set, parts over all of them. Only "
                      f"the primary test decides the claim. 95 % {stats.MEAN_INTERVAL}. {stats.INTERVAL_AND_P}.")


def _named(which: str, what: str) -> str:
    """An outcome or a part as the table names it."""
    if which == "part":
        return _PARTS[what] if what == "all" else f"{_PARTS.get(what, what)} alone"
    return f"{what} (primary)" if which == "primary" else what


def _test(dataset: str, what: str, tested: Tested) -> tuple[Cell, ...]:
    interval = f.bounds(tested.interval.low, tested.interval.high, 3, sign=True) if tested.interval else f.NONE
    # One word for the verdict, so that all columns fit an upright page.
    verdict = Cell(tested.verdict.removesuffix(" within bounds"), mark=tested.verdict.replace(" ", "-"))
    return (Cell(title_of(dataset)), Cell(what), verdict, Cell(str(tested.n)),
            Cell(f.NONE if tested.difference is None else f.signed(tested.difference, 3), sort=repr(tested.difference or 0.0)),
            Cell(interval), Cell(f.decimal(tested.effect_size)), Cell(f.decimal(tested.superiority)),
            *(Cell(f.NONE if p is None else f"{p:.3f}") for p in (tested.p_holm, tested.p_equivalence_holm)))


def _made(study: ClaimRecord, number: int) -> Table:
    rows = []
    for name, one in study.datasets.items():
        without, augmented = (one.accuracies.get(arm, ()) for arm in (NONE, WITH))
        rows.append((Cell(title_of(name)), Cell(one.recipe.name), Cell(f"{one.recipe.epochs:g}"),
                     Cell(str(_pairs(study, name))),
                     *(Cell(f.spread(stats.mean(values), stats.sd(values)) if values else f.NONE)
                       for values in (without, augmented)), Cell(str(study.images_per_class))))
    columns = (Column("Data set"), Column("Recipe"), Column("Epochs", True), Column("Pairs", True),
               Column("Accuracy without", True), Column("Accuracy with", True), Column("Images a class", True))
    return Table(f"claim-runs-{number}", "What was run", columns, tuple(rows),
                 note="Accuracy of plain test images, mean ± standard deviation over seeds. All arms of a data set take the same "
                      "number of epochs. A more accurate network may look better for that alone, which is why mass is also taken "
                      "on the images that both arms get right, and on checkpoints of equal accuracy.")


def command(study: ClaimRecord) -> str:
    """What runs the study again."""
    recipes = {name: one.recipe.name for name, one in study.datasets.items()}
    epochs = {name: f"{one.recipe.epochs:g}" for name, one in study.datasets.items()}
    pairs = max(_pairs(study, name) for name in study.datasets)
    words = [COMMAND, f"--dataset {','.join(study.datasets)}", f"--recipe {_each(recipes)}", f"--epochs {_each(epochs)}"]
    if pairs != study.preregistration.pairs.planned:
        words.append(f"--seeds {pairs}")
    if study.images_per_class != 100:
        words.append(f"--images-per-class {study.images_per_class}")
    return " ".join(words)


def _pairs(study: ClaimRecord, dataset: str) -> int:
    """Pairs whose primary outcome could be scored; none of a data set without a registered claim, which has no such outcome."""
    claim = study.preregistration.of(dataset)
    return study.datasets[dataset].pairs(claim.primary) if claim else 0


def _each(values: dict[str, str]) -> str:
    return next(iter(values.values())) if len(set(values.values())) == 1 else ",".join(f"{k}={v}" for k, v in values.items())
