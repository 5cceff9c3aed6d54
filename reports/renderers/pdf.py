"""ReportModel to a tagged PDF (PDF/UA-1) by WeasyPrint: nothing fetched, nothing lost in silence, the same bytes again."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from reports.faults import ReportWarning
from reports.model import ReportModel
from reports.renderers.html import FONT_SCHEME, font, paper
from speedcore.errors import UserError

# Said of the machine or of a data set's own words; the report is whole all the same.
_HARMLESS = ("Using fontTools instead of HarfBuzz-Subset", ".notdef glyph rendered")


class NoPdf(UserError):
    """The PDF could not be made. Nothing else depends on it."""

    exit_status = 3


class PdfUnavailable(NoPdf):
    """WeasyPrint or the libraries it needs are not here."""


class PdfFailed(NoPdf):
    """WeasyPrint gave up."""


def check() -> None:
    """Raise PdfUnavailable, saying what to install, unless PDFs can be made here."""
    try:
        import weasyprint  # noqa: F401
    except (ImportError, OSError) as error:
        raise PdfUnavailable(
            f"the PDF cannot be made here: WeasyPrint could not be loaded ({str(error).splitlines()[0]}). On Debian or "
            f"Ubuntu: "
            f"apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0; with conda: conda install "
            f"weasyprint pango. "
            f"--formats html leaves the PDF out.") from None


def document(model: ReportModel) -> bytes:
    """The PDF. Raises PdfUnavailable, or PdfFailed where WeasyPrint gives up; warns of what else it found wrong."""
    check()
    from weasyprint import HTML, Attachment
    from weasyprint.urls import FatalURLFetchingError

    finished = datetime.fromisoformat(model.finished)
    attachment = Attachment(string=model.data, name="results.json", relationship="Data", created=finished,
                            modified=finished, description="Every number of this report, for machines")
    with _complaints() as complaints:
        try:
            made = HTML(string=paper(model), url_fetcher=_sealed_fetcher()).write_pdf(
                pdf_variant="pdf/ua-1", attachments=[attachment])
        except (Exception, FatalURLFetchingError) as error:  # the latter is none of the former
            raise PdfFailed(f"the PDF could not be made: {type(error).__name__}: {error}. The other files are whole.") from error
    if complaints:
        warnings.warn(f"the PDF may lack something. WeasyPrint says: {'; '.join(complaints)}", ReportWarning, stacklevel=2)
    return made


def _sealed_fetcher() -> Any:
    """Answers data URIs and the report's own fonts; anything else is an error, not a missing picture."""
    from weasyprint.urls import URLFetcher, URLFetcherResponse

    class Sealed(URLFetcher):  # type: ignore[misc]  # WeasyPrint has no types
        def fetch(self, url: str, headers: Any = None) -> Any:
            if url.startswith(FONT_SCHEME):
                return URLFetcherResponse(url, font(url), {"Content-Type": "font/ttf"})
            return super().fetch(url, headers)

    return Sealed(allowed_protocols={"data"}, fail_on_errors=True)


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Warnings and errors that WeasyPrint logs inside the block; it raises nothing for most of what goes wrong."""
    found: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if not text.startswith(_HARMLESS):
                found.append(text)

    logger, handler = logging.getLogger("weasyprint"), Collect(logging.WARNING)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
