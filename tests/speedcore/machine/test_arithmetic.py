"""The race between arithmetics: who wins, who drops out, what is kept and what is said."""

from __future__ import annotations

import json

import pytest
import torch

from speedcore.machine import arithmetic
from speedcore.machine.arithmetic import Decision, candidates, decide, race

CPU = torch.device("cpu")


class Laps:
    """Seconds of a lap by arithmetic, one after another; the last one again and again."""

    def __init__(self, **seconds: list[float] | float):
        self.seconds = {name: list(taken) if isinstance(taken, list) else [taken] for name, taken in seconds.items()}
        self.calls: list[str] = []

    def __call__(self, name: str) -> float:
        self.calls.append(name)
        left = self.seconds[name]
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEEDCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- who wins --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("fp32", "bf16", "winner"), [(0.1, 0.05, "bf16"), (0.05, 0.1, "fp32"), (0.1, 0.096, "fp32"),
                                                      (0.1, 0.094, "bf16")])
def test_the_quicker_one_wins_and_nearer_than_a_twentieth_it_stays_fp32(fp32: float, bf16: float, winner: str) -> None:
    assert race(("fp32", "bf16"), Laps(fp32=fp32, bf16=bf16)).precision == winner


def test_the_best_lap_counts_so_that_one_interruption_does_not_decide() -> None:
    found = race(("fp32", "bf16"), Laps(fp32=[0.1], bf16=[0.25, 0.05, 0.2]))
    assert found == Decision("bf16", {"fp32": 0.1, "bf16": 0.05})


def test_whoever_is_far_behind_is_not_asked_again() -> None:
    laps = Laps(fp32=0.02, bf16=0.4)
    found = race(("fp32", "bf16"), laps)
    assert laps.calls == ["fp32", "bf16"]
    assert found == Decision("fp32", {"fp32": 0.02, "bf16": 0.4})


def test_a_lap_that_was_interrupted_puts_nobody_out() -> None:
    assert race(("fp32", "bf16"), Laps(fp32=[0.2, 0.02], bf16=0.05)).precision == "fp32"
    assert race(("fp32", "bf16"), Laps(fp32=[0.1, 0.1, 0.02], bf16=0.03)).precision == "fp32"


@pytest.mark.parametrize(("wins", "chosen"), [(["fp32"], "fp32"), (["bf16", "fp32", "fp32"], "fp32"),
                                              (["bf16", "bf16", "fp32"], "bf16"), (["bf16", "fp32", "bf16"], "bf16")])
def test_an_answer_against_what_the_processor_lists_has_to_come_twice(cache, monkeypatch, wins: list[str], chosen: str) -> None:
    """A processor without bf16 units: bf16 may win all the same, but not by one race on a busy machine."""
    left = list(wins)
    monkeypatch.setattr(arithmetic.processor, "features", lambda: frozenset({"avx2", "fma"}))
    monkeypatch.setattr(arithmetic, "race", lambda names, lap: Decision(left.pop(0), {"fp32": 0.1, "bf16": 0.1}))
    assert decide(CPU, "a network", lambda name: 0.0).precision == chosen and left == []


def test_what_is_expected_is_what_the_device_says(monkeypatch) -> None:
    for features, likely in ((("avx2", "fma"), "fp32"), (("avx512f", "avx512_bf16"), "bf16"), (("asimd", "bf16"), "bf16")):
        monkeypatch.setattr(arithmetic.processor, "features", lambda found=features: frozenset(found))
        assert arithmetic.expected(CPU) == likely


def test_a_race_ends_after_two_seconds_of_laps() -> None:
    laps = Laps(fp32=0.6, bf16=0.5)
    assert race(("fp32", "bf16"), laps).precision == "bf16"
    assert len(laps.calls) == 4  # 1.1 s, then 2.2


def test_gpus_without_bf16_units_race_fp16(monkeypatch) -> None:
    for capability, other in (((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert candidates(torch.device("cuda")) == ("fp32", other)
    assert candidates(CPU) == ("fp32", "bf16")
    assert candidates(torch.device("mps")) == ("fp32",)


# --- what is kept ----------------------------------------------------------------------------------------------------

def test_an_answer_is_kept_for_this_machine_and_this_work(cache, monkeypatch) -> None:
    first = decide(CPU, "a network", Laps(fp32=0.1, bf16=0.05))
    unasked = Laps(fp32=0.05, bf16=0.1)
    assert decide(CPU, "a network", unasked) == first and unasked.calls == []
    assert decide(CPU, "another network", Laps(fp32=0.05, bf16=0.1)).precision == "fp32"
    monkeypatch.setattr(arithmetic.processor, "model", lambda: "another processor")
    assert decide(CPU, "a network", Laps(fp32=0.05, bf16=0.1)).precision == "fp32"


@pytest.mark.parametrize("change", ["SPEEDCORE_ISA", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"])
def test_a_cap_is_another_machine(monkeypatch, change: str) -> None:
    before = arithmetic.signature(CPU)
    monkeypatch.setenv(change, "avx2")
    assert arithmetic.signature(CPU) != before


@pytest.mark.parametrize("content", ["", "{", "[]",
                                     '{"precision": "fp64", "seconds": {}}', '{"precision": "fp32", "seconds": [1]}',
                                     '{"precision": "fp32", "seconds": {"fp32": -1}}'])
def test_a_kept_answer_that_cannot_be_read_is_raced_for_again(cache, content: str) -> None:
    decide(CPU, "a network", Laps(fp32=0.1, bf16=0.05))
    (path,) = cache.rglob("*.json")
    path.write_text(content)
    assert decide(CPU, "a network", Laps(fp32=0.05, bf16=0.1)).precision == "fp32"
    assert json.loads(path.read_text())["precision"] == "fp32"


def test_a_cache_that_cannot_be_written_costs_nothing_but_the_next_race(cache) -> None:
    cache.write_text("a file where the folder should be")
    assert decide(CPU, "a network", Laps(fp32=0.1, bf16=0.05)).precision == "bf16"


# --- what is said ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("seconds", "asked", "said"), [
    ({"fp32": 0.1, "bf16": 0.81}, None, "trained in fp32: on this processor bf16 takes 8.1 × as long"),
    ({"fp32": 0.1, "bf16": 0.81}, "bf16",
     "trained in bf16, as the recipe says: on this processor that takes 8.1 × as long as fp32"),
    ({"fp32": 0.1, "bf16": 0.14}, "bf16", "trained in bf16, as the recipe says"),
    ({"fp32": 0.1, "bf16": 0.16}, "bf16",
     "trained in bf16, as the recipe says: on this processor that takes 1.6 × as long as fp32"),
    ({"fp32": 0.1, "bf16": 0.099}, None, "trained in fp32: on this processor bf16 is no quicker"),
    ({}, None, "trained in fp32")])
def test_sentences(seconds: dict[str, float], asked: str | None, said: str) -> None:
    assert Decision("fp32", seconds).sentence(CPU, asked) == said


def test_sentences_that_differ_in_the_factor_are_one() -> None:
    of = [Decision("fp32", {"fp32": 0.1, "bf16": 0.1 * factor}).sentence(CPU) for factor in (8.8, 10, 9.1, 8.8)]
    other = Decision("bf16", {"fp32": 0.2, "bf16": 0.1}).sentence(CPU)
    assert arithmetic.together([*of, other, "trained in fp16"]) == [
        "trained in fp32: on this processor bf16 takes 8.8 to 10 × as long",
        "trained in bf16: on this processor fp32 takes 2 × as long", "trained in fp16"]
