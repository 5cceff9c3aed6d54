"""Do the maps depend on what was learned? Weights re-initialised, untrained networks, wrong classes, empty maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from explain.artefact import Explanation, LayerRecord
from reports.figures.cascades import Layer, cascades
from reports.model import Cell, Column, FigureSpec, Table
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import ARM_LABELS
from speedcore import stats

Arms = Mapping[str, Sequence[Explanation]]


def cascade(one: DatasetResults, arms: Arms) -> FigureSpec | None:
    """None where no explanation has one, or where the networks do not have the same modules."""
    made = {arm: [e.record.cascade for e in explained if e.record.cascade] for arm, explained in arms.items()}
    every = [record for records in made.values() for record in records]
    if not every or len({record.modules for record in every}) > 1:
        return None
    layers = [Layer(f"{layer} layer", {arm: [r.similarity[layer] for r in records] for arm, records in made.items() if records},
                    stats.known_mean([r.another_image[layer] for r in every])) for layer in every[0].similarity]
    steps = every[0].modules
    said = "; ".join(f"{layer.title}, {ARM_LABELS[arm]}: {_end(runs)} once all weights are re-initialised"
                     for layer in layers for arm, runs in layer.arms.items())
    floors = "; ".join(f"{layer.title} {f.decimal(layer.floor)}" for layer in layers)
    return FigureSpec(f"cascade-{one.slug}", cascades(f"Weights re-initialised, {one.title}", steps, layers),
                      f"Rank correlation of maps with those of the trained network as weights are re-initialised, {one.title}. "
                      f"{said}. Maps of two different images: {floors}.",
                      f"{one.title}: the network’s weights are re-initialised, module after module from the head down, and each "
                      f"time the maps of {every[0].images} images are compared with what they were. Maps that stay alike do not "
                      f"depend on what was learned. Dotted: how alike the maps of two different images are, below which none "
                      f"need fall. Thin lines are runs.",
                      {layer.title: {arm: [list(run) for run in runs] for arm, runs in layer.arms.items()} for layer in layers})


def statistics_of(one: DatasetResults, arms: Arms) -> Table:
    """What maps that must show nothing come to, beside the true ones."""
    rows = []
    for layer in next(iter(arms.values()))[0].record.layers:
        for arm, explained in arms.items():
            records = [e.record.layers[layer] for e in explained]
            alike = [e.record.cascade for e in explained if e.record.cascade]
            rows.append((
                Cell(layer), Cell(arm, mark=arm), Cell(str(len(records))),
                Cell(f.percent(stats.mean([r.dead for r in records]), 1)),
                *(Cell(_decimal(records, get)) for get in (_score, _control("wrong_class"), _control("another_image"),
                                                           _control("untrained"), _control("gaussian"))),
                Cell(_end([r.similarity[layer] for r in alike])),
                Cell(f.decimal(stats.known_mean([r.another_image[layer] for r in alike])))))
    columns = (Column("Layer"), Column("Augmentation"), Column("n", True), Column("Dead", True), Column("True class", True),
               Column("Wrong class", True), Column("Another image", True), Column("Untrained", True), Column("Blob", True),
               Column("Re-initialised", True), Column("Two images", True))
    return Table(f"sanity-{one.slug}", f"{one.title}: what maps that know nothing come to", columns, tuple(rows), heads=2,
                 note="Dead: share of maps without any positive value. Then the normalised mass on the object, where there are "
                      "masks: of the true class’s maps, and of null controls, which the true ones must leave behind to show "
                      "anything (an even map has 0). Re-initialised: rank correlation of maps before and after all weights are "
                      "re-initialised; two images: that of the maps of two different images.")


def _score(record: LayerRecord) -> float | None:
    return None if record.score is None else record.score.score


def _control(kind: str) -> Callable[[LayerRecord], float | None]:
    return lambda record: record.controls[kind].score if kind in record.controls else None


def _decimal(records: Sequence[LayerRecord], get: Callable[[LayerRecord], float | None]) -> str:
    return f.decimal(stats.known_mean([get(record) for record in records]))


def _end(runs: Sequence[Sequence[float | None]]) -> str:
    """The last step of cascades, mean over runs."""
    return f.decimal(stats.known_mean([run[-1] for run in runs]))
