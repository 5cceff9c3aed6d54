"""Names as tables and figures have room for them, and names for ids and links."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

LONGEST = 32  # columns of a label
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "shapes": "Shapes"}


def label(name: str, most: int = LONGEST) -> str:
    """A name as tables and figures show it: one line, short, never empty, and no markup of `html.prose`."""
    name = " ".join(name.split()) or "(blank)"
    # To the eye the same; a backtick or two asterisks would start code or strong words.
    name = name.replace("`", "ˋ").replace("**", "∗∗")
    if _columns(name) > most:
        name = _cut(name, most)
    # Words that run from right to left must not draw what stands beside them along.
    return f"\u2068{name}\u2069" if any(unicodedata.bidirectional(c) in ("R", "AL") for c in name) else name


def labels(names: Sequence[str]) -> tuple[str, ...]:
    """Names as they are shown, each different from the others."""
    made: list[str] = []
    for name in map(label, names):
        made.append(name if name not in made else next(n for i in range(2, len(names) + 2) if (n := f"{name} ({i})") not in made))
    return tuple(made)


def _cut(name: str, most: int) -> str:
    """Beginning and end of a name, `most` columns in all."""
    head, tail = "", ""
    for c in name:
        if _columns(head + c) > most - most // 3 - 1:
            break
        head += c
    for c in reversed(name):
        if _columns(c + tail) > most // 3:
            break
        tail = c + tail
    # Neither half a character at the end of the one, nor at the beginning of the other.
    return f"{head.rstrip(_JOINS)}…{tail.lstrip(_JOINS)}"


_JOINS = " \u200c\u200d\ufe0e\ufe0f" + "".join(map(chr, range(0x300, 0x370)))


def _columns(text: str) -> int:
    """Room in columns: East Asian characters and emoji take two, marks that sit on others none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def title_of(name: str) -> str:
    """How people write the name of a data set."""
    if name.startswith("folder:"):
        return f"Folder “{label(PurePath(name.removeprefix('folder:')).name or name)}”"
    return TITLES.get(name) or label(name)


def slug(text: str) -> str:
    """A name for ids and links: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
