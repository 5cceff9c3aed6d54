"""From inputs to files: everything is made first, then each file is written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from reports import html, pdf, stamp
from reports.compose import compose
from reports.results import Inputs, load
from speedcore.errors import UserError


class OutputError(UserError):
    """The report cannot be written where it was asked for."""


def render(inputs: Inputs, out: Path | str, formats: Sequence[str] = ("html", "pdf")) -> dict[str, Path]:
    """Write report.html, report.pdf (as `formats` say) and always results.json into `out`; returns their paths.

    The same inputs give the same bytes; where these stand already, nothing is made. Raises PdfUnavailable before
    anything is made if a PDF is wanted and cannot be had, RunError if runs do not belong together, OutputError if `out`
    cannot be written.
    """
    unknown = set(formats) - {"html", "pdf"}
    if unknown:
        raise UserError(f"unknown format {', '.join(sorted(unknown))}; there are html and pdf.")
    if "pdf" in formats:
        pdf.check()
    results, mark = load(inputs), stamp.of(inputs, formats)
    if files := stamp.standing(Path(out), mark):
        return files
    model = compose(results)
    files: dict[str, tuple[str, bytes]] = {}
    if "html" in formats:
        files["html"] = ("report.html", html.page(model).encode())
    if "pdf" in formats:
        files["pdf"] = ("report.pdf", pdf.document(model))
    files["json"] = ("results.json", model.data.encode())
    written = {kind: _write(Path(out) / name, content) for kind, (name, content) in files.items()}
    name, content = stamp.note(mark, files)
    _write(Path(out) / name, content)
    return written


def _write(path: Path, content: bytes) -> Path:
    """Write a file so that it is there whole or not at all, and an older one stands until then."""
    scratch = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            scratch = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.chmod(0o644)
        os.replace(scratch, path)
    except OSError as error:
        if scratch:
            scratch.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}; free space or choose another --out folder. "
                          f"Nothing that was trained is lost.") from None
    return path
