"""C beside Python: a source file becomes a loaded library, made by the machine's own compiler and kept in the user cache."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from speedcore.data.cache import Cache

_FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")

_log = logging.getLogger(__name__)


def load(source: Path, without: str) -> ctypes.CDLL | None:
    """The library made of the C file `source`.

    None where there is no Linux, no C compiler, or one that fails; a line in the log then says why, and `without` what is done
    instead.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or [c for c in ("cc", "gcc", "clang") if shutil.which(c)][:1]
    if not sys.platform.startswith("linux") or not compiler:
        _log.warning("%s needs Linux and a C compiler (cc, gcc, clang, or what CC names); %s.", source.name, without)
        return None
    try:
        return ctypes.CDLL(str(_library(source, compiler)))
    except (OSError, subprocess.SubprocessError) as error:
        detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        _log.warning("%s cannot be compiled with '%s' (%s); %s.", source.name, shlex.join(compiler),
                     *detail or ["no reason given"], without)
        return None


def call(library: Callable[[], ctypes.CDLL], name: str, *arguments: Tensor | int | None) -> None:
    """Call the function `name` of a library: tensors go as the addresses of their data, None as none, numbers as C's long."""
    getattr(library(), name)(*(ctypes.c_long(a) if isinstance(a, int) else ctypes.c_void_p(None if a is None else a.data_ptr())
                               for a in arguments))


def _library(source: Path, compiler: list[str]) -> Path:
    """The library's file in the user cache, made if it is not there: one for each source, compiler and processor."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    headers = [file.read_text() for file in sorted(source.parent.glob("*.h"))]
    made_of = "\0".join([source.read_text(), *headers, *compiler, version, *_FLAGS, _instructions()])
    file = Cache.at().root / "compiled" / f"{source.stem}-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}.so"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            made = Path(folder) / file.name
            subprocess.run([*compiler, *_FLAGS, "-o", str(made), str(source)], capture_output=True, text=True, check=True,
                           timeout=300)
            made.rename(file)
    return file


def _instructions() -> str:
    """What the processor can do, as Linux lists it: a cache may be shared by machines that differ."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
