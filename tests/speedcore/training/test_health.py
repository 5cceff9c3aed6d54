"""What is no number stops a run; what is no better than a constant prediction, or lies apart from its like, is called that."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch

from speedcore.cli import console, progress
from speedcore.data.dataset import Dataset, Provenance, Split
from speedcore.errors import DivergedError
from speedcore.planning import execute as executors
from speedcore.planning.execute import execute
from speedcore.planning.planned_runs import Plan, PlannedRuns
from speedcore.planning.request import Request
from speedcore.recipe import AverageConfig, SGDConfig, TTAConfig
from speedcore.store.runs import RunStore
from speedcore.training import evaluate, health, loop
from speedcore.training.callback import Callback
from speedcore.training.loop import train
from speedcore.training.state import TrainState
from tests.reports import making
from tests.speedcore import toys

WILD = toys.recipe(optimizer=SGDConfig(lr=1e30, weight_decay=0.0))


def scalars(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value) for value in values]


# --- losses and answers that are no numbers --------------------------------------------------------------------------

def test_the_first_loss_that_is_no_number_is_named_with_rate_and_last_good_value() -> None:
    losses, rates = scalars(2.5, 1.25, math.nan, 3.0, math.nan), [0.1, 0.2, 0.3, 0.4, 0.5]
    with pytest.raises(DivergedError, match=r"toy: the loss is nan at step 3 of 9, at a rate of 0.3; the last good value was "
                                            r"1.25, at step 2\. .*lower rate"):
        health.check_losses("toy", losses, rates, 0, 9)
    with pytest.raises(DivergedError, match="inf at step 1 of 9, .* no good value before it"):
        health.check_losses("toy", scalars(math.inf), [0.1], 0, 9)
    health.check_losses("toy", losses[:2], rates, 0, 9)
    health.check_losses("toy", losses[:3], rates, 3, 9)  # those before `start` were looked at earlier
    assert DivergedError.exit_status not in (0, 1, 2, 3, 4)


def test_a_run_that_diverges_stops_where_it_does_and_leaves_nothing(store: RunStore) -> None:
    listener = toys.Listener()
    with pytest.raises(DivergedError, match=r"toy-with-s0: the loss is (nan|inf) at step \d of 12, at a rate of .*e\+"):
        train(toys.dataset(), toys.job(WILD, 12), store, callback=listener)
    assert len(listener.events) < 6 and list(store) == []


def test_each_loss_is_looked_at_once_when_the_clock_is(store: RunStore, monkeypatch) -> None:
    step, done = TrainState.step, []

    def stepped(self, *rest):
        loss, accuracy = step(self, *rest)
        done.append(1)
        return (torch.full_like(loss, math.nan) if len(done) == 8 else loss), accuracy

    check, starts = health.check_losses, []

    def checked(key, losses, rates, start, steps):
        starts.append((start, len(losses)))
        check(key, losses, rates, start, steps)

    monkeypatch.setattr(loop, "warm_up", lambda *_: None)
    monkeypatch.setattr(TrainState, "step", stepped)
    monkeypatch.setattr(health, "check_losses", checked)
    with pytest.raises(DivergedError, match="nan at step 8 of 12"):
        train(toys.dataset(), toys.job(toys.recipe(), 12), store)
    assert [start for start, _ in starts] == list(range(8)) and starts[-1] == (7, 8)


def test_a_loss_of_the_very_last_step_is_looked_at_as_well(store: RunStore, monkeypatch) -> None:
    step, done = TrainState.step, []

    def stepped(self, *rest):
        loss, accuracy = step(self, *rest)
        done.append(1)
        return (torch.full_like(loss, math.inf) if len(done) == 12 else loss), accuracy

    monkeypatch.setattr(loop, "warm_up", lambda *_: None)
    monkeypatch.setattr(TrainState, "step", stepped)
    with pytest.raises(DivergedError, match="inf at step 12 of 12"):
        train(toys.dataset(), toys.job(toys.recipe(), 12), store)


def test_validation_that_is_no_number_stops_the_run(store: RunStore, monkeypatch) -> None:
    monkeypatch.setattr(evaluate, "score", lambda *_: (0.9, math.nan))
    with pytest.raises(DivergedError, match="the loss on validation images is nan after step 2"):
        train(toys.dataset(), toys.job(toys.recipe(val_images=16), 12), store)


@pytest.mark.parametrize("views", [False, True])
def test_test_answers_that_are_no_numbers_are_no_accuracy(store: RunStore, monkeypatch, views: bool) -> None:
    """Every loss may be a number and the last step's weights none; nan's largest entry would be class 0."""
    logits = TrainState.logits

    def answered(self, images, further=None):
        found = logits(self, images, further)
        if (further is not None) == views:
            found[5:8] = math.nan
        return found

    monkeypatch.setattr(TrainState, "logits", answered)
    with pytest.raises(DivergedError, match="for 3 of 40 test images the .* no finite numbers, after 4 steps"):
        train(toys.dataset(), toys.job(toys.recipe(tta=TTAConfig(mirror=True)), 4), store)
    assert list(store) == []


def test_an_average_of_weights_that_are_no_numbers_is_found(store: RunStore, monkeypatch) -> None:
    from speedcore.techniques.averaging import WeightAverage

    def broken(self: WeightAverage) -> None:
        for tensor in self._tensors:
            tensor.fill_(math.nan)

    monkeypatch.setattr(WeightAverage, "before_test", torch.no_grad()(broken))
    with pytest.raises(DivergedError, match="40 of 40 test images"):
        train(toys.dataset(), toys.job(toys.recipe(average=AverageConfig(decay=0.9, every=2)), 4), store)


@pytest.mark.parametrize("constant", ["one channel", "all"])
def test_constant_images_are_trained_on_without_a_division_by_zero(store: RunStore, constant: str) -> None:
    data = toys.dataset(channels=3)
    for split in (data.train, data.test):
        split.images[:, 1:2 if constant == "one channel" else 3] = 7
        if constant == "all":
            split.images.fill_(7)
    data = Dataset.make("flat", data.classes, data.train, data.test, Provenance("made in a test", False))
    assert all(map(math.isfinite, (*data.mean, *data.std))) and data.std[1] == 1
    run = train(data, toys.job(toys.recipe(), 4), store)
    assert np.isfinite(run.predictions["logits"]).all() and np.isfinite(run.steps["loss"]).all()
    if constant == "all":
        assert health.constant_prediction(run).no_better


# --- a build goes on -------------------------------------------------------------------------------------------------

def plan(*names: str, seeds: int) -> Plan:
    return Plan(request="toy", planned=tuple(
        PlannedRuns(dataset=name, fingerprint=name, recipe=toys.recipe(), reason="", seeds=seeds, steps=4, full_steps=12,
               steps_per_epoch=4, step_seconds=0.01, limit=None, run_seconds=1.0, explain_seconds=0.0) for name in names))


@pytest.mark.parametrize(("arm", "stand"), [("with", []), ("without", ["with"])])
def test_a_pair_that_diverges_is_named_and_the_others_are_trained(store: RunStore, monkeypatch, arm: str, stand: list) -> None:
    inner, lost = loop.train, []

    def trained(dataset, job, *rest):
        if (dataset.name, job.arm, job.seed) == ("other", arm, 1):
            raise DivergedError(f"{job.key}: the loss is nan at step 2 of 4")
        return inner(dataset, job, *rest)

    class Listening(Callback):
        def on_run_failed(self, why, runs):
            lost.append((why, runs))

    monkeypatch.setattr(loop, "train", trained)
    data = {name: toys.dataset(name=name) for name in ("toy", "other")}
    outcome = execute(plan("toy", "other", seeds=3), Request(within=None), data, store, Listening())
    found = [(run.record.data.name, run.record.seed, run.record.arm) for run in outcome.runs]
    assert [of for of in found if of[:2] == ("other", 1)] == [("other", 1, one) for one in stand]
    assert len(found) == 10 + len(stand) and outcome.left_out == ()
    ((why,),) = outcome.diverged.values()
    assert list(outcome.diverged) == ["other"]
    assert why.startswith("other, seed 1: there is no pair, ") and "the loss is nan at step 2 of 4" in why
    assert lost == [(why, 2 - len(stand))]


def test_a_ladder_goes_on_with_what_does_not_diverge() -> None:
    from speedcore.planning.rounds import in_rounds

    class Task:
        def __init__(self, wild: set[int]):
            self.wild = wild

        def exists(self, seed: int) -> bool:
            return False

        def seconds(self, result: int) -> float:
            return 1.0

        def do(self, seed: int) -> int:
            if seed in self.wild:
                raise DivergedError(f"run {seed}: the loss is nan")
            return seed

    kept = []
    in_rounds({"calm": Task(set()), "wild": Task({1})}, 3, None, lambda found, left_out: kept.append((dict(found), left_out)))
    assert kept[-1] == ({"calm": [0, 1, 2], "wild": [0, 2]},
                        ("wild, seed 1, is left out: it diverged. run 1: the loss is nan",))


def test_the_console_names_what_is_lost_and_calls_a_constant_answer_that(store: RunStore) -> None:
    from rich.console import Console

    out = Console(file=io.StringIO(), width=300, highlight=False)
    data = making.dataset()
    with progress.live("toy", 4, out) as callback:
        callback.on_run_end(making.save(store, data, "without", 0, 29), False)
        callback.on_run_end(making.save(store, data, "without", 1, 11), False)
        callback.on_run_failed("toy, seed 2: there is no pair", 2)
    good, bad, lost = out.file.getvalue().strip().splitlines()
    assert "96.67 % on the test set, " in good
    # 10 of 30 images are of each of three classes; 11 right are no better than that, as far as 30 images can tell.
    assert "36.67 % on the test set (no better than a constant prediction: always predicting “zero” scores 33.33 %)" in bad
    assert lost == "left out: toy, seed 2: there is no pair"
    assert callback.done == 4


# --- constant predictions and runs that lie apart ------------------------------------------------------------------------

def uneven(store: RunStore, right: int) -> executors.Run:
    """20 of 30 test images of class 0; the run answers the first `right` correctly."""
    data = making.dataset()
    labels = torch.tensor([0] * 20 + [1] * 6 + [2] * 4)
    data = Dataset.make("mnist", data.classes, data.train, Split(data.test.images, labels), data.provenance)
    return making.save(store, data, "without", 0, right)


def test_a_constant_answer_scores_the_share_of_the_largest_class(store: RunStore) -> None:
    run = uneven(store, 29)
    answer = health.constant_prediction(run)
    assert (answer.share, answer.label, answer.uneven, answer.no_better) == (20 / 30, "zero", True, False)
    assert answer.sentence == "" and console.beside(run) == " (a constant prediction: 66.67 %)"


@pytest.mark.parametrize(("right", "no_better"), [(20, True), (25, True), (26, False), (27, False), (10, True)])
def test_no_better_is_by_the_exact_interval_of_a_share(store: RunStore, right: int, no_better: bool) -> None:
    """Against scipy's exact interval; the largest class has 66.67 % of the images."""
    from scipy.stats import binomtest

    low = binomtest(right, 30).proportion_ci(0.95, "exact").low
    assert health.constant_prediction(uneven(store, right)).no_better is (low <= 20 / 30) is no_better


@pytest.mark.parametrize(("values", "apart"), [
    ([0.94, 0.92, 0.10], (2,)), ([0.10, 0.11, 0.99], (2,)), ([0.991, 0.992, 0.60], (2,)), ([0.9910, 0.9911, 0.9990], ()),
    ([0.5, 0.6, 0.7, 0.4], ()), ([0.9, 0.1], ()), ([0.95] * 8 + [0.3, 0.4], (8, 9)), ([], ()),
])
def test_runs_that_lie_apart(values: list[float], apart: tuple[int, ...]) -> None:
    assert health.outlying(values) == apart


def test_remarks_name_seed_and_figures(store: RunStore) -> None:
    runs = making.pairs(store, making.dataset(), (29, 28, 10), ())
    said = health.remarks(runs, [run.record.accuracy for run in runs])
    assert said == (
        "the run of seed 2 did not learn: 33.33 % on the test set is no better than a constant prediction: always predicting "
        "“zero” scores 33.33 %",
        "the run of seed 2 lies apart: 33.33 %, where the median of the other 2 is 95.00 %; mean and interval are of all 3")
    assert health.remarks(runs[:2], [0.97, 0.93]) == ()
