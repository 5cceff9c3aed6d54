"""The sentences and the table around an inspection."""

from __future__ import annotations

from pathlib import PurePath

from explain.artefact import LayerRecord
from explain.attribution.gradients import IMAGE
from explain.inspector.mapset import MapSet
from explain.inspector.page import Table
from explain.metrics import Score

_KINDS = {"true": "the true maps", "wrong_class": "maps for a wrong class", "untrained": "the untrained network",
          "another_image": "another image's maps", "gaussian": "a Gaussian in the middle", "uniform": "a uniform map"}


def public(dataset: str) -> str:
    """A data set's name without the place where its maker had it: of folder:PATH the last part of the path."""
    kind, colon, place = dataset.partition(":")
    return f"{kind}:{PurePath(place).name}" if colon and kind == "folder" else dataset


def title(inspection: MapSet) -> str:
    names = " and ".join(inspection.names).replace("with augmentation and without", "with and without")
    return (f"Where {'a network looks' if len(inspection.names) == 1 else 'two networks look'}: "
            f"{public(inspection.arms[0].record.dataset)}, {names}")


def subtitle(inspection: MapSet) -> str:
    seeds = sorted({e.record.seed for e in inspection.arms})
    return f"Seed {' and '.join(map(str, seeds))} · {len(inspection.data['index'])} test images"


def rule(inspection: MapSet) -> str:
    return f"How the images were chosen. {inspection.arms[0].record.gallery.rule}"


def place(name: str, layer: LayerRecord) -> str:
    """What a layer is called where one is chosen."""
    if layer.module == IMAGE:
        return f"every pixel, {layer.height}×{layer.width}"
    return f"{name} ({layer.module}, {layer.height}×{layer.width} cells)"


def tables(inspection: MapSet) -> tuple[Table, ...]:
    """Measures beside their null controls, a table for each method and layer; none where the object is not known."""
    made = (_table(inspection.at(layer, method=method)) for method in inspection.methods
            for layer in inspection.at(method=method).arms[0].record.layers)
    return tuple(table for table in made if table)


def _table(inspection: MapSet) -> Table | None:
    records = [e.record for e in inspection.arms]
    layers = [record.layers[inspection.layer] for record in records]
    own = [layer.score for layer in layers if layer.score is not None]
    if len(own) < len(layers):
        return None
    scores = [{"true": score, **layer.controls} for score, layer in zip(own, layers, strict=True)]
    rows = [(words, *(cell for each in scores for cell in _cells(each[kind]))) for kind, words in _KINDS.items()]
    head = ("", *(f"{what}, {name}" for name in inspection.names for what in ("mass", "score")))
    return Table(
        f"Does the evidence lie on the object? {inspection.method[0].upper()}{inspection.method[1:]}, "
        f"{place(inspection.layer, layers[0])}, beside what would score without looking", head, tuple(rows),
        f"Mass: share of the positive evidence inside the object ({records[0].foreground}). The object fills "
        f"{_number(own[0].foreground)} of the image, and the best map of this resolution reaches "
        f"{_number(own[0].ceiling)}; the score puts these at 0 and 1. Measured for the true class on "
        f"{records[0].measured}. {_dead(inspection.names, layers)} A mass that its controls reach as well shows nothing.")


def _cells(score: Score) -> tuple[str, str]:
    return _number(score.mass), _number(score.score)


def _dead(names: tuple[str, ...], layers: list[LayerRecord]) -> str:
    shares = ", ".join(f"{100 * layer.dead:.1f}\u00a0% {name}" for name, layer in zip(names, layers, strict=True))
    return f"Maps without positive evidence are left out: {shares}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
