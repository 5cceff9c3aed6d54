"""Is the report that stands in a folder the one that would be made? Then it need not be made again.

Rendering the same inputs with the same code gives the same bytes. So a digest of both, kept beside the files with
their own digests, says whether they are up to date, as make does with dates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from reports.inputs import Inputs
from speedcore import plugins
from speedcore.errors import PluginError
from speedcore.machine import provenance

_NAME = ".rendered.json"
# Of the environment, what every call changes; no rendering shows it.
_PASSING = ("finished", "command")


def of(inputs: Inputs, formats: Sequence[str]) -> str:
    """Digest of everything that decides the bytes of a rendering."""
    content = {
        "runs": [run.record.model_dump(mode="json") for run in inputs.runs],
        "explanations": [e.record.model_dump(mode="json") for e in inputs.explanations],
        "datasets": {name: d.fingerprint for name, d in inputs.datasets.items()},
        "missing": [vars(m) for m in inputs.missing], "plan": [c.model_dump(mode="json") for c in inputs.plan],
        "rest": [inputs.notes, inputs.budget_seconds, inputs.within_seconds, inputs.status, inputs.command],
        "environment": {k: v for k, v in inputs.environment.items() if k not in _PASSING},
        "ladders": [[c.ladder.model_dump(mode="json"), vars(c.scale), c.left_out,
                     {rung: [run.record.model_dump(mode="json") for run in runs] for rung, runs in c.runs.items()}]
                    for c in inputs.ladders],
        "studies": [study.model_dump(mode="json") for study in inputs.studies],
        "shortcuts": [study.model_dump(mode="json") for study in (*inputs.shortcuts, *inputs.registered)],
        "formats": sorted(formats), "code": _code(),
    }
    return _digest(json.dumps(content, sort_keys=True, default=str).encode())


def standing(out: Path, stamp: str) -> dict[str, Path] | None:
    """The files in `out` by format, if they are those that `stamp` names, unharmed; else None."""
    try:
        kept = json.loads((out / _NAME).read_text(encoding="utf-8"))
        files = {kind: (out / name, digest) for kind, (name, digest) in kept["files"].items()}
        whole = kept["stamp"] == stamp and all(_digest(path.read_bytes()) == digest for path, digest in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return {kind: path for kind, (path, _) in files.items()} if whole else None


def written(out: Path, kind: str) -> Path | None:
    """The file of that format in `out`, if it is as an earlier rendering wrote it; None for one that somebody else did."""
    try:
        name, digest = json.loads((out / _NAME).read_text(encoding="utf-8"))["files"][kind]
        return out / name if _digest((out / name).read_bytes()) == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def note(stamp: str, files: Mapping[str, tuple[str, bytes]]) -> tuple[str, bytes]:
    """(name, content) of the file that remembers what was rendered: format -> (file name, content)."""
    kept = {"stamp": stamp, "files": {kind: (name, _digest(content)) for kind, (name, content) in files.items()}}
    return _NAME, json.dumps(kept, indent=1).encode()


@cache
def _code() -> str:
    """Digest of this project's code, templates and styles, of sections that installed packages add, and of the lock."""
    total = hashlib.sha256()
    for package in ("speedcore", "explain", "reports"):
        for path in sorted((provenance.ROOT / package).rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                total.update(path.name.encode() + path.read_bytes())
    for home in sorted(plugins.entry_points(plugins.SECTIONS).values()):
        with suppress(PluginError):  # it is not there, and told where sections are gathered
            total.update(f"{home} {plugins.sha256_of(home)}".encode())
    lock = provenance.ROOT / "requirements.lock"
    return total.hexdigest() + (_digest(lock.read_bytes()) if lock.is_file() else "")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
