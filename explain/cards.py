"""An inspection as strings and pictures, ready for the page."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import torch

from explain.artefact import LayerRecord
from explain.gradients import IMAGE
from explain.metrics import Score, is_dead
from explain.overlay import pixels
from explain.page import Card, Page, Picture, Section, Table, png

if TYPE_CHECKING:
    from explain.inspector import Inspection

_count = itertools.count()
_KINDS = {"true": "the true maps", "wrong_class": "maps for a wrong class", "untrained": "the untrained network",
          "another_image": "another image's maps", "gaussian": "a Gaussian in the middle", "uniform": "a uniform map"}


def page_of(inspection: Inspection) -> Page:
    """Every string of the page, and every picture."""
    record = inspection.explanations[0].record
    layer = record.layers[inspection.layer]
    content, made = inspection.data, _cards(inspection)
    seeds = sorted({e.record.seed for e in inspection.explanations})
    names = " and ".join(inspection.names).replace("with augmentation and without", "with and without")
    title = f"Where {'a network looks' if len(inspection.names) == 1 else 'two networks look'}: {record.dataset}, {names}"
    subtitle = (f"Seed {' and '.join(map(str, seeds))} · {inspection.method} for the {inspection.target} class · "
                f"{_place(inspection.layer, layer)} · "
                f"{len(content['index'])} test images")
    scale = inspection.scale
    return Page(
        title=title, subtitle=subtitle, bar=png(scale.bar()), bar_ends=("0", f"{scale.limit:.3g}"),
        bar_label=scale.label[0].upper() + scale.label[1:] + ". Images without colour have none.",
        filters=_filters(inspection.names, made),
        sections=tuple(Section(title[0].upper() + title[1:], tuple(made[i] for i in rows))
                       for title, rows in inspection.sections()),
        rule=f"How the images were chosen. {record.gallery.rule}", table=_table(inspection),
        width=content["image"].shape[-1] * max(1, round(105 / content["image"].shape[-1])),
        uid=f"x{hashlib.sha256(repr(inspection).encode()).hexdigest()[:8]}{next(_count)}")


def _place(name: str, layer: LayerRecord) -> str:
    if layer.module == IMAGE:
        return f"every pixel of {layer.height}×{layer.width}"
    return f"{name} layer ({layer.module}, {layer.height}×{layer.width} cells)"


def _cards(inspection: Inspection) -> list[Card]:
    content, overlays, classes = inspection.data, inspection.overlays(), inspection.dataset.classes
    images = pixels(content["image"])
    made = []
    for i, label in enumerate(content["label"]):
        truth = classes[label]
        pictures = [Picture("image", png(images[i]), f"Test image {content['index'][i]}: {truth}", truth,
                            f"test image {content['index'][i]}")]
        rights = []
        for name, run in content["runs"].items():
            answer, share = classes[run["predicted"][i]], f"{100 * run['confidence'][i]:.0f}\u00a0%"
            rights.append(bool(run["predicted"][i] == label))
            dead = bool(is_dead(torch.from_numpy(run["map"][i:i + 1])))
            explained = truth if inspection.target == "true" else answer
            alt = (f"The same image, {name}: answers {answer} with {share} confidence, "
                   f"{'right' if rights[-1] else 'wrong'}; "
                   f"{'no positive evidence' if dead else 'evidence'} for {explained}{'' if dead else ' in colour'}")
            pictures.append(Picture(name.removesuffix(" augmentation"), png(overlays[name][i]), alt, answer,
                                    share + (", no evidence" if dead else ""), rights[-1]))
        made.append(Card(tuple(pictures), frozenset(_kinds(rights))))
    return made


def _kinds(rights: list[bool]) -> list[str]:
    return [kind for kind, fits in (("all", True), ("right", all(rights)), ("wrong", not any(rights)),
                                    ("first", len(rights) == 2 and rights == [False, True]),
                                    ("second", len(rights) == 2 and rights == [True, False])) if fits]


def _filters(names: tuple[str, ...], made: list[Card]) -> tuple[tuple[str, str], ...]:
    both = "both " if len(names) == 2 else ""
    labels = {"all": "all", "right": f"{both}right", "wrong": f"{both}wrong"}
    if len(names) == 2:
        labels |= {"first": f"wrong only {names[0]}", "second": f"wrong only {names[1]}"}
    counts = {kind: sum(kind in card.kinds for card in made) for kind in labels}
    return tuple((kind, f"{label} {counts[kind]}") for kind, label in labels.items() if counts[kind] or kind == "all")


def _table(inspection: Inspection) -> Table | None:
    records = [e.record for e in inspection.explanations]
    layers = [record.layers[inspection.layer] for record in records]
    if any(layer.score is None for layer in layers):
        return None
    scores = [{"true": layer.score, **layer.controls} for layer in layers]
    rows = [(words, *(cell for each in scores for cell in _cells(each[kind]))) for kind, words in _KINDS.items()]
    head = ("", *(f"{what}, {name}" for name in inspection.names for what in ("mass", "score")))
    return Table(
        "How much of the evidence lies on the object, beside what would score without looking", head, tuple(rows),
        f"Mass: share of the positive evidence inside the object ({records[0].foreground}). The object fills "
        f"{_number(layers[0].score.foreground)} of the image, and the best map of this resolution reaches "
        f"{_number(layers[0].score.ceiling)}; the score puts these at 0 and 1. Measured for the true class on "
        f"{records[0].measured}. {_dead(inspection.names, layers)} A mass that its controls reach as well shows nothing.")


def _cells(score: Score) -> tuple[str, str]:
    return _number(score.mass), _number(score.score)


def _dead(names: tuple[str, ...], layers: list[LayerRecord]) -> str:
    shares = ", ".join(f"{100 * layer.dead:.1f}\u00a0% {name}" for name, layer in zip(names, layers, strict=True))
    return f"Maps without positive evidence are left out: {shares}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")
