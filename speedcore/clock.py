"""The only place that reads a clock for results: phases, the ledger, clock rules, budgets.

A run is always in exactly one `Phase`, so the ledger's seconds add up to the wall clock from the first touch of
data: nothing is paused, nothing falls between two phases. Every published benchmark counts other phases; with the
whole ledger on record, any of their rules (`ClockPolicy`) can be applied afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

# A monotonic clock: seconds from any beginning. Whatever reads one takes it as an argument, so that tests can hand in their own.
Clock = Callable[[], float]
WALL: Clock = time.perf_counter


class Phase(StrEnum):
    """What the machine is doing, as the ledger distinguishes it."""

    PROVISION = "provision"    # getting the bytes: download, mirror, copy
    LOAD = "load"              # decoding them into tensors
    PLAN = "plan"              # measuring throughput to set the number of steps
    PREPARE = "prepare"        # moving to the device, statistics, whitening filters
    PRECOMPUTE = "precompute"  # writing augmented epochs to the store
    BUILD = "build"            # making the network and the optimiser
    WARM_UP = "warm_up"        # kernels chosen, caches filled, nothing kept
    TRAIN = "train"            # the optimiser's steps, augmentation on the fly included
    VALIDATE = "validate"      # validation points: held-out training images tested, for curves
    TEST = "test"              # the one pass over the test set
    TTA = "tta"                # the further views of the test set, for test-time augmentation
    SAVE = "save"              # writing the run
    OTHER = "other"            # everything between


@dataclass(frozen=True)
class ClockPolicy:
    """A rule that says which phases count. `phases` is None where all of them do."""

    name: str
    phases: frozenset[Phase] | None
    meaning: str

    def seconds(self, ledger: Mapping[str, float]) -> float:
        """Seconds of `ledger` (phase name -> seconds) that count under this rule."""
        return sum(s for phase, s in ledger.items() if self.counts(Phase(phase)))

    def counts(self, phase: Phase) -> bool:
        return self.phases is None or phase in self.phases


POLICIES: dict[str, ClockPolicy] = {policy.name: policy for policy in (
    ClockPolicy("article", frozenset({Phase.TRAIN}),
                "training alone: augmented epochs computed beforehand and evaluation are not counted"),
    ClockPolicy("dawnbench", frozenset({Phase.PREPARE, Phase.PRECOMPUTE, Phase.TRAIN}),
                "training and every preprocessing of the data; validation and tests are not counted"),
    ClockPolicy("everything", None,
                "from the first touch of data to the last result, nothing paused"),
)}

# Rules by which published systems timed themselves, where none of ours is the same. They are for reading ledgers: a
# replica of such a system is compared with it by the system's own clock.
SOURCE_POLICIES: dict[str, ClockPolicy] = {policy.name: policy for policy in (
    ClockPolicy("mnist-fast", frozenset({Phase.BUILD, Phase.TRAIN, Phase.TEST}),
                "making the network, training it and every test pass; preparing and loading the data are not counted"),
    ClockPolicy("page-series", frozenset({Phase.PREPARE, Phase.TRAIN, Phase.TEST}),
                "preparing the data, training and every test pass: the series' own times count the test after each epoch"),
)}


class Ledger:
    """Wall-clock seconds by phase. One phase is active at any time; `OTHER` when no block is open.

    synchronise: called before a phase ends, so that queued device work is charged to the phase that queued it.
    carried: seconds spent before this ledger began, e.g. by the loading of a data set that several runs share.
    clock: what is read.
    """

    def __init__(self, synchronise: Callable[[], None] = lambda: None, carried: Mapping[str, float] | None = None,
                 clock: Clock = WALL):
        self._synchronise = synchronise
        self._clock = clock
        self._seconds = dict.fromkeys(Phase, 0.0)
        for phase, seconds in (carried or {}).items():
            self._seconds[Phase(phase)] += seconds
        self._active = Phase.OTHER
        self._since = clock()

    def _switch(self, phase: Phase) -> Phase:
        self._synchronise()
        now = self._clock()
        self._seconds[self._active] += now - self._since
        previous, self._active, self._since = self._active, phase, now
        return previous

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Charge the block to `phase`; an inner block takes its time away from the outer one."""
        previous = self._switch(phase)
        try:
            yield
        finally:
            self._switch(previous)

    def seconds(self) -> dict[str, float]:
        """Seconds by phase name up to now, phases that never ran left out."""
        self._switch(self._active)
        return {str(phase): s for phase, s in self._seconds.items() if s > 0}

    def elapsed(self, policy: ClockPolicy) -> float:
        """Seconds that count under `policy` up to now. Does not synchronise: cheap enough for every step."""
        running = self._clock() - self._since
        return sum(s + (running if phase is self._active else 0.0)
                   for phase, s in self._seconds.items() if policy.counts(phase))


@dataclass(frozen=True)
class Budget:
    """Seconds that a run may take under a clock rule. `seconds` is inf for no limit."""

    seconds: float
    policy: ClockPolicy = POLICIES["article"]

    def left(self, ledger: Ledger) -> float:
        """Seconds left (negative once exceeded)."""
        return self.seconds - ledger.elapsed(self.policy)


class Stopwatch:
    """Seconds since it was made, for progress lines and estimates."""

    def __init__(self, clock: Clock = WALL):
        self._clock = clock
        self._start = clock()

    def seconds(self) -> float:
        return self._clock() - self._start
