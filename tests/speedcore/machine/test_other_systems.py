"""What Linux has and other systems do not."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import psutil
import torch

from speedcore.machine import allocator, memory
from speedcore.machine.memory import PeakMemory


def test_peak_memory_without_proc_is_that_of_the_process(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    peak = PeakMemory(torch.device("cpu")).bytes()
    assert 0.5 * psutil.Process().memory_info().rss < peak < 64 << 30  # bytes, not kilobytes
    monkeypatch.setattr(sys, "platform", "darwin")  # whose kernel counts in bytes
    assert PeakMemory(torch.device("cpu")).bytes() * 1024 == peak


def test_peak_memory_on_windows_comes_from_its_working_set(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "missing")
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=12345678)))
    assert PeakMemory(torch.device("cpu")).bytes() == 12345678


def test_memory_is_kept_only_by_glibc(monkeypatch) -> None:
    for system in ("win32", "darwin"):
        monkeypatch.setattr(sys, "platform", system)
        assert allocator.keep_memory.__wrapped__() is False
        assert allocator.return_memory() is False
