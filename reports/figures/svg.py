"""What matplotlib wrote, made small: the same picture, read and written by a parser, so that no label is taken for markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as xml
from collections import Counter
from collections.abc import Iterator

SVG = "{http://www.w3.org/2000/svg}"
FAMILY = "'DejaVu Sans', Verdana, Arial, sans-serif"
# The id that a part of a figure carries while it is drawn, and the class that says the same in the file: its fills are data.
DATA = "data"

_LINK = "{http://www.w3.org/1999/xlink}href"
# What XML 1.0 cannot hold, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"#([\w-]+)")
_LONG = re.compile(r"(\.\d\d)\d+")


def compact(text: str) -> str:
    """Without prologue, comments, metadata, empty groups and unused ids, coordinates to a hundredth of a point.

    Text stays text: small, sharp and searchable.
    """
    root = xml.fromstring(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text[text.index("<svg"):]))
    for element in root.iter():
        _shorten(element)
    used = {name for element in root.iter() for name in _references(element)}
    _tidy(root, used)
    _share_styles(root)
    return written(root)


def written(root: xml.Element) -> str:
    """The drawing as text, SVG's names without a prefix. Prefixes are the whole process's, and WeasyPrint sets its own."""
    xml.register_namespace("", SVG[1:-1])
    xml.register_namespace("xlink", _LINK[1:-5])
    return xml.tostring(root, encoding="unicode")


def within(root: xml.Element, data: bool = False) -> Iterator[tuple[xml.Element, bool]]:
    """All elements in order, and whether they stand in a part whose fills are data."""
    data = data or DATA in root.get("class", "").split() or root.get("id") == DATA
    yield root, data
    for child in root:
        yield from within(child, data)


def _references(element: xml.Element) -> Iterator[str]:
    """Ids that the element's attributes point at."""
    for name, value in element.attrib.items():
        if name == _LINK or "url(#" in value:
            yield from _REFERENCE.findall(value)


def _shorten(element: xml.Element) -> None:
    for name in ("d", "x", "y", "width", "height", "transform", "points"):
        if name in element.attrib and element.tag != f"{SVG}image":
            element.set(name, " ".join(_LONG.sub(r"\1", element.attrib[name]).split()))
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
    if "style" in element.attrib:
        # The family stands once, for all texts.
        rules = [rule for rule in element.attrib["style"].split("; ") if not rule.startswith("font-family:")
                 and rule != "text-anchor: start"]
        element.set("style", "; ".join(rules))
    if element.tag == f"{SVG}image":
        element.set(_LINK, "".join(element.attrib[_LINK].split()))  # base64 comes in lines
    if element.tag == f"{SVG}style":
        element.text = f"text{{font-family: {FAMILY}}}{element.text}"


def _tidy(parent: xml.Element, used: set[str]) -> None:
    """Take out what draws nothing, and the blanks between elements; groups that say nothing give way to what they hold."""
    kept: list[xml.Element] = []
    for child in parent:
        _tidy(child, used)
        child.tail = None
        name = child.get("id")
        if name == DATA:
            child.set("class", DATA)
        if name not in used:
            child.attrib.pop("id", None)
        if not child.get("style", "set"):
            del child.attrib["style"]
        if child.tag == f"{SVG}g" and not child.attrib:
            kept += child
        elif child.tag != f"{SVG}metadata" and (len(child) or child.tag != f"{SVG}g"):
            kept.append(child)
    parent[:] = kept
    if len(parent) and not (parent.text or "").strip():
        parent.text = None


def _share_styles(root: xml.Element) -> None:
    """Styles that stand on several elements become classes; those of data have classes of their own."""
    styled = [(element, (element.get("style"), data)) for element, data in within(root) if "style" in element.attrib]
    counts = Counter(key for _, key in styled)
    names = {key: f"{'d' if key[1] else 's'}{i}" for i, (key, n) in enumerate(counts.items()) if n > 1}
    for element, key in styled:
        if key in names:
            del element.attrib["style"]
            element.set("class", " ".join(filter(None, (element.get("class"), names[key]))))
    sheet = root.find(f".//{SVG}style")
    if sheet is not None:
        sheet.text = (sheet.text or "") + "".join(f".{name}{{{style}}}" for (style, _), name in names.items())
