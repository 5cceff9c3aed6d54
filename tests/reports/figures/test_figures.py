"""Figures: pure functions of their data."""

from __future__ import annotations

import io
import xml.etree.ElementTree as xml

import numpy as np
import pytest
from PIL import Image

from reports.figures import bars, grids, lines, pairs
from reports.figures.lines import Line, Panel, mean_line
from reports.figures.pixels import png
from reports.renderers import formats as f

CURVES = {"without": (Line((0, 1, 2), (0.1, 0.5, 0.6)), Line((0, 1, 2), (0.2, 0.4, 0.8))),
          "with": (Line((0, 2), (0.1, 0.9)),)}
DRAWN = {
    "panels": lambda: lines.panels("t", [Panel("A", "x", "y", CURVES, percent=True),
                                         Panel("B", "x", "y", CURVES, log=True)], 2),
    "rates": lambda: lines.learning_rates("t", [lines.RatePanel("A", (Line((0, 1), (0, 1)),), CURVES)]),
    "paired": lambda: pairs.paired("t", [pairs.PairedData("A", (1, 2), (2, 4), 0.5, 2.5),
                                         pairs.PairedData("B", (1,), (1,), None, None)], "y", "d"),
    "per class": lambda: pairs.per_class("t", [pairs.ClassRow("a", 0.5, 0.7), pairs.ClassRow("b", None, 0.2)]),
    "ledger": lambda: bars.ledger("t", [bars.LedgerRow("a", {"train": 3.0, "test": 1.0})]),
    "masses": lambda: bars.masses("t", [bars.MassBar("a", (0.1, 0.3), "with"), bars.MassBar("control", (-0.1,))],
                                  "mass"),
    "confusion": lambda: grids.confusion("t", ("a", "b & <c>"), {"with": np.array([[0.9, 0.1], [0.0, 1.0]])}),
    "scale": lambda: grids.colour_scale("t", "inferno", [("middle", 0.5), ("last", 2.0)]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawings_are_sound_and_repeatable(name: str) -> None:
    drawn = DRAWN[name]()
    root = xml.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert DRAWN[name]() == drawn
    # Every reference inside resolves, and none leads outside.
    ids = {e.get("id") for e in root.iter()}
    for element in root.iter():
        target = element.get("{http://www.w3.org/1999/xlink}href")
        assert target is None or target.startswith("data:image/png") or target[1:] in ids


def test_drawing_leaves_no_global_state() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    DRAWN["panels"]()
    assert dict(matplotlib.rcParams) == before


def test_mean_of_curves_at_equal_shares() -> None:
    # One runs to 2, the other to 4: half-way the first is at 1, the second at 2.
    mean = mean_line([Line((0, 1, 2), (0, 1, 2)), Line((0, 4), (0, 8))], points=3)
    assert mean == Line((0.0, 1.5, 3.0), (0.0, 2.5, 5.0))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_pixel(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    read = np.asarray(Image.open(io.BytesIO(png(image))))
    assert (read.reshape(5, 7, -1) == image.transpose(1, 2, 0)).all()


def test_palette_is_close() -> None:
    image = np.linspace(0, 255, 3 * 8 * 8).astype(np.uint8).reshape(3, 8, 8)
    read = np.asarray(Image.open(io.BytesIO(png(image, colours=96))).convert("RGB")).astype(int)
    assert np.abs(read - image.transpose(1, 2, 0)).max() <= 8


@pytest.mark.parametrize(("made", "expected"), [
    (f.percent(0.93415), "93.42 %"), (f.percent(None), "–"), (f.spread(0.9, 0.0123), "90.00 ± 1.23 %"),
    (f.spread(0.9, None), "90.00 %"),
    (f.points(0.00421), "+0.42"), (f.points(-0.001), "−0.10"), (f.points(-0.00001), "0.00"),
    (f.bounds(-0.01, 0.02, scale=100), "−1.00 to 2.00"),
    (f.seconds(0.4), "0.40 s"), (f.seconds(43.12), "43.1 s"), (f.seconds(984.4), "984 s"),
    (f.seconds(12_345), "12,345 s"),
    (f.duration(45), "45 s"), (f.duration(900), "15 min"), (f.duration(12_000), "3 h 20 min"),
    (f.duration(7200), "2 h"),
    (f.memory(1_250_000_000), "1.25 GB"), (f.p_value(0.03125), "p = 0.031"), (f.p_value(0.0001), "p < 0.001"),
    (f.plural(1, "run"), "1 run"), (f.plural(0, "run"), "no runs"), (f.plural(2, "datum", "data"), "2 data"),
    (f.listing(["a"]), "a"), (f.listing(["a", "b", "c"]), "a, b and c"), (f.listing([]), ""), (f.number(25.0), "25"),
    (f.number(0.0339), "0.0339"),
])
def test_numbers_as_people_read_them(made: str, expected: str) -> None:
    assert made.replace("\xa0", " ") == expected
