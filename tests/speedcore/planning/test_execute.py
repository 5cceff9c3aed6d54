"""Carrying plans out: nothing is trained twice, pairs match, and what is left out is said."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from speedcore.errors import RunError
from speedcore.planning import execute as executors
from speedcore.planning.execute import execute
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.request import Request
from speedcore.store.runs import RunStore
from speedcore.training import loop
from speedcore.training.callback import Callback
from speedcore.training.job import Job
from tests.speedcore import toys


def plan(*names: str, seeds: int = 2, steps: int = 4, limit: float | None = None, **planned) -> Plan:
    """A plan for toy data sets of these names."""
    return Plan(request="toy", planned=tuple(
        PlannedRuns(**{"dataset": name, "fingerprint": name, "recipe": toys.recipe(), "reason": "", "seeds": seeds,
                  "steps": steps, "full_steps": 12, "steps_per_epoch": 4, "step_seconds": 0.01, "limit": limit,
                  "run_seconds": 1.0, "explain_seconds": 0.0, **planned}) for name in names or ("toy",)))


DATA = {name: toys.dataset(name=name) for name in ("toy", "other")}
# Without a cap on the whole build pairs stay as planned, however quick this machine is at the toy.
REQUEST = Request(within=None)


@pytest.fixture
def trained(monkeypatch) -> list[Job]:
    """Jobs that were really trained."""
    jobs, train = [], loop.train

    def counted(dataset, job, *rest):
        jobs.append(job)
        return train(dataset, job, *rest)

    monkeypatch.setattr(loop, "train", counted)
    return jobs


def test_a_plan_is_carried_out_once(store: RunStore, trained) -> None:
    first = execute(plan("toy", "other"), REQUEST, DATA, store)
    assert (len(first.runs), first.reused, first.left_out, len(trained)) == (8, 0, (), 8)
    again = execute(plan("toy", "other"), REQUEST, DATA, store)
    assert (len(again.runs), again.reused, len(trained)) == (8, 8, 8)
    assert [run.record for run in again.runs] == [run.record for run in first.runs]


def test_seeds_are_outermost_and_pairs_stay_together(store: RunStore, trained) -> None:
    runs = execute(plan("toy", "other"), REQUEST, DATA, store).runs
    order = [(run.record.seed, run.record.data.name, run.record.arm) for run in runs]
    assert order == [(seed, name, arm) for seed in (0, 1) for name in ("toy", "other") for arm in ("with", "without")]


def test_only_what_is_missing_is_trained(store: RunStore, trained) -> None:
    first = execute(plan(), REQUEST, DATA, store).runs
    shutil.rmtree(first[1].path)
    trained.clear()
    again = execute(plan(), REQUEST, DATA, store)
    assert [(job.arm, job.seed) for job in trained] == [("without", 0)]
    assert again.reused == 3
    assert again.runs[1].record.weights_sha256 == first[1].record.weights_sha256


def test_more_seeds_keep_the_first_ones(store: RunStore, trained) -> None:
    execute(plan(seeds=1), REQUEST, DATA, store)
    more = execute(plan(seeds=3), REQUEST, DATA, store)
    assert more.reused == 2 and len(trained) == 6


def test_the_second_arm_takes_as_many_steps_as_the_first_landed_on(store: RunStore, trained) -> None:
    """Planned for far more than fits, so that the first arm lands early wherever the machine puts it."""
    runs = execute(plan(seeds=1, steps=100_000, full_steps=100_000, limit=0.4), REQUEST, DATA, store).runs
    with_, without = (run.record for run in runs)
    assert with_.steps < 100_000 and with_.replans
    assert without.planned_steps == with_.steps
    assert trained[0].limit == 0.4 and trained[1].limit == pytest.approx(1.3 * 0.4)
    assert not trained[1].stretch


def test_both_arms_begin_with_the_same_weights(store: RunStore, monkeypatch) -> None:
    seen, fit = [], loop.fit

    def look(state, *rest):
        seen.append(loop.digest(state.network.state_dict()))
        return fit(state, *rest)

    monkeypatch.setattr(loop, "fit", look)
    execute(plan(), REQUEST, DATA, store)
    assert len(seen) == 4
    assert seen[0] == seen[1] != seen[2] == seen[3]


def test_when_time_runs_out_later_pairs_are_left_out_in_a_sentence(store: RunStore, trained) -> None:
    """A data set's first pair is trained in any case: without it there is nothing to report."""
    outcome = execute(plan("toy", "other", seeds=4), REQUEST, DATA, store, seconds_left=lambda: 0.0)
    assert [(run.record.data.name, run.record.seed) for run in outcome.runs] == [("toy", 0)] * 2 + [("other", 0)] * 2
    assert len(outcome.left_out) == 2
    assert "toy: 3 of 4 pairs left out because the time for the whole build ran out" in outcome.left_out[0]
    assert "the next call continues" in outcome.left_out[0]
    complete = execute(plan("toy", "other", seeds=4), REQUEST, DATA, store)
    assert (complete.reused, len(complete.runs), complete.left_out) == (4, 16, ())


