"""Rounds of seeds: how many fit into a time, what is left out, what stands already. Time is a clock that only tasks move."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from speedcore.clock import Stopwatch
from speedcore.planning import rounds
from speedcore.store.runs import RunStore
from tests.speedcore import toys


@dataclass
class Fake:
    """A task that takes `cost` seconds on a clock of its own."""

    clock: toys.FakeClock
    cost: float
    done: list = field(default_factory=list)
    standing: tuple = ()

    def exists(self, seed: int) -> bool:
        return seed in self.standing

    def do(self, seed: int) -> int:
        if seed not in self.standing:
            self.clock.go(self.cost)
        self.done.append(seed)
        return seed

    def seconds(self, result: int) -> float:
        return self.cost


@pytest.mark.parametrize(("seeds", "within", "expected", "left"), [
    (2, None, 2, 0), (None, None, 3, 0), (None, 45, 3, 0), (None, 44, 2, 0), (5, 31, 2, 1), (3, 46, 3, 0)])
def test_rounds_that_fit(monkeypatch, seeds, within, expected: int, left: int) -> None:
    """A round takes 5 + 10 seconds."""
    clock, said = toys.FakeClock(), []
    monkeypatch.setattr(rounds, "Stopwatch", lambda: Stopwatch(clock))
    tasks = {"a": Fake(clock, 5), "b": Fake(clock, 10)}
    rounds.in_rounds(tasks, seeds, within, lambda found, left_out: said.append((
        {name: list(results) for name, results in found.items()}, left_out)))
    assert [task.done for task in tasks.values()] == [list(range(expected))] * 2
    assert said[-1][0] == {"a": list(range(expected)), "b": list(range(expected))} and len(said[-1][1]) == left


def test_a_first_round_stops_where_time_has_run_out_and_what_stands_is_taken(monkeypatch) -> None:
    clock, said = toys.FakeClock(), []
    monkeypatch.setattr(rounds, "Stopwatch", lambda: Stopwatch(clock))
    tasks = {"a": Fake(clock, 5), "b": Fake(clock, 5), "c": Fake(clock, 5, standing=(0,))}
    rounds.in_rounds(tasks, None, 4, lambda found, left_out: said.append(left_out))
    assert [task.done for task in tasks.values()] == [[0], [], [0]]
    assert said == [("b was left out because the time ran out; the same command continues.",)]


def test_a_training_stands_once_it_is_done(store: RunStore) -> None:
    task = rounds.Training(toys.dataset(), toys.recipe(), store, "cpu")
    assert not task.exists(0)
    run = task.do(0)
    assert task.exists(0) and not task.exists(1) and task.do(0) == run
    ledger = run.record.ledger
    assert task.seconds(run) == pytest.approx(sum(ledger.values()) - ledger.get("load", 0) - ledger.get("provision", 0))
