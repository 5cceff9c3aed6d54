"""Figures for the dark page: drawn in its colours. Nothing is inverted, and colours that are data stay what they are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml

from reports.figures.svg import SVG, within, written

# The dark page's paper and ink (`screen.css`): white and black become these, and any grey what lies as far between them.
PAPER, INK = "#171614", "#e8e5de"
# Colours of the light page, and what reads as well on the dark paper and differs as much from the others.
HUES = {"#d55e00": "#f0915a", "#0072b2": "#56b4e9", "#56b4e9": "#a9dbf7", "#009e73": "#35c79d", "#cc79a7": "#d98fb8",
        "#e69f00": "#e9ab1f", "#f0e442": "#f0e442"}

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_RULE = re.compile(r"\.d\d+\{[^}]*\}|[^{}]+\{[^}]*\}")


def dark(svg: str) -> str:
    """The same drawing in the colours of the dark page."""
    root = xml.fromstring(svg)
    root.set("fill", INK)  # what has no fill of its own is black else
    for element, data in within(root):
        if element.tag == f"{SVG}style":
            element.text = _RULE.sub(lambda rule: _styled(rule[0], data=rule[0].startswith(".d")), element.text or "")
        if "style" in element.attrib:
            element.set("style", _styled(element.attrib["style"], data))
        for name in ("fill", "stroke"):
            if element is not root and name in element.attrib and not (data and name == "fill"):
                element.set(name, _COLOUR.sub(lambda found: colour(found[0]), element.attrib[name]))
    return written(root)


def colour(light: str) -> str:
    """The dark page's counterpart of a colour ("#rrggbb"); one that is no grey and not known stays."""
    light = light.lower()
    red, green, blue = (int(light[i:i + 2], 16) for i in (1, 3, 5))
    if not red == green == blue:
        return HUES.get(light, light)
    share = red / 255
    ends = [(int(INK[i:i + 2], 16), int(PAPER[i:i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(ink + share * (paper - ink)):02x}" for ink, paper in ends)


def _styled(style: str, data: bool) -> str:
    """Declarations recoloured; of data everything but fills."""
    pattern = r"(?<!fill: )#[0-9a-fA-F]{6}\b" if data else _COLOUR
    return re.sub(pattern, lambda found: colour(found[0]), style)
