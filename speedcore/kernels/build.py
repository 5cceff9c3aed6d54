"""C beside Python: a source file becomes a loaded library, made by the machine's own compiler and kept in the user cache.

What is not available is a line in the log and None, never a traceback: the caller then takes torch's own. A library in the cache
is loaded only if it is what was made: ours, not to be written by others, and of the digest that lies beside it; otherwise it is
made again. A cut file would be a bus error at each load.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from speedcore.machine import processor
from speedcore.machine.cache import cache_folder

_FLAGS = ("-O3", "-fopenmp", "-shared", "-fPIC")
# All that the processor has, as far as SPEEDCORE_ISA allows.
_MARCH = {"avx2": ("-march=x86-64-v3",), "avx512": ("-march=native", "-mno-amx-tile", "-mno-amx-bf16", "-mno-amx-int8")}
# The longest source takes 26 s on a slow core.
_PATIENCE = 60

_log = logging.getLogger(__name__)
_hung: set[str] = set()  # compilers that were given up: they are not waited for again
_said: set[str] = set()  # each reason is logged once


def load(source: Path, without: str, flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The library made of the C file `source`, with further flags.

    None where there is no Linux, no C compiler, or one that fails or takes longer than a minute; a line in the log then says why,
    and `without` what is done instead.
    """
    reason = hindrance()
    if reason is None:
        try:
            return ctypes.CDLL(str(_library(source, compiler(), flags)))
        except (OSError, subprocess.SubprocessError) as error:
            if isinstance(error, subprocess.TimeoutExpired):
                _hung.add(shlex.join(compiler()))
            reason = _why(error)
    say(reason, source.name, without)
    return None


def say(reason: str, what: str, without: str) -> None:
    """One line in the log, the first time that there is this reason."""
    if reason not in _said:
        _said.add(reason)
        _log.warning("%s cannot be compiled: %s; %s.", what, reason, without)


def call(library: Callable[[], ctypes.CDLL | None], name: str, *arguments: Tensor | int | None) -> None:
    """Call the function `name` of a library: tensors go as the addresses of their data, None as none, numbers as C's long."""
    getattr(library(), name)(*(ctypes.c_long(a) if isinstance(a, int) else ctypes.c_void_p(None if a is None else a.data_ptr())
                               for a in arguments))


def number(library: Callable[[], ctypes.CDLL | None], name: str, *arguments: int) -> int:
    """What the function `name` of a library returns: a C long, of such."""
    function = getattr(library(), name)
    function.restype = ctypes.c_long
    return int(function(*map(ctypes.c_long, arguments)))


def hindrance() -> str | None:
    """Why nothing can be compiled here, as far as that can be seen without trying; None where nothing stands in the way."""
    if not sys.platform.startswith("linux"):
        return "compiled loops need Linux"
    try:
        found = compiler()
    except ValueError as error:
        return f"CC={os.environ['CC']!r} cannot be read as a command ({error})"
    if not found:
        return "there is no C compiler (cc, gcc, clang, or what CC names)"
    if not shutil.which(found[0]):
        return f"'{found[0]}', which CC names, is no program"
    return _slow(found[0]) if shlex.join(found) in _hung else None


def compiler() -> list[str]:
    """The command that compiles C: what CC names, otherwise the first of cc, gcc and clang that there is; empty where none is.

    Raises ValueError where CC is no command.
    """
    return shlex.split(os.environ.get("CC", "")) or [c for c in ("cc", "gcc", "clang") if shutil.which(c)][:1]


def _library(source: Path, command: list[str], flags: tuple[str, ...]) -> Path:
    """The library's file in the user cache, made if it is not there: one for each source, compiler, processor and cap."""
    all_flags = (*_FLAGS, *_march(), *flags)
    version = _run([*command, "--version"])
    headers = [file.read_bytes() for file in sorted(source.parent.glob("*.h"))]
    made_of = b"\0".join([source.read_bytes(), *headers,
                          *(text.encode(errors="surrogateescape") for text in (*command, version, *all_flags, _instructions()))])
    file = cache_folder() / "compiled" / f"{source.stem}-{hashlib.sha256(made_of).hexdigest()[:16]}.so"
    if not _whole(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            made = Path(folder) / file.name
            _run([*command, *all_flags, "-o", str(made), str(source)])
            made.chmod(0o644)
            digest = Path(folder) / "digest"
            digest.write_text(_digest(made), encoding="ascii")
            # A new file, never the old one written over: another process may have that one loaded.
            digest.replace(_digest_file(file))
            made.replace(file)
    return file


def _whole(file: Path) -> bool:
    """Whether the file is what was made: ours, nobody else may write it, and of the digest beside it."""
    try:
        for one in (file, _digest_file(file)):
            status = one.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        return _digest(file) == _digest_file(file).read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _digest_file(file: Path) -> Path:
    return file.with_suffix(".sha256")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(command: list[str]) -> str:
    """What a program writes, in any encoding; one that hangs is ended with all it began. Raises OSError, SubprocessError."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          encoding="utf-8", errors="replace", start_new_session=True) as process:
        try:
            out, said = process.communicate(timeout=_PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, out, said)
    return out


def _why(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return _slow(error.cmd[0])
    said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
    reason = said[-1] if said else "no reason given"
    return f"'{error.cmd[0]}' says: {reason}" if isinstance(error, subprocess.CalledProcessError) else reason


def _slow(program: str) -> str:
    return f"'{program}' took longer than {_PATIENCE} s"


def _march() -> tuple[str, ...]:
    """The instruction sets that the compiler may use: a cap takes away only what the processor has."""
    limit = processor.cap()
    return _MARCH.get(limit, ("-march=native",)) if limit == processor.level() else ("-march=native",)


def _instructions() -> str:
    """What the processor can do: a cache may be shared by machines that differ."""
    return " ".join([platform.machine(), *sorted(processor.features())])
