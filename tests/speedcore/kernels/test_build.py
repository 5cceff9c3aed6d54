"""Compiled loops that can be trusted: the cache is checked, and whatever a compiler does ends in one line of the log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
import torch
from torch import nn

from speedcore import kernels
from speedcore.clock import Stopwatch
from speedcore.kernels import build, normgelu, winograd, winograd_fp32
from speedcore.machine import processor

CPU = torch.device("cpu")
LIBRARIES = (winograd.library, winograd_fp32.library, normgelu.library)
needs_compiler = pytest.mark.skipif(build.hindrance() is not None, reason="no C compiler on this machine")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """An empty cache, nothing said, no compiler given up."""
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_said", set())
    monkeypatch.setattr(build, "_hung", set())
    for library in LIBRARIES:
        library.cache_clear()
    yield
    for library in LIBRARIES:
        library.cache_clear()


def source(folder: Path, number: int = 1) -> Path:
    (folder / "number.h").write_text(f"#define NUMBER {number}\n")
    file = folder / "one.c"
    file.write_text('#include "number.h"\nlong number(void) { return NUMBER; }\n')
    return file


def program(folder: Path, name: str, script: str) -> str:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="latin-1")
    file.chmod(0o755)
    return str(file)


def direct_with_one_line(caplog: pytest.LogCaptureFixture, precision: str = "fp32") -> str:
    """The line, of a network that convolves directly, asked twice."""
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            net = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, bias=False))
            assert kernels.use(net, "winograd", precision, CPU) == "torch" and type(net[0]) is nn.Conv2d
    [record] = caplog.records
    return record.getMessage()


@needs_compiler
def test_a_library_is_made_anew_when_its_header_changes(tmp_path: Path) -> None:
    for number in (1, 2):
        assert build.load(source(tmp_path, number), "nothing is known").number() == number


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5000])


def other(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def lose_digest(file: Path) -> None:
    file.with_suffix(".sha256").unlink()


def link(file: Path) -> None:
    moved = file.rename(file.with_name("elsewhere.so"))
    file.symlink_to(moved)


def open_to_all(file: Path) -> None:
    file.chmod(0o666)


@needs_compiler
@pytest.mark.parametrize("damage", [cut, other, lose_digest, link, open_to_all, Path.unlink])
def test_a_library_that_is_not_what_was_made_is_made_anew(damage, tmp_path: Path) -> None:
    file = build._library(source(tmp_path), build.compiler(), ())
    assert build._whole(file)
    was = file.stat().st_mtime_ns
    damage(file)
    assert not build._whole(file)
    assert build.load(source(tmp_path), "nothing is known").number() == 1
    assert build._whole(file) and not file.is_symlink() and file.stat().st_mtime_ns != was
    again = file.stat().st_mtime_ns
    assert build._library(source(tmp_path), build.compiler(), ()).stat().st_mtime_ns == again  # what is whole stays


@needs_compiler
def test_a_library_of_somebody_else_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = build._library(source(tmp_path), build.compiler(), ())
    monkeypatch.setattr(os, "getuid", lambda: file.stat().st_uid + 1)
    assert not build._whole(file)


@needs_compiler
def test_a_cap_has_libraries_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "avx2" not in processor.features():
        assert build._march() == ("-march=native",)
        return
    whole = build._library(source(tmp_path), build.compiler(), ())
    monkeypatch.setenv("SPEEDCORE_ISA", "avx2")
    assert build._march() == ("-march=x86-64-v3",)
    assert build._library(source(tmp_path), build.compiler(), ()) != whole


@pytest.mark.parametrize(("named", "says"), [
    ('"', "cannot be read as a command"), ("/no/such/compiler", "is no program"), ("/", "is no program"),
    ("false", "'false' says: "), ("", "no C compiler")])
def test_without_a_compiler_convolutions_stay_direct_and_the_log_says_so_once(
        named: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CC", named)
    monkeypatch.setenv("PATH", "/usr/bin:/bin" if named else "")
    line = direct_with_one_line(caplog)
    assert says in line and "convolutions are direct instead" in line


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_on_other_systems_torchs_way_is_taken(
        system: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(processor, "_features", lambda: frozenset({"avx2", "fma"}))
    assert kernels.available("fp32") == ()
    assert "need Linux" in direct_with_one_line(caplog)


def runs(process: int) -> bool:
    """Whether there is such a process, which is more than a name that nobody has asked for yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("at", ["--version", "-o"])
def test_a_compiler_that_hangs_is_given_up_with_all_that_it_began_and_not_asked_again(
        at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    script = f'case "$*" in *{at}*) sleep 300 & echo $! >> {tmp_path}/began; wait;; *) echo one;; esac'
    monkeypatch.setenv("CC", program(tmp_path, "cc", script))
    monkeypatch.setattr(build, "_PATIENCE", 1)
    watch = Stopwatch()
    assert "took longer than 1 s" in direct_with_one_line(caplog)
    assert watch.seconds() < 10
    [began] = (tmp_path / "began").read_text().split()
    while runs(int(began)):  # a signal takes its time
        assert watch.seconds() < 20
        sleep(0.05)


def test_a_compiler_may_say_what_is_not_in_utf8(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    script = 'case "$*" in *--version*) echo "\xfcbersetzer";; *) echo "kein \xfcbersetzen" >&2; exit 1;; esac'
    monkeypatch.setenv("CC", program(tmp_path, "cc", script))
    assert "kein �bersetzen" in direct_with_one_line(caplog)


@needs_compiler
def test_a_compiler_called_clang_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = os.environ["PATH"]
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin", "clang", f'PATH={path} exec {" ".join(build.compiler())} "$@"')
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert build.compiler() == ["clang"]
    assert build.load(source(tmp_path), "nothing is known").number() == 1


@needs_compiler
def test_an_ascii_locale_compiles_the_same(tmp_path: Path) -> None:
    """The sources are in UTF-8, whatever the locale says."""
    asks = "from speedcore.kernels import winograd_fp32 as w; print(w.library() is not None)"
    said = subprocess.run([sys.executable, "-c", asks], capture_output=True, timeout=100, check=True,
                          env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert said.stdout.strip() == b"True" and b"Error" not in said.stderr
