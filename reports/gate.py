"""The one gate for text from outside: class names, data sets, notes, reasons, commands, whatever records hold.

What has passed can stand in HTML, SVG, PDF and JSON: it is Unicode that every file can hold, without control characters, and
without the paths of the machine that made it. `reports.labels` makes of it what a table or a figure has room for.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel

from reports.inputs import Inputs

FOLDER = "folder:"
_BLANKS = "\t\n\v\f\r\x85\u2028\u2029"
# Marks that turn the direction of all that follows, and code points that stand for no character.
_TURNING = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufffe\uffff{_TURNING}]")
# A word as `shlex.quote` writes it; a path in it may hold blanks.
_QUOTED = re.compile(r"""'[^'\n]*'(?:"'"'[^'\n]*')*""")
_WHOLE = re.compile(r"((?:folder:|--[\w-]+=)?)((?:/|[A-Za-z]:\\).+)", re.DOTALL)
# An absolute path, up to what cannot belong to one in a sentence.
_WORD = r"[^\s\"'“”‘’`()\[\]{},;|<>]"
_PATH = re.compile(rf"(?<=\bfolder:)(?:/|[A-Za-z]:\\){_WORD}+"
                   rf"|(?:(?<![^\s\"'“”‘’`(\[{{=,;|>])|(?<=\bfile://))(?:/|[A-Za-z]:\\){_WORD}*[/\\]{_WORD}+")


@dataclass(frozen=True)
class Gate:
    """places: what stands for a folder of this machine, or for a name made of one, longest first."""

    places: tuple[tuple[str, str], ...] = ()

    def text(self, words: str) -> str:
        """The words as any file can hold them; what cannot be shown is written as its escape, `\\x1b`."""
        for place, short in self.places:
            if place in words:
                words = words.replace(place, short)
        # Escapes first: what they leave is looked at for paths as it will be read, so that a second time changes nothing.
        words = _UNSAFE.sub(_escaped, words)
        words = _QUOTED.sub(lambda found: _quoted(found[0]), words)
        return _PATH.sub(lambda found: _last(found[0]), words)

    def passed(self, value: Any) -> Any:
        """The same data, each of its texts through the gate; the same object where nothing had to change."""
        if isinstance(value, str):
            words = self.text(value)
            return value if words == value else words
        if isinstance(value, BaseModel):
            new = self._changed({name: getattr(value, name) for name in type(value).model_fields})
            return value.model_copy(update=new) if new else value
        if is_dataclass(value) and not isinstance(value, type):
            new = self._changed({field.name: getattr(value, field.name) for field in fields(value)})
            return replace(value, **new) if new else value
        if isinstance(value, Mapping):
            table = {self.passed(key): self.passed(inner) for key, inner in value.items()}
            same = all(a is b for pair in zip(value.items(), table.items(), strict=False) for a, b in zip(*pair, strict=True))
            return value if same and len(table) == len(value) else table
        if isinstance(value, tuple | list):
            parts = [self.passed(inner) for inner in value]
            return value if all(a is b for a, b in zip(value, parts, strict=True)) else type(value)(parts)
        return value

    def _changed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        new = {name: self.passed(value) for name, value in values.items()}
        return {name: value for name, value in new.items() if value is not values[name]}


def inputs(given: Inputs) -> Inputs:
    """Everything that goes into a report, through the gate."""
    return of(given).passed(replace(given, folders={}))


def of(given: Inputs) -> Gate:
    """A gate that knows the folders of `given`: a data set's by its last name, the others by what they are."""
    records = [run.record.data.name for run in given.runs]
    names = [*given.datasets, *(one.name for one in given.datasets.values()), *records,
             *(missing.dataset for missing in given.missing), *(planned.dataset for planned in given.plan)]
    places: dict[str, str] = {}
    for name in dict.fromkeys(names):
        path = name.removeprefix(FOLDER)
        if path == name or not _absolute(path):
            continue
        short, taken = FOLDER + (PurePath(path).name or "folder"), set(places.values())
        if short in taken:
            short = next(one for i in range(2, 10_000) if (one := f"{short}-{i}") not in taken)
        places[name] = short
        # As a run's key has it (`planning.run_key`).
        places[name.replace(":", "-").replace("/", "-").replace("=", "").strip("-")] = short.replace(":", "-")
        places[path] = short.removeprefix(FOLDER)
    stores = {str(run.path.parent): "runs" for run in given.runs if _absolute(str(run.path))}
    own = {str(folder): words for folder, words in ((Path.cwd(), "."), (Path.home(), "~"))}
    others = {os.path.abspath(folder): name for name, folder in given.folders.items()}
    known = {**own, **others, **stores, **places}
    return Gate(tuple(sorted(((place, short) for place, short in known.items() if len(place) > 1), key=lambda p: -len(p[0]))))


def _escaped(found: re.Match[str]) -> str:
    c = found[0]
    if c in _BLANKS:
        return " "
    if "\udc80" <= c <= "\udcff":  # a byte of a file name that is no UTF-8
        return f"\\x{ord(c) - 0xdc00:02x}"
    return f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}"


def _quoted(word: str) -> str:
    """A quoted word (a path, or several with commas between) without the places that it names."""
    parts = word[1:-1].replace("'\"'\"'", "'").split(",")
    if not any(map(_WHOLE.fullmatch, parts)):
        return word
    return shlex.quote(",".join(_WHOLE.sub(lambda found: found[1] + _last(found[2]), part) for part in parts))


def _last(path: str) -> str:
    """The last name of an absolute path; full stops and colons after it belong to the sentence."""
    end = path.rstrip(".:!?")
    names: Iterable[str] = [name for name in re.split(r"[/\\]+", end) if name]
    return f"…/{list(names)[-1]}{path[len(end):]}" if names else path


def _absolute(path: str) -> bool:
    return path.startswith(("/", "~", "\\")) or bool(re.match(r"[A-Za-z]:[\\/]", path))
