"""From inputs to files: everything is made first, then each file is written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.compose import compose
from reports.inputs import Inputs
from reports.renderers import html, pdf, stamp
from reports.results import load
from speedcore.errors import UserError


class OutputError(UserError):
    """The report cannot be written where it was asked for."""


@dataclass(frozen=True)
class Rendered:
    """files: by format. faults: parts of the report that could not be made, in sentences. no_pdf: why one that was wanted is
    not there."""

    files: dict[str, Path]
    faults: tuple[str, ...] = ()
    no_pdf: pdf.NoPdf | None = None


def render(inputs: Inputs, out: Path | str, formats: Sequence[str] = ("html", "pdf")) -> dict[str, Path]:
    """Write report.html, report.pdf (as `formats` say) and always results.json into `out`; returns their paths.

    The same inputs give the same bytes; where these stand already, nothing is made. Raises RunError if runs do not belong
    together, OutputError if `out` cannot be written, and PdfUnavailable or PdfFailed if a PDF is wanted and not available: the
    other files are written then.
    """
    made = rendered(inputs, out, formats)
    if made.no_pdf:
        raise made.no_pdf
    return made.files


def rendered(inputs: Inputs, out: Path | str, formats: Sequence[str] = ("html", "pdf")) -> Rendered:
    """As `render`, but what could not be made is told, not raised."""
    unknown = set(formats) - {"html", "pdf"}
    if unknown:
        raise UserError(f"unknown format {', '.join(sorted(unknown))}; there are html and pdf.")
    out, mark = Path(out), stamp.of(inputs, formats)
    if files := stamp.standing(out, mark):
        return Rendered(files)
    model = compose(load(inputs))
    made: dict[str, tuple[str, bytes]] = {}
    if "html" in formats:
        made["html"] = ("report.html", html.page(model).encode())
    made["json"] = ("results.json", model.data.encode())
    files, no_pdf = {kind: _write(out / name, content) for kind, (name, content) in made.items()}, None
    if "pdf" in formats:
        try:
            made["pdf"] = ("report.pdf", pdf.document(model))
            files["pdf"] = _write(out / "report.pdf", made["pdf"][1])
        except pdf.NoPdf as error:
            no_pdf = error
            # An older report's must not be taken for this one's.
            if old := stamp.written(out, "pdf"):
                old.unlink()
    name, content = stamp.note(mark, made)
    if not (model.faults or no_pdf):
        _write(out / name, content)
    return Rendered({kind: files[kind] for kind in ("html", "pdf", "json") if kind in files}, model.faults, no_pdf)


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
