"""Instruction sets are read from what the system lists, and capped by SPEEDCORE_ISA."""

from __future__ import annotations

import pytest

from speedcore.errors import UserError
from speedcore.machine import processor

ZEN3 = "flags\t\t: fpu avx avx2 fma bmi2 sha_ni\n"
XEON = "flags\t\t: avx avx2 fma avx512f avx512bw avx512vl avx512dq avx512_bf16 avx512_vnni amx_tile amx_bf16 amx_int8\n"
GRAVITON = "Features\t: fp asimd asimdhp bf16\n"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def listed(text: str, limit: str | None = None):
        path = tmp_path / "cpuinfo"
        path.write_text("processor\t: 0\n" + text + "processor\t: 1\nflags\t\t: none\n", encoding="utf-8")
        found = processor._of_cpuinfo(path)
        monkeypatch.setattr(processor, "_features", lambda: found)
        monkeypatch.delenv("SPEEDCORE_ISA", raising=False)
        if limit:
            monkeypatch.setenv("SPEEDCORE_ISA", limit)
    return listed


@pytest.mark.parametrize(("text", "level"), [(ZEN3, "avx2"), (XEON, "amx"), (GRAVITON, "neon"), ("flags : sse4_2\n", "baseline"),
                                             ("", "baseline")])
def test_the_level_is_the_highest_that_the_processor_lists(machine, text, level):
    machine(text)
    assert processor.level() == level


@pytest.mark.parametrize(("limit", "level"), [("avx2", "avx2"), ("AVX512", "avx512"), ("amx", "amx")])
def test_a_cap_takes_away_what_is_above_it(machine, limit, level):
    machine(XEON, limit)
    assert processor.level() == level
    assert any(name.startswith("amx") for name in processor.features()) == (level == "amx")
    assert ("avx512_vnni" in processor.features()) == (level != "avx2")


def test_a_cap_adds_nothing(machine):
    machine(ZEN3, "amx")
    assert processor.level() == "avx2"
    assert processor.features() == frozenset("fpu avx avx2 fma bmi2 sha_ni".split())


def test_a_cap_that_is_no_level_is_refused(machine):
    machine(ZEN3, "sse9")
    with pytest.raises(UserError, match="SPEEDCORE_ISA='sse9' is not one of amx, avx512, avx2"):
        processor.features()


def test_no_list_means_no_instruction_sets(tmp_path):
    assert processor._of_cpuinfo(tmp_path / "none") == frozenset()
