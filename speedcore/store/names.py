"""What may be the name of a stored folder, on every file system, and what is one line of text.

Names in records decide where something is looked for and written; a copied record must not be able to lead elsewhere.
"""

from __future__ import annotations

import re
import unicodedata

# File systems hold 255 bytes; scratch folders and explanations put something before and behind.
LONGEST = 180
LONGEST_TEXT = 4096
# "CON.txt" is the console as well; the digits may be written above the line.
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
_FORBIDDEN = frozenset('/\\:*?"<>|')
# Control and format characters (a reversed line of text looks like another one), surrogates, line ends.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def check(name: str) -> str:
    """`name`, if it can be the name of a folder below another one. Raises ValueError saying why it cannot."""
    if not name or name != name.strip():
        raise ValueError(f"{name!r} is no name of a folder: it is empty, or begins or ends with a blank")
    if wrong := sorted({c for c in name if c in _FORBIDDEN or unicodedata.category(c) in _UNSEEN}):
        raise ValueError(f"{name!r} is no name of a folder: it contains {', '.join(map(repr, wrong))}")
    if name.startswith(".") or name.endswith("."):
        raise ValueError(f"{name!r} is no name of a folder: it begins or ends with a dot")
    if _RESERVED.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a folder: Windows keeps it for a device")
    if len(name.encode()) > LONGEST:
        raise ValueError(f"{name[:40]!r}… is no name of a folder: it is longer than {LONGEST} bytes")
    return name


def check_text(text: str) -> str:
    """`text`, if it is one line that can be printed. Raises ValueError."""
    if wrong := sorted({c for c in text if unicodedata.category(c) in _UNSEEN}):
        raise ValueError(f"{text[:80]!r} is no line of text: it contains {', '.join(map(repr, wrong))}")
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{text[:40]!r}… is longer than {LONGEST_TEXT} characters")
    return text


def valid(name: str) -> bool:
    """Whether `check` lets it pass."""
    try:
        check(name)
    except ValueError:
        return False
    return True


def same(first: str, second: str) -> bool:
    """Whether a file system may show one for the other: macOS decomposes letters with accents."""
    return unicodedata.normalize("NFC", first) == unicodedata.normalize("NFC", second)


def part(text: str, longest: int = 80) -> str:
    """What of `text` can be part of a name: everything else becomes a dash."""
    kept = "".join("-" if c in _FORBIDDEN or unicodedata.category(c) in _UNSEEN else c for c in text)
    while len(kept.encode()) > longest:
        kept = kept[:-1]
    return kept.strip("-. ")
