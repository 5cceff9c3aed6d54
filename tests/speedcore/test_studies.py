"""The studies of the series: rules by hand, and each of them end to end on toys."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from speedcore import recipes
from speedcore.cli.console import run_app
from speedcore.errors import Notice, RecipeError
from speedcore.ladders.scale import Scale
from speedcore.machine import provenance
from speedcore.planning.run import whole_run
from speedcore.recipe import AdamConfig, Augment, PageNetConfig, Recipe, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.studies import (
    STUDIES,
    batch_norm_scales,
    compute_bound,
    convergence,
    forgetting,
    lr_by_dataset_size,
    records,
    stored,
)
from speedcore.studies.batch_norm_scales import decay_alone, watch
from speedcore.studies.compute_bound import Bound, Peak
from speedcore.studies.constant_rate import at_constant_rate
from speedcore.studies.findings import Question, answer
from speedcore.studies.forgetting import Trained, by_age, losses_again
from speedcore.studies.lr_by_dataset_size import Point, SizeRecord, least
from speedcore.training.optimizers import MomentumSGD
from tests.speedcore import toys

SMALL = Scale(epochs=0.1)  # three of thirty epochs


@pytest.fixture
def cli(monkeypatch, capsys):
    def call(*words: str) -> tuple[int, str, str]:
        from speedcore.cli.app import app

        monkeypatch.setattr(sys, "argv", ["speedcore", *words])
        status = run_app(app)
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return call


def test_the_list_names_every_command(cli) -> None:
    from speedcore.cli.study import app

    status, out, _ = cli("study", "--list")
    assert status == 0
    assert [line.split(":")[0] for line in out.splitlines()] == list(STUDIES)
    assert {command.name for command in app.registered_commands} == set(STUDIES)
    assert set(stored.KINDS) | {"architecture-search", "convergence"} == set(STUDIES)


@pytest.mark.parametrize(("words", "said"), [
    (("lr-by-dataset-size", "--factors", "1,zwei"), "--factors '1,zwei'"),
    (("lr-by-dataset-size", "--factors", "1,-2"), "--factors '1,-2'"),
    (("forgetting", "--scale", "2"), "--scale '2' is no scale"),
    (("convergence", "--epochs", "30"), "24, 40, 60, 80, 100"),
    (("compute-bound", "--recipe", "nosuch"), "no recipe 'nosuch'"),
    (("batch-norm-scales", "--recipe", "nosuch"), "no recipe 'nosuch'"),
    (("forgetting", "--dataset", "shapes:train=60,test=10", "--scale", "epochs=0.03"), "less than two steps"),
])
def test_mistakes_are_one_message(cli, tmp_path, words: tuple, said: str) -> None:
    status, _, err = cli("study", *words, "--runs", str(tmp_path))
    assert status == 2 and said in err and err.count("error: ") == 1


def test_a_constant_rate() -> None:
    recipe = at_constant_rate(recipes.get("page-baseline-main-thread", "cifar10"), 4.0)
    assert recipe.schedule.knots == ((0.0, 0.0), (5 / 30, 4.0), (1.0, 4.0)) and recipe.epochs == 30
    assert (recipe.data, recipe.loader, recipe.peek, recipe.optimizer.lr, recipe.batch_size) == ("device", None, None, 0.1, 128)
    assert at_constant_rate(recipes.get("page-tricks-ema", "cifar10")).average is None
    with pytest.raises(RecipeError, match="above 0"):
        at_constant_rate(recipe, 0.0)


# --- the rule of findings --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("numbers", "bound", "verdict"), [
    ((1.0, 1.1, 0.9), None, "seen"), ((-1.0, -1.1, -0.9), None, "contradicted"), ((1.0, -1.0, 0.5), None, "cannot tell"),
    ((1.0,), None, "cannot tell"), ((), None, "cannot tell"),
    ((0.01, -0.01, 0.0), 0.05, "seen"), ((1.0, 1.1, 0.9), 0.05, "contradicted"), ((-1.0, -1.1, -0.9), 0.05, "contradicted"),
    ((0.2, -0.2, 0.1), 0.05, "cannot tell"),
])
def test_verdicts(numbers: tuple, bound: float | None, verdict: str) -> None:
    (found,) = answer([Question("it falls", "points", numbers, bound)])
    assert found.verdict == verdict
    assert found.sentence.startswith({"seen": "Seen: it falls", "contradicted": "Contradicted: it falls",
                                      "cannot tell": "Cannot tell"}[verdict])


def test_sentences_have_the_numbers() -> None:
    (found,) = answer([Question("it falls", "points", (1.0, 2.0, 3.0), digits=1)])
    # Student's t with two degrees of freedom at 98 %: 6.965 · 1 / √3 = 4.02 to both sides.
    assert "Points: +2.0, 95 % interval −2.0 to +6.0, 3 seeds; too few seeds for an exact test, which needs 6" in found.sentence
    (six,) = answer([Question("it falls", "points", (1.0, 1.1, 1.2, 0.9, 1.3, 0.8))])
    assert "sign-flip test p = 0.031" in six.sentence  # 2 / 2^6


def test_two_questions_of_one_study_are_corrected_together() -> None:
    numbers = tuple(1.0 + i / 10 for i in range(7))
    first, second, equal = answer([Question("a", "m", numbers), Question("b", "m", numbers),
                                   Question("c", "m", numbers, bound=5.0)])
    assert first.tested.p_holm == second.tested.p_holm == pytest.approx(2 * 2 / 2**7)
    assert equal.tested.p_equivalence_holm == pytest.approx(1 / 2**7)  # equalities are another family


# --- learning rate by training-set size --------------------------------------------------------------------------------

def test_the_least_loss_by_the_parabola_through_its_neighbours() -> None:
    factors = (0.5, 1.0, 2.0, 4.0)  # log2: -1, 0, 1, 2
    assert least(factors, [(x - 0.3) ** 2 + 1 for x in (-1, 0, 1, 2)]) == pytest.approx(0.3)
    assert least(factors, [3, 2, 1, 0.5]) == 2.0                 # the end is the least
    assert least(factors, [3, 1, 2, math.inf]) == pytest.approx(1 / 6)  # 1.5 x² − 0.5 x + 1; what is farther does not count
    assert least(factors, [1, 1, 1, 1]) == -1.0


def size_record(best: dict[int, tuple[float, ...]], factors=(0.25, 0.5, 1.0, 2.0, 4.0), train_loss: float = 0.5) -> SizeRecord:
    """images -> log2 of the best factor, a seed each; losses are parabolas about them."""
    points = tuple(Point(images=images, factor=factor, seed=seed, run=f"r{images}-{factor}-{seed}", train_loss=train_loss,
                         test_loss=1 + (math.log2(factor) - x) ** 2 / 4, accuracy=0.5)
                   for images, xs in best.items() for seed, x in enumerate(xs) for factor in factors)
    return SizeRecord(study=lr_by_dataset_size.NAME, dataset="toy", fingerprint="f", official=False, classes=4, train_images=400,
                      recipe=toys.recipe(), scale=vars(Scale()), device="cpu", provenance={}, rate=0.05, factors=factors,
                      points=points)


def test_the_slope_over_sizes_by_hand() -> None:
    (found,) = size_record({100: (1.0, 1.0), 200: (0.5, 0.6), 400: (0.0, 0.2)}).findings
    assert found.question.numbers == pytest.approx((0.5, 0.4))  # doublings a doubling: half a step down each, then 0.4
    (alone,) = size_record({100: (1.0, 1.0)}).findings
    assert alone.verdict == "cannot tell" and alone.tested.n == 0
    flat = size_record({100: (1.0,), 200: (1.0,)})
    assert flat.findings[0].question.numbers == pytest.approx((0.0,))
    assert "2 times the rate for 100 images, 2 times the rate for 200 images" in lr_by_dataset_size.readings(flat)[0]
    assert "No run up to 4 times the rate" in lr_by_dataset_size.readings(flat)[1]
    wild = flat.model_copy(update={"points": tuple(
        p.model_copy(update={"test_loss": {4.0: math.nan, 0.25: 1e9}.get(p.factor, p.test_loss)}) for p in flat.points)})
    # Losses of 1.25, 1 and, for the one that is no number, twice that of guessing among four.
    third = 2 * math.log(4)
    assert wild.best(100)[0] == pytest.approx(1 + (1.25 - third) / (2 * (1.25 + third - 2)))
    assert lr_by_dataset_size.loss_text(wild.at(100, 4.0)) == "no number"
    assert lr_by_dataset_size.loss_text(wild.at(100, 0.25)) == "1.0e+09"
    failed = size_record({100: (1.0,), 200: (1.0,)}, train_loss=math.log(4) + 0.01)
    assert "2 of 2 runs at 0.25 times the rate" in lr_by_dataset_size.readings(failed)[1]


def test_sizes_and_rates_end_to_end(store: RunStore) -> None:
    data = toys.dataset()
    words = {"factors": (2.0, 0.5), "shares": (1.0, 0.5)}
    record, path = lr_by_dataset_size.study(data, toys.recipe(), store, "cpu", SMALL, 2, **words)
    assert record.sizes == (80, 160) and record.factors == (0.5, 2.0) and len(record.points) == 8
    assert lr_by_dataset_size.count(**words) * 2 == 8 == len(list(store))
    for point in record.points:
        run = store.find(point.run).record
        assert run.data.train_images == point.images and run.seed == point.seed
        assert run.final_lr == pytest.approx(0.05 * point.factor) and run.epochs == 3
        assert (run.metrics.test_loss, run.metrics.train_loss) == (point.test_loss, point.train_loss)
    when = [run.path.stat().st_mtime for run in store]
    again, _ = lr_by_dataset_size.study(data, toys.recipe(), store, "cpu", SMALL, 1, **words)  # fewer seeds take nothing away
    assert again.points == record.points and [run.path.stat().st_mtime for run in store] == when
    assert list(stored.load_all(store)) == [again]
    path.write_text("{")
    with pytest.warns(Notice, match="result.json is damaged.*left out"):
        assert list(stored.load_all(store)) == []
    with pytest.warns(Notice, match="result.json is damaged.*set aside.*made again"):
        anew, _ = lr_by_dataset_size.study(data, toys.recipe(), store, "cpu", SMALL, 2, **words)
    assert anew.points == record.points and list(stored.load_all(store)) == [anew]


# --- forgetting --------------------------------------------------------------------------------------------------------

def trained(again, epoch: int = 4, curve=(2.0, 1.0, 0.5), arm: str = "all", seed: int = 0) -> Trained:
    return Trained(arm=arm, factor=1.0, seed=seed, run="r", images=100, steps_per_epoch=epoch, curve=curve, again=tuple(again),
                   then=tuple(again), test_loss=1.0, accuracy=0.5)


def test_the_rise_with_age_is_a_slope_over_the_last_epoch() -> None:
    # Ages of the last four batches in epochs: 1, 3/4, 1/2, 1/4; what came before does not count.
    assert trained([9, 9, 0.8, 0.6, 0.4, 0.2]).rise == pytest.approx(0.8)
    assert math.isnan(trained([0.8, math.nan, 0.4, 0.2]).rise) and math.isnan(trained([]).rise)
    assert trained([], curve=(3, 2, 1, 1, 1, 0.5)).end == pytest.approx(0.75)  # the last third
    two = [trained(range(8)), trained(range(10, 18))]
    assert by_age(two, bins=2) == [(1.75, [0.5, 10.5]), (1.25, [2.5, 12.5]), (0.75, [4.5, 14.5]), (0.25, [6.5, 16.5])]


def test_batches_are_shown_again_in_the_order_of_training(store: RunStore) -> None:
    """With a rate of next to nothing a network ends as it began: its losses are then those that training saw."""
    data = toys.dataset()
    recipe = toys.recipe(optimizer=SGDConfig(lr=1e-12), augment=Augment(crop=2, flip="random"))
    run = whole_run(data, recipe, "with", 3, store)
    assert losses_again(run, data, "cpu", epochs=2) == pytest.approx(run.steps["loss"][4:].tolist(), abs=1e-5)
    assert losses_again(run, data, "cpu", epochs=99) == pytest.approx(run.steps["loss"].tolist(), abs=1e-5)
    assert np.ptp(run.steps["loss"]) > 1e-3  # batches differ, so their order shows


def test_forgetting_end_to_end(store: RunStore) -> None:
    data = toys.dataset()
    record, _ = forgetting.study(data, toys.recipe(), store, "cpu", SMALL, 2)
    half, whole, low = (record.of(arm) for arm in ("half", "all", "all, lower rate"))
    assert [sorted(one) for one in (half, whole, low)] == [[0, 1]] * 3
    assert (half[0].images, whole[0].images, len(half[0].again)) == (80, 160, 0)
    runs = {name: store.find(one[0].run).record for name, one in (("half", half), ("all", whole), ("low", low))}
    assert not runs["half"].recipe.augment.any and runs["all"].recipe.augment.any
    assert [run.final_lr for run in runs.values()] == pytest.approx([0.2, 0.2, 0.05])
    assert len(whole[0].again) == len(whole[0].then) == 12 and len(whole[0].curve) == 3  # three epochs of four steps
    assert whole[1].then == pytest.approx(store.find(whole[1].run).steps["loss"].tolist())
    ends, rises, gentler = record.findings
    assert ends.question.numbers == pytest.approx([whole[s].end - half[s].end for s in (0, 1)])
    assert rises.question.numbers == pytest.approx([whole[s].rise for s in (0, 1)])
    assert gentler.question.numbers == pytest.approx([whole[s].rise - low[s].rise for s in (0, 1)])
    when = {path: path.stat().st_mtime for path in store.root.glob("studies/losses-again-*/result.json")}
    again, _ = forgetting.study(data, toys.recipe(), store, "cpu", SMALL, 2)
    assert again.trained == record.trained and len(when) == 4
    assert all(path.stat().st_mtime == time for path, time in when.items())


# --- convergence -------------------------------------------------------------------------------------------------------

def test_lengths_and_rates_of_convergence() -> None:
    found = convergence.ladder().recipes
    assert len(found) == len({recipe.hash for recipe in found.values()}) == 10
    for epochs in (24, 40, 60, 80, 100):
        base, final = found[f"baseline {epochs}"], found[f"final {epochs}"]
        assert base.epochs == final.epochs == epochs and {base.optimizer.lr, final.optimizer.lr} == {0.4}
        assert base.augment.cutout == final.augment.cutout == 12
        assert base.schedule.knots == ((0, 0), (5 / epochs, 1), (1, 0))
        assert final.schedule.knots == ((0, 0), (0.2, 1), ((epochs - 2) / epochs, 0.1), (1, 0.1))  # 0.1 · 0.4 = 0.04
        assert base.test_time.count == final.test_time.count == 2
    start, last = (recipes.get(f"page-tricks-{name}", "cifar10") for name in ("gpu-data", "no-cutout"))
    assert found["baseline 40"].network == start.network and found["final 40"].network == last.network
    assert found["final 40"].average == last.average and found["final 40"].label_smoothing == 0.2
    assert found["final 40"].optimizer.bias_lr == 64 and found["baseline 40"].average is None


def test_convergence_end_to_end(cli, tmp_path) -> None:
    from speedcore.ladders.run import load_all as load_results

    words = ("study", "convergence", "--dataset", "shapes:train=1100,test=40", "--epochs", "24", "--seeds", "2", "--scale",
             "epochs=0.05,width=0.02", "--runs", str(tmp_path))
    status, out, err = cli(*words)
    assert status == 0 and err.count("[4/4]") == 1, err
    (climbed,) = load_results(RunStore(tmp_path))
    (length,) = convergence.lengths(climbed)
    assert length.leads == pytest.approx([b.record.accuracy - a.record.accuracy
                                          for a, b in zip(length.baseline, length.final, strict=True)])
    (finding,) = convergence.findings(climbed)
    assert finding.sentence in out and "after 1.2 epochs the final network is ahead" in finding.question.says
    assert length.final[0].record.recipe.network.prep == "whiten"
    assert cli(*words)[1] == out


# --- batch-norm scales -------------------------------------------------------------------------------------------------

def norm_recipe(**changes) -> Recipe:
    fields = {"network": PageNetConfig(widths=(4, 4, 4, 4), residual=(1,), ghost=2),
              "optimizer": SGDConfig(lr=0.5, weight_decay=0.05)}
    return toys.recipe(**{**fields, **changes})


def test_decay_alone_by_hand_and_as_the_optimiser_does_it() -> None:
    spec = SGDConfig(lr=0.5, momentum=0.9, weight_decay=0.1)
    # 1 − (0.05 + 0.9·0.05), then a pull of 0.05·0.905 and a velocity of 0.9·0.05 + 0.04525.
    assert decay_alone([0.5, 0.5], spec) == pytest.approx([0.905, 0.905 - 0.04525 - 0.9 * 0.09025])
    for nesterov in (True, False):
        spec = SGDConfig(lr=0.5, momentum=0.8, weight_decay=0.1, nesterov=nesterov)
        weight = torch.ones(1)
        optimiser = MomentumSGD([weight], 0.5, 0.8, 0.1, nesterov, lr_in_buffer=True)
        for factor, expected in zip((0.2, 1.0, 0.5), decay_alone([0.1, 0.5, 0.25], spec), strict=True):
            weight.grad = torch.zeros(1)
            optimiser.step(factor)
            assert weight.item() == pytest.approx(expected)


def test_what_is_watched_is_the_training_itself(store: RunStore) -> None:
    data, recipe = toys.dataset(), norm_recipe()
    seen = watch(data, recipe, 5, "cpu")
    run = whole_run(data, recipe, "with", 5, store)
    weights, steps = run.weights(), run.record.steps
    assert (seen.steps[0], seen.steps[-1], seen.epochs[-1]) == (0, steps, 3)
    norms = [name for name, m in run.network().named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert list(seen.scales) == list(seen.biases) == norms and len(norms) == 6
    for name in norms:
        scale, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        assert seen.scales[name].mean[0] == 1 and seen.biases[name].mean[0] == 0
        assert seen.scales[name].mean[-1] == pytest.approx(scale.mean().item(), abs=1e-6)
        assert seen.scales[name].median[-1] == pytest.approx(scale.quantile(0.5).item(), abs=1e-6)
        assert seen.biases[name].high[-1] == pytest.approx(bias.quantile(0.9).item(), abs=1e-6)
    assert seen.decay[-1] == pytest.approx(decay_alone(run.steps["lr"].tolist(), recipe.optimizer)[-1])


def test_scales_end_to_end(store: RunStore) -> None:
    data, recipe = toys.dataset(), norm_recipe()
    record, _ = batch_norm_scales.study(data, recipe, store, "cpu", Scale(), 2)
    assert [w.seed for w in record.watched] == [0, 1] and record.watched[0] != record.watched[1]
    control, ahead = record.findings
    w = record.watched[0]
    nearer = [np.mean([abs(m - 1) - abs(m - d) for m, d in zip(planned.mean, w.decay, strict=True)])
              for planned in w.scales.values()]
    assert control.question.numbers[0] == pytest.approx(np.mean(nearer))
    *others, last = (planned.mean[-1] for planned in w.scales.values())
    assert ahead.question.numbers[0] == pytest.approx(last - np.mean(others))
    again, _ = batch_norm_scales.study(data, recipe, store, "cpu", Scale(), 1)
    assert again.watched == record.watched


@pytest.mark.parametrize(("changes", "said"), [
    ({"network": PageNetConfig(widths=(4, 4, 4, 4), norm_scales="frozen")}, "trains no batch-norm scales"),
    ({"optimizer": AdamConfig(lr=0.01)}, "another optimiser")])
def test_nothing_to_watch_is_said(store: RunStore, changes: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        batch_norm_scales.study(toys.dataset(), norm_recipe(**changes), store, "cpu", Scale(), 1)


# --- compute bound -----------------------------------------------------------------------------------------------------

def test_the_bound_by_hand() -> None:
    bound = Bound(dataset="d", recipe="r", precision="bf16", parameters=1, forward=1, step=2.0e9, images=50_000, epochs=1,
                  seconds=(8.0, 12.0), timed=False)
    peaks = {"bf16": Peak(throughput=2.5e13, side=64), "fp32": Peak(throughput=1e9, side=64)}
    assert bound.operations == 5e13  # of each of both runs
    assert bound.bound(peaks) == pytest.approx(2.0) and bound.share(peaks) == pytest.approx(0.2)


@pytest.mark.parametrize(("operations", "said"), [
    (12, "12 FLOP"), (1000, "1 kFLOP"), (2.764e9, "2.76 GFLOP"), (125e12, "125 TFLOP"), (4.9e15, "4.9 PFLOP"),
    (3.2e18, "3.2e+03 PFLOP"), (0, "0 FLOP")])
def test_amounts_as_people_read_them(operations: float, said: str) -> None:
    assert compute_bound.amount(operations) == said


def test_the_peak_is_the_fastest_lap(monkeypatch) -> None:
    laps = iter([0.25, 0.5, 0.25, 0.125])  # seconds that Stopwatches show, in the order in which they are asked

    monkeypatch.setattr(compute_bound, "Stopwatch", lambda: type("Watch", (), {"seconds": lambda _: next(laps)})())
    found = compute_bound.peak(torch.device("cpu"), "fp32", (8,), seconds=0.01)
    # The first lap takes 0.25 s, the second 0.5 s; then the whole is asked, and it is enough.
    assert found == Peak(throughput=2 * 8**3 / 0.25, side=8)


def test_runs_beside_are_asked_if_they_are_of_this_machine(store: RunStore) -> None:
    data, recipe = toys.dataset(), toys.recipe(last_batch="keep", batch_size=60)
    # Another rate and other epochs do not change what a step takes; the records come in the order of their names.
    runs = sorted((whole_run(data, one, "with", 0, store).record for one in (
        recipe, recipe.changed(epochs=1, optimizer=SGDConfig(lr=0.1).model_dump()))), key=lambda record: record.key)
    machine, threads = provenance.describe_device("cpu"), torch.get_num_threads()
    (bound,) = compute_bound.reached(store, machine, threads)
    assert bound.images == (3 + 1) * 160 and bound.epochs == 2
    assert bound.seconds == tuple(run.clocks["article"] for run in runs) and bound.runs == tuple(run.key for run in runs)
    assert bound.parameters == runs[0].parameters["trainable"] and not bound.timed
    assert compute_bound.reached(store, "another", threads) == compute_bound.reached(store, machine, threads + 1) == []


def test_bound_end_to_end(store: RunStore, monkeypatch) -> None:
    from speedcore.planning import costs

    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)
    monkeypatch.setattr(compute_bound, "peak", lambda device, precision, sides: Peak(throughput=next(found), side=8))
    data, recipe, found = toys.dataset(), toys.recipe(), iter([1e9, 2e9, 1.5e9])
    whole_run(data, recipe, "with", 0, store)
    for expected in (1e9, 2e9, 2e9):  # the highest peak of all calls stands
        record, path = compute_bound.study(data, [recipe], store, "cpu", Scale())
        assert record.peaks["fp32"].throughput == expected
    assert [bound.timed for bound in record.bounds] == [True, False]
    assert record.bounds[0].images == record.bounds[1].images == 12 * 40
    assert "At 100 % efficiency toy (3 epochs" in compute_bound.readings(record)[0]
    # 2.8e9 · 35 · 50,000 / 125e12
    assert re.search(r"own bound is 39\.2 s on a V100", compute_bound.readings(record)[-1])
    with pytest.raises(RecipeError, match="batch of 400"):
        compute_bound.study(data, [recipe.changed(batch_size=400)], store, "cpu", Scale())


def test_results_of_others_that_begin_alike_are_passed_over(store: RunStore) -> None:
    records.write(records.folder(store, "forgetting", ["x"]), toys.recipe())
    assert list(stored.load_all(store)) == []
