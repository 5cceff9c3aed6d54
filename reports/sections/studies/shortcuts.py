"""Can heatmaps be believed? Networks whose reliance on a planted shortcut is known, shown before any other heatmap."""

from __future__ import annotations

from collections.abc import Sequence

from explain.studies.shortcuts import LAYERS, ModelRecord, StudyRecord, Tracking, tracking
from reports.figures.reliance import Network, scatter
from reports.model import Block, Bullets, Cell, Code, Column, FigureSpec, Group, Prose, Section, Table
from reports.renderers import formats as f
from reports.sections.context import ARM_LABELS, Context
from reports.sections.registry import has_input, report_section
from speedcore import stats

TITLES = {"corner": "patch in the corner", "hue": "hue of the background"}
_SAID = {"tracks": "the maps show what the networks rely on", "contradicts": "the maps show the opposite of what the networks "
         "rely on", "cannot tell": "whether the maps show what the networks rely on cannot be told"}


@report_section("shortcuts", "Can the maps be believed?", 95, has_input("shortcuts"))
def section(context: Context) -> Section:
    """The chapter: what was planted and swapped, whether mass follows reliance, and every figure behind it."""
    studies = context.results.inputs.shortcuts
    groups = tuple(Group(f"shortcuts-{i}", _title(study), _blocks(study, i)) for i, study in enumerate(studies, 1))
    lead = ("Before anything is read off heatmaps: do they show what a network relies on? Here the answer is known. Shapes are "
            "given a shortcut that betrays the class, in a share of the training images; then the same test images are shown "
            "once with every shortcut right and once with every shortcut swapped to a wrong class. The accuracy that this takes "
            "away is the network’s reliance on it.")
    return Section("shortcuts", "", "Can the maps be believed?", lead, groups)


def _title(study: StudyRecord) -> str:
    return f"Recipe {study.recipe.name}, {f.plural(len(study.models), 'network')}"


def _blocks(study: StudyRecord, number: int) -> tuple[Block, ...]:
    kinds = list(dict.fromkeys(m.shortcut for m in study.models))
    found = [tracking(study.models, kind, layer) for kind in kinds for layer in LAYERS]
    blocks: list[Block] = [Bullets(tuple(sentence(t) for t in found))]
    if any(t.verdict != "tracks" for t in found if t.layer == LAYERS[0]):
        blocks.append(Prose("Where mass does not follow reliance, a difference between the arms’ maps says little of what the "
                            "networks rely on, and the next chapter is to be read with that in mind.", "note"))
    if any(m.mass(LAYERS[0]) is not None for m in study.models):
        blocks.append(_figure(study, kinds, number))
    blocks += [_table(study, number), Code(_command(study), "Command that makes this study again, or continues it")]
    return tuple(blocks)


def sentence(t: Tracking) -> str:
    """Whether mass follows reliance, in words."""
    what = f"**{TITLES[t.shortcut][:1].upper()}{TITLES[t.shortcut][1:]}, {t.layer} layer**"
    if t.n == 0:
        return f"{what}: no network has a map that could be scored."
    if t.correlation is None:
        return f"{what}: the {f.plural(t.n, 'network')} do not differ in reliance or in mass, so nothing can be compared."
    between = (f", 95{f.NBSP}% interval {f.bounds(t.interval.low, t.interval.high, sign=True)}" if t.interval else
               ", too few for an interval")
    return (f"{what}: rank correlation of the maps’ mass on the shortcut with measured reliance over "
            f"{f.plural(t.n, 'network')} {f.signed(t.correlation)}{between}: {_SAID[t.verdict]}.")


