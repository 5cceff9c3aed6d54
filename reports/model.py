"""The report as plain data: every string formatted, every figure drawn. HTML and PDF are renderings of it.

A section holds blocks; each block has a `kind`, and templates have one macro a kind. Strings may hold `code` in
backticks and **strong words** in asterisks, nothing else.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from speedcore.stats import Verdict


@dataclass(frozen=True)
class Prose:
    kind: ClassVar[str] = "prose"
    text: str
    tone: str = "normal"  # or "note", "quiet"


@dataclass(frozen=True)
class Bullets:
    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Terms and their values."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    kind: ClassVar[str] = "code"
    text: str
    label: str


@dataclass(frozen=True)
class Outcome:
    """What became of a claim on one data set, and that in a sentence."""

    verdict: Verdict
    sentence: str

    @property
    def mark(self) -> str:
        return self.verdict.replace(" ", "-")


@dataclass(frozen=True)
class ClaimBlock:
    """A claim and its outcome on each data set."""

    kind: ClassVar[str] = "verdict"
    id: str
    claim: str
    outcomes: tuple[Outcome, ...]
    note: str = ""


@dataclass(frozen=True)
class Tile:
    value: str
    label: str
    detail: str


@dataclass(frozen=True)
class Tiles:
    """A few key figures, large."""

    kind: ClassVar[str] = "tiles"
    items: tuple[Tile, ...]


@dataclass(frozen=True)
class Column:
    label: str
    numeric: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Cell:
    """text as shown; sort: what the column is sorted by where that is not the text."""

    text: str
    sort: str = ""
    mark: str = ""
    href: str = ""


@dataclass(frozen=True)
class Table:
    """`rows`: each a tuple of cells, the first `heads` of them headers of the row. wide: landscape on paper."""

    kind: ClassVar[str] = "table"
    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    heads: int = 1
    sortable: bool = False
    wide: bool = False


@dataclass(frozen=True)
class FigureSpec:
    """A drawing: `svg` text, what it shows in words (`alt`), what to see in it (`caption`), and its numbers (`data`)."""

    kind: ClassVar[str] = "figure"
    id: str
    svg: str
    alt: str
    caption: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A small raster image at its own size; templates enlarge it without smoothing."""

    png: bytes
    alt: str
    label: str = ""
    mark: str = ""

    @property
    def src(self) -> str:
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Strip:
    """One labelled row of pictures."""

    label: str
    pictures: tuple[Picture, ...]
    detail: str = ""


@dataclass(frozen=True)
class Pictures:
    """Labelled rows of small pictures."""

    kind: ClassVar[str] = "pictures"
    id: str
    caption: str
    strips: tuple[Strip, ...]
    compact: bool = False  # two strips side by side where there is room

    @property
    def few(self) -> bool:
        """Whether the rows are to be read together, on one page."""
        return len(self.strips) <= 4


@dataclass(frozen=True)
class Look:
    """One image of the gallery: what it is, and for each arm what the network said and where it looked."""

    image: Picture
    title: str
    detail: str
    sides: tuple[Side, ...]


@dataclass(frozen=True)
class Side:
    """One arm's prediction and maps, one a layer."""

    arm: str
    answer: str
    right: bool
    maps: tuple[Picture, ...]


@dataclass(frozen=True)
class LookGroup:
    """Images that one rule chose."""

    title: str
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Gallery:
    """Heatmaps of the same images in both arms, all on the one colour scale that `scale` shows."""

    kind: ClassVar[str] = "gallery"
    id: str
    caption: str
    groups: tuple[LookGroup, ...]
    scale: FigureSpec


@dataclass(frozen=True)
class Group:
    """A subsection."""

    kind: ClassVar[str] = "group"
    id: str
    title: str
    blocks: tuple[Block, ...]


Block = Prose | Bullets | Facts | Code | ClaimBlock | Tiles | Table | FigureSpec | Pictures | Gallery | Group


@dataclass(frozen=True)
class Section:
    id: str
    number: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class ReportModel:
    """finished: ISO 8601, the date of the newest run. data: results.json as text. faults: what could not be made, and why."""

    title: str
    subtitle: str
    description: str
    status: str
    status_text: str
    date: str
    finished: str
    sections: tuple[Section, ...]
    data: str
    faults: tuple[str, ...] = ()
    generator: str = "speedcore"
    language: str = "en"