def test_what_stands_is_used_however_little_time_is_left(store: RunStore, trained) -> None:
    execute(plan(seeds=3), REQUEST, DATA, store)
    outcome = execute(plan(seeds=3), REQUEST, DATA, store, seconds_left=lambda: 0.0)
    assert (outcome.reused, outcome.left_out) == (6, ())


def test_the_estimate_is_replaced_by_what_pairs_really_took(store: RunStore) -> None:
    """Planned at half an hour a run; the first pair shows that a second is plenty."""
    outcome = execute(plan(seeds=3, run_seconds=1800.0), REQUEST, DATA, store, seconds_left=lambda: 60.0)
    assert len(outcome.runs) == 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_in_mid_run_keeps_what_had_finished(store: RunStore, trained, error) -> None:
    class Impatient(Callback):
        def on_progress(self, event):
            if "-without-" in event.key and event.step == 2:
                raise error

    if error is KeyboardInterrupt:
        with pytest.raises(error):
            execute(plan(), REQUEST, DATA, store, Impatient())
    else:  # this data set's failure, no other's: the caller is told
        outcome = execute(plan(), REQUEST, DATA, store, Impatient())
        assert outcome.runs == () and isinstance(outcome.failed["toy"], error)
    assert [run.record.arm for run in store] == ["with"]
    assert len(list(store.root.iterdir())) == 1
    done = execute(plan(), REQUEST, DATA, store)
    assert (done.reused, len(done.runs)) == (1, 4)


def test_a_set_that_fails_takes_no_other_along(store: RunStore, trained) -> None:
    class Failing(Callback):
        def on_run_start(self, job):
            if job.key.startswith("toy-") and job.seed == 1:
                raise RunError("the loss is not finite")

    outcome = execute(plan("toy", "other", seeds=3), REQUEST, DATA, store, Failing())
    assert [(run.record.data.name, run.record.seed) for run in outcome.runs[::2]] == [("toy", 0), ("other", 0), ("other", 1),
                                                                                      ("other", 2)]
    assert {name: str(error) for name, error in outcome.failed.items()} == {"toy": "the loss is not finite"}
    assert execute(plan("toy", "other", seeds=3), REQUEST, DATA, store).reused == 8


def test_a_callback_is_told_of_every_run(store: RunStore) -> None:
    class Listening(Callback):
        def __init__(self):
            self.heard = []

        def on_run_start(self, job):
            self.heard.append(("start", job.key))

        def on_progress(self, event):
            self.heard.append(("progress", event.key))

        def on_run_end(self, run, reused):
            self.heard.append(("reused" if reused else "end", run.name))

    first, again = Listening(), Listening()
    runs = execute(plan(seeds=1), REQUEST, DATA, store, first).runs
    expected = [(word, run.name) for run in runs for word in ("start", *["progress"] * 4, "end")]
    assert first.heard == expected
    execute(plan(seeds=1), REQUEST, DATA, store, again)
    assert again.heard == [("reused", run.name) for run in runs]


def test_a_run_of_another_version_is_named_not_overwritten(store: RunStore) -> None:
    run = execute(plan(seeds=1), REQUEST, DATA, store).runs[0]
    record = toys.resealed(run.path, schema_version=99) / "run.json"
    failed = execute(plan(seeds=1), REQUEST, DATA, store).failed
    assert isinstance(failed["toy"], RunError) and "schema 99" in str(failed["toy"])
    assert '"schema_version": 99' in record.read_text()


def test_outcomes_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        executors.Outcome((), 0).reused = 1