def _figure(study: StudyRecord, kinds: Sequence[str], number: int) -> FigureSpec:
    layer = LAYERS[0]
    panels = {TITLES[kind]: [Network(m.arm, 100 * m.reliance, mass, m.correlation) for m in study.models
                             if m.shortcut == kind and (mass := m.mass(layer)) is not None] for kind in kinds}
    nulls = {}
    for kind in kinds:
        known = [s.score for m in study.models if m.shortcut == kind
                 and (s := m.layers[layer].controls.get("untrained")) and s.score is not None]
        nulls[TITLES[kind]] = stats.mean(known) if known else None
    alt = f"Mass of heatmaps on a planted shortcut against measured reliance on it, {layer} layer. " + " ".join(
        f"{name}: " + "; ".join(f"{ARM_LABELS[n.arm]}, correlation {n.correlation:g}: reliance {n.reliance:.1f} points, mass "
                                f"{n.mass:.2f}" for n in networks) + "." for name, networks in panels.items())
    return FigureSpec(f"reliance-{number}", scatter("Reliance and mass", panels, nulls), alt,
                      f"A point a network, {layer} layer. Across: accuracy lost when every shortcut is swapped. Up: mass of the "
                      f"true-class maps on the shortcut’s pixels, 0 for an even map, 1 for the best that the layer’s resolution "
                      f"allows. Small figures: share of the training images in which the shortcut surely betrays the class.",
                      {name: [(n.arm, n.correlation, n.reliance, n.mass) for n in networks] for name, networks in panels.items()})


def _table(study: StudyRecord, number: int) -> Table:
    groups: dict[tuple[str, float, str], list[ModelRecord]] = {}
    for m in study.models:
        groups.setdefault((m.shortcut, m.correlation, m.arm), []).append(m)
    rows = []
    for (shortcut, correlation, arm), models in groups.items():
        layer = [m.layers[LAYERS[0]] for m in models]
        controls = [_mean([one.controls[kind].score for one in layer]) for kind in ("untrained", "wrong_class")]
        rows.append((
            Cell(shortcut), Cell(f"{correlation:g}"), Cell(arm, mark=arm), Cell(str(len(models))),
            *(Cell(f.percent(stats.mean(values), 1)) for values in
              ([m.accuracy_right for m in models], [m.accuracy_swapped for m in models])),
            Cell(f.points(stats.mean([m.reliance for m in models]), 1)),
            *(Cell(_mean([m.mass(name) for m in models])) for name in LAYERS), *(Cell(text) for text in controls),
            Cell(_mean([one.object.score for one in layer])),
            Cell(f.percent(stats.mean([s.dead / (s.n + s.dead) for one in layer if (s := one.shortcut).n + s.dead]), 1)
                 if any(one.shortcut.n + one.shortcut.dead for one in layer) else f.NONE)))
    columns = (Column("Shortcut"), Column("Share", True), Column("Augmentation"), Column("n", True),
               Column("Right", True), Column("Swapped", True), Column("Reliance", True),
               *(Column(name.title(), True) for name in LAYERS), Column("Untrained", True), Column("Wrong", True),
               Column("Object", True), Column("Dead", True))
    return Table(f"reliance-table-{number}", "Planted shortcuts: accuracy, reliance and mass, means over networks", columns,
                 tuple(rows), heads=3,
                 note=f"Share: of the training images whose shortcut is the class for sure; the others’ is drawn by lot. Right, "
                      f"swapped: accuracy with every shortcut right, and wrong; reliance: their difference in points. "
                      f"{f.listing([name.title() for name in LAYERS])} layer: normalised mass of {study.method} maps of the true "
                      f"class on the shortcut, {study.images_per_class} test images a class, all shortcuts right. "
                      f"{LAYERS[0].title()} layer too: null controls on the same pixels (untrained networks, maps of a wrong "
                      f"class), the mass on the object, and the share of maps that are empty, which are never scored.")


def _mean(values: Sequence[float | None]) -> str:
    return f.decimal(stats.known_mean(values))


def _command(study: StudyRecord) -> str:
    models = study.models
    listed = {"--shortcut": ",".join(dict.fromkeys(m.shortcut for m in models)),
              "--correlations": ",".join(f"{c:g}" for c in sorted({m.correlation for m in models})),
              "--arm": ",".join(arm for arm in ARM_LABELS if arm in {m.arm for m in models}),
              "--seeds": str(1 + max(m.seed for m in models)), "--epochs": f"{study.recipe.epochs:g}",
              "--train": str(study.train_images), "--test": str(study.test_images),
              "--images-per-class": str(study.images_per_class)}
    return f"python -m explain.studies shortcuts --recipe {study.recipe.name} " + " ".join(
        f"{option} {value}" for option, value in listed.items())
