"""An inspection as what its page is made of: words, a still picture, and the data that the script draws from.

Not pictures of overlays, of which there would be one for each image, run, method, layer, target and strength, but the
images and maps themselves as small integers, and the tables that draw maps out to pixels: the page blends them itself.
"""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np

from explain.artefact import TARGETS
from explain.attribution.geometry import Extent, tables
from explain.inspector import packing, words
from explain.inspector.mapset import MapSet
from explain.inspector.overlay import GROUND, STRENGTH, pixels
from explain.inspector.page import Page, png

STILLS = 12
_count = itertools.count()


def page_of(inspection: MapSet) -> Page:
    """Every string of the page, its still, its data."""
    n = len(inspection.data["index"])
    strips = [pixels(inspection.data["image"])[:STILLS], *(o[:STILLS] for o in inspection.overlays().values())]
    still = None if n == 0 else png(np.concatenate([np.concatenate(list(strip), axis=1) for strip in strips]))
    return Page(
        title=words.title(inspection), subtitle=words.subtitle(inspection), rule=words.rule(inspection),
        tables=words.tables(inspection), still=still,
        still_alt=f"The first {min(n, STILLS)} images; below them, the same images with the evidence in colour, a row each: "
                  f"{', '.join(inspection.names)}",
        data=_data(inspection), uid=f"x{hashlib.sha256(repr(inspection).encode()).hexdigest()[:8]}{next(_count)}")


def _data(inspection: MapSet) -> dict[str, Any]:
    content, size = inspection.data, inspection.dataset.size
    images = content["image"] if content["image"].shape[1] in (1, 3) else content["image"][:, :1]
    arrays = {"images": packing.predicted(images),
              "colours": inspection.scale.bar(256)[0]}
    methods = [_method(inspection, name, arrays) for name in inspection.methods]
    places, text = packing.packed(arrays)
    runs = content["runs"].values()
    return {
        "names": inspection.names, "classes": inspection.dataset.classes, "size": size, "channels": images.shape[1],
        "index": content["index"].tolist(), "label": content["label"].tolist(),
        "predicted": [run["predicted"].tolist() for run in runs],
        "confidence": [[round(float(c), 6) if np.isfinite(c) else None for c in run["confidence"]] for run in runs],
        "targets": TARGETS, "methods": methods, "places": places, "packed": text,
        "levels": packing.LEVELS, "reach": packing.REACH, "none": packing.NONE,
        "ground": GROUND, "strength": STRENGTH, "code": inspection.code,
        "start": {"method": inspection.arms[0].record.method, "layer": inspection.layer, "target": inspection.target},
    }


def _method(inspection: MapSet, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """A method's layers and, put into `arrays`, their maps and measures."""
    there = inspection.at(method=name)
    return {"name": name, "title": there.method, "layers": [
        _layer(inspection, name, layer, arrays) for layer in there.arms[0].record.layers]}


def _layer(inspection: MapSet, method: str, layer: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    views = [inspection.at(layer, target, method) for target in TARGETS]
    records = [e.record.layers[layer] for e in views[0].arms]
    unit = max(view.scale.limit for view in views)
    rows = list(inspection.looked_at)
    for run in range(len(records)):
        # An image's targets side by side and in one unit: where the prediction is right both maps are the same, and deflating
        # sees it.
        arrays[f"{method}/{layer}/{run}"] = np.stack(
            [packing.levels(list(view.data["runs"].values())[run]["map"], unit) for view in views], 1)
    measures = [view.measures for view in views]
    for key, one in measures[0].items():
        arrays[f"{method}/{layer}/{key}"] = np.stack(
            [packing.steps(measure[key].values[:, rows], one.low, one.high) for measure in measures])
    return {
        "name": layer, "title": words.place(layer, records[0]),
        "grids": [(record.height, record.width) for record in records],
        "tables": [_tables((record.height, record.width), inspection.dataset.size, record.extent) for record in records],
        "scales": [{"end": f"{view.scale.limit:.3g}", "unit": unit / view.scale.limit,
                    "label": view.scale.label[0].upper() + view.scale.label[1:]}
                   for view in views],
        "measures": [{"name": m.name, "title": m.title, "definition": m.definition, "low": m.low, "high": m.high}
                     for m in measures[0].values()]}


def _tables(grid: tuple[int, int], size: tuple[int, int], extent: Extent) -> list[list[list[float]]] | None:
    """What draws a map out to the pixels, by rows and by columns; None where cells are pixels."""
    found = [[[round(x, 4) for x in row] for row in table.tolist()] for table in tables(grid, size, extent)]
    cells = [np.eye(pixels).tolist() for pixels in size]
    return None if found == cells else found
