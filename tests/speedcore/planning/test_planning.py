"""Plans from made-up measurements: what fits is bought, and the sums hold."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speedcore import recipes
from speedcore.clock import POLICIES, Budget
from speedcore.errors import BudgetError, Notice, RecipeError
from speedcore.planning import costs, planned_runs
from speedcore.planning import plan as planning
from speedcore.planning.costs import Throughput, duration
from speedcore.planning.plan import make_plan
from speedcore.planning.planned_runs import MOST_SEEDS, Plan, PlannedRuns
from speedcore.planning.request import Request
from speedcore.recipe import RecordNetConfig
from speedcore.stats import pairs_needed
from speedcore.store import records
from speedcore.store.runs import RunStore
from tests.speedcore import toys

# On the toy data an epoch is four steps: 100, 40, 16 and 8 steps in full.
RECIPES = {name: toys.recipe(name=name, epochs=epochs, min_epochs=least, network=RecordNetConfig(widths=(8, 8, width)))
           for name, epochs, least, width in (("article", 25, 5, 11), ("record", 10, 3, 10), ("sprint", 4, 1, 9),
                                              ("dash-augmented", 2, 0.75, 8))}
SHARE = 0.96      # of a limit is planned
AROUND = 0.8      # seconds beside training, with forward passes that take no time
SIX = pairs_needed(1)


class Machine:
    """Stands in for `costs.measure`: seconds a step by recipe name (or by data set and recipe)."""

    def __init__(self, forward: float = 0.0, **steps: float):
        self.steps, self.forward, self.calls = steps, forward, []

    def __call__(self, dataset, recipe, device) -> Throughput:
        self.calls.append((dataset.name, recipe.name))
        return Throughput(self.steps.get(f"{dataset.name}_{recipe.name}", self.steps.get(recipe.name, 0.01)), self.forward)


@pytest.fixture
def on(monkeypatch):
    """Plan with a machine: on(Machine(...))."""
    monkeypatch.setattr(recipes, "BUILT_IN", {name: {"*": recipe} for name, recipe in RECIPES.items()})

    def use(machine: Machine) -> Machine:
        monkeypatch.setattr(costs, "measure", machine)
        monkeypatch.setattr(planning, "Stopwatch", lambda: toys.FakeClock(0.0))
        return machine

    return use


def planned(store: RunStore, *names: str, spent: float = 0.0, **request) -> planning.Plan:
    return make_plan([toys.dataset(name=name) for name in names or ("toy",)], Request(**request), store, spent)


# --- which recipe ----------------------------------------------------------------------------------------------------

def test_the_articles_recipe_is_taken_where_it_fits_and_all_its_epochs_are_run(on, store: RunStore) -> None:
    on(Machine(article=1.0))
    runs = planned(store, within=None).planned[0]
    assert (runs.recipe.name, runs.steps, runs.full_steps, runs.epochs) == ("article", 100, 100, 25)
    assert (runs.limit, runs.cut_short, runs.seeds) == (1000.0, False, SIX)
    assert "'article' fits" in runs.reason
    assert runs.run_seconds == pytest.approx(100 + AROUND)


@pytest.mark.parametrize(("step", "words"), [(9.7, "would need about 16.2 min"), (100.0, "would need about 2.78 h")])
def test_where_it_does_not_fit_the_reason_says_so(on, store: RunStore, step: float, words: str) -> None:
    """At 9.7 s a step the article's hundred steps take 970 s, more than the planned share of 1000."""
    on(Machine(article=step))
    plan = planned(store, within=None)
    assert plan.planned[0].recipe.name == "record"
    assert words in plan.planned[0].reason and "budget of 16.7 min" in plan.planned[0].reason
    assert any(words in note for note in plan.notes)


def test_a_recipe_that_is_asked_for_is_taken_whatever_it_costs(on, store: RunStore) -> None:
    on(Machine(article=100.0))
    runs = planned(store, recipe="article", within=None).planned[0]
    assert (runs.recipe.name, runs.reason, runs.cut_short) == ("article", "asked for", True)
    assert runs.steps == math.floor(1000 * SHARE / 100) == 9


def test_a_budget_below_the_least_of_a_recipe_goes_to_the_smallest_one(on, store: RunStore) -> None:
    """5 s: the record recipe's three epochs need 12.5 s, the sprint's one epoch 0.4 s."""
    on(Machine(article=100.0, record=1.0, sprint=0.1))
    runs = planned(store, budget=5.0, within=None).planned[0]
    assert (runs.recipe.name, runs.steps, runs.limit) == ("sprint", 16, 5.0)


def test_a_budget_below_every_least_is_filled_by_the_smallest_recipe(on, store: RunStore) -> None:
    on(Machine(article=100.0, record=10.0, sprint=6.0, **{"dash-augmented": 2.0}))
    runs = planned(store, budget=5.0, within=None).planned[0]
    assert (runs.recipe.name, runs.steps, runs.limit, runs.seeds) == ("dash-augmented", 2, 5.0, SIX)


# --- how many, how long ----------------------------------------------------------------------------------------------

def test_cheap_runs_buy_ten_pairs(on, store: RunStore) -> None:
    """40 steps of 0.5 s and 0.8 s around them, twice ten times: 416 s of 900."""
    on(Machine(article=100.0, record=0.5))
    runs = planned(store).planned[0]
    assert (runs.recipe.name, runs.steps, runs.seeds) == ("record", 40, MOST_SEEDS)
    assert runs.estimate == pytest.approx(20 * 20.8)


def test_time_between_six_and_ten_pairs_buys_what_it_can(on, store: RunStore) -> None:
    """A run is planned at 20/0.96 + 0.8 = 21.6 s; 350 s hold eight pairs of them and a bit."""
    on(Machine(article=100.0, record=0.5))
    runs = planned(store, within=350.0).planned[0]
    assert (runs.steps, runs.seeds) == (40, 8)


def test_six_short_runs_are_preferred_to_fewer_long_ones(on, store: RunStore) -> None:
    """150 s: six pairs leave 11.7 s a run, above the record recipe's least of 6.25 s, below its 20.8 s."""
    on(Machine(article=100.0, record=0.5))
    runs = planned(store, within=150.0).planned[0]
    assert (runs.recipe.name, runs.seeds, runs.limit) == ("record", SIX, 11.0)
    assert runs.steps == math.floor(11 * SHARE / 0.5) == 21
    assert runs.cut_short


def test_little_time_goes_to_the_smaller_recipe_before_pairs_are_given_up(on, store: RunStore) -> None:
    on(Machine(article=100.0, record=0.5, sprint=0.1))
    runs = planned(store, within=60.0).planned[0]
    assert (runs.recipe.name, runs.steps) == ("sprint", 16)
    assert SIX <= runs.seeds <= MOST_SEEDS


def test_too_little_time_for_six_pairs_gives_up_pairs(on, store: RunStore) -> None:
    """60.3 s on the record recipe: six pairs leave 4.2 s a run, below its least; three leave 9.25 s."""
    on(Machine(record=0.5))
    plan = planned(store, recipe="record", within=60.3)
    runs = plan.planned[0]
    assert (runs.seeds, runs.limit, runs.steps) == (3, 9.2, math.floor(9.2 * SHARE / 0.5))
    assert any("too few on toy" in note for note in plan.notes)


def test_where_not_one_pair_of_a_step_fits_it_is_said_what_would(on, store: RunStore) -> None:
    """Two runs of a step and of 0.8 s around it take 2 · (0.5 / 0.96 + 0.8) s."""
    on(Machine(record=0.5))
    with pytest.raises(BudgetError, match="toy: .*do not hold it: the least is a step of recipe 'record' .0.5 s each here., "
                                          "for a pair 2.64 s; raise --within"):
        planned(store, recipe="record", within=2.0)
    runs = planned(store, recipe="record", within=3.0).planned[0]
    assert (runs.seeds, runs.steps) == (1, 1)


def test_seeds_that_are_asked_for_are_kept(on, store: RunStore) -> None:
    on(Machine(article=100.0, record=0.5, sprint=0.1))
    for seeds in (1, 4, 12):
        assert planned(store, within=120.0, seeds=seeds).planned[0].seeds == seeds


def test_time_already_spent_is_gone(on, store: RunStore) -> None:
    on(Machine(record=0.5))
    assert planned(store, recipe="record", within=260.3, spent=200.0).planned[0].limit == 9.2


def test_what_a_cheap_data_set_leaves_over_goes_to_the_dear_one(on, store: RunStore) -> None:
    on(Machine(cheap_record=0.001, dear_record=0.5))
    dear, cheap = toys.dataset(name="dear"), toys.dataset(name="cheap", channels=3)  # of two kinds: each is timed
    together = make_plan([dear, cheap], Request(recipe="record", within=300.0), store)
    alone = make_plan([dear], Request(recipe="record", within=150.0), store)
    assert [runs.dataset for runs in together.planned] == ["dear", "cheap"]
    assert together.planned[0].run_seconds > alone.planned[0].run_seconds


@given(st.floats(1e-4, 0.3), st.floats(0, 1e-4), st.floats(60, 2000), st.integers(1, 4),
       st.sampled_from([None, 1, 3]), st.floats(2, 1000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_sum_of_estimates_stays_within_the_time(on, tmp_path, step, forward, within, sets, seeds, budget) -> None:
    on(Machine(forward, article=10 * step, record=2 * step, sprint=step))
    plan = make_plan([toys.dataset(name=f"d{i}") for i in range(sets)], Request(within=within, seeds=seeds, budget=budget),
                     RunStore(tmp_path / str(step)), again=True)
    assert plan.estimate <= within
    for runs in plan.planned:
        assert 1 <= runs.steps <= runs.full_steps
        assert runs.steps * runs.step_seconds <= runs.limit <= budget
        assert runs.estimate == pytest.approx(2 * runs.seeds * runs.run_seconds)


def test_a_strict_clock_leaves_room_for_loading_and_tests(on, store: RunStore) -> None:
    """Ten seconds: three for loading, 0.8 beside training and forty test images at 10 ms leave 5.8 s of 0.1 s steps."""
    on(Machine(forward=0.01, record=0.1))
    data = [toys.dataset(seconds={"load": 3.0})]
    article, everything = (make_plan(data, Request("record", 4.0 if clock == "article" else 10.0, clock, None), store)
                           for clock in ("article", "everything"))
    assert article.planned[0].steps == math.floor(4 * SHARE / 0.1)
    assert everything.planned[0].steps == min(40, math.floor((10 - 3 - 0.8 - 0.4) * SHARE / 0.1)) == 40
    tight = make_plan(data, Request("record", 5.0, "everything", None), store)
    assert tight.planned[0].steps == math.floor((5 - 3 - 0.8 - 0.4) * SHARE / 0.1) == 7


# --- mistakes --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("budget", "clock"), [(0.4, "article"), (1.0, "everything")])
def test_a_budget_too_small_for_a_step_is_an_error(on, store: RunStore, budget: float, clock: str) -> None:
    on(Machine(record=0.5))
    with pytest.raises(BudgetError, match="toy: .*hold no step of recipe 'record' .one takes 0.5 s here.; raise --budget"):
        planned(store, recipe="record", budget=budget, clock=clock)
    assert not list(store.root.glob("plans/*"))


def test_a_batch_larger_than_the_data_is_an_error(on, store: RunStore, monkeypatch) -> None:
    on(Machine())
    monkeypatch.setitem(recipes.BUILT_IN, "big", {"*": toys.recipe(name="big", batch_size=161)})
    with pytest.raises(BudgetError, match="toy: every batch is larger.*batch_size"):
        planned(store, recipe="big")


def test_a_data_set_too_small_for_a_batch_is_left_out_of_the_others(on, store: RunStore, monkeypatch) -> None:
    on(Machine())
    monkeypatch.setitem(recipes.BUILT_IN, "big", {"*": toys.recipe(name="big", batch_size=161)})
    loaded = [toys.dataset(name="small"), toys.dataset(name="large", train=400)]
    plan = make_plan(loaded, Request(recipe="big"), store)
    assert [runs.dataset for runs in plan.planned] == ["large"]
    assert any(note.startswith("small is left out: every batch") and "batch_size" in note for note in plan.notes)
    assert list(plan.left_out) == ["small"]


def test_an_unknown_recipe_is_an_error(on, store: RunStore) -> None:
    with pytest.raises(RecipeError, match="nosuch"):
        planned(store, recipe="nosuch")


# --- kept plans ------------------------------------------------------------------------------------------------------

def test_a_plan_is_kept_and_the_next_call_measures_nothing(on, store: RunStore) -> None:
    machine = on(Machine(article=100.0))
    first = planned(store)
    assert machine.calls
    slower = on(Machine(article=100.0, record=5.0))
    assert planned(store) == first
    assert slower.calls == []
    assert [p.suffix for p in (store.root / "plans").iterdir()] == [".json"]


@pytest.mark.parametrize("change", [{"within": 901.0}, {"budget": 999.0}, {"seeds": 3}, {"recipe": "record"},
                                    {"clock": "dawnbench"}, {"data_mode": "precomputed"}])
def test_another_request_is_another_plan(on, store: RunStore, change: dict) -> None:
    on(Machine())
    planned(store)
    machine = on(Machine())
    planned(store, **change)
    assert machine.calls


def test_other_data_or_another_content_of_the_recipe_is_another_plan(on, store: RunStore, monkeypatch) -> None:
    on(Machine())
    planned(store)
    for change in ("data", "recipe"):
        machine = on(Machine())
        if change == "data":
            make_plan([toys.dataset(test=50)], Request(), store)
        else:
            monkeypatch.setitem(recipes.BUILT_IN, "sprint", {"*": RECIPES["sprint"].changed(epochs=5)})
            planned(store)
        assert machine.calls


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 0}'])
def test_a_kept_plan_that_cannot_be_read_is_made_anew(on, store: RunStore, content: str) -> None:
    on(Machine())
    first = planned(store)
    (path,) = (store.root / "plans").iterdir()
    path.write_text(content)
    with pytest.warns(Notice, match=f"{path.name} is damaged.*set aside"):
        assert planned(store) == first
    assert (path.parent / "set-aside" / path.name).read_text() == content and planned(store) == first


def test_a_plan_that_answers_another_question_is_not_taken(on, store: RunStore) -> None:
    """Copied under another name, or for other data: what is not asked for is not trained."""
    on(Machine())
    first = planned(store)
    (path,) = (store.root / "plans").iterdir()
    for other in (first.model_copy(update={"request": "another"}),
                  first.model_copy(update={"planned": (first.planned[0].model_copy(update={"fingerprint": "other"}),)})):
        records.write(path, other)
        assert planned(store) == first
        assert records.read(path, Plan) == first


def test_a_plan_for_data_that_is_called_otherwise_now_is_taken_under_todays_name(on, store: RunStore) -> None:
    machine = on(Machine())
    first = planned(store)
    timed = len(machine.calls)
    again = planned(store, "renamed")
    assert len(machine.calls) == timed
    assert again.planned == (first.planned[0].model_copy(update={"dataset": "renamed"}),)
    assert not any("toy" in note for note in again.notes)


def test_a_plan_can_be_made_anew(on, store: RunStore) -> None:
    on(Machine(article=100.0, record=0.5))
    before = planned(store)
    on(Machine(article=100.0, record=10.0))
    after = make_plan([toys.dataset()], Request(), store, again=True)
    assert after.planned[0].steps != before.planned[0].steps
    assert planned(store) == after


# --- jobs ------------------------------------------------------------------------------------------------------------

def runs(**changes) -> PlannedRuns:
    fields = {"dataset": "toy", "fingerprint": "f", "recipe": RECIPES["record"], "reason": "", "seeds": 3, "steps": 20,
              "full_steps": 40, "steps_per_epoch": 4, "step_seconds": 0.5, "limit": 10.0, "run_seconds": 11.0,
              "explain_seconds": 0.1}
    return PlannedRuns(**{**fields, **changes})


def test_pairs_share_seed_steps_and_limit_and_differ_in_augmentation() -> None:
    pairs = planned_runs.jobs(runs(), Request(budget=100.0))
    assert [(w.seed, wo.seed) for w, wo in pairs] == [(0, 0), (1, 1), (2, 2)]
    for with_, without in pairs:
        assert (with_.arm, without.arm) == ("with", "without")
        assert without.recipe == with_.recipe.without_augmentation()
        assert with_.steps == without.steps == 20 and with_.limit == without.limit == 10.0
        assert with_.budget == Budget(100.0, POLICIES["article"])
        assert with_.stretch and not without.stretch
    assert len({job.key for pair in pairs for job in pair}) == 6


def test_a_run_that_is_not_cut_short_is_not_stretched() -> None:
    assert not planned_runs.jobs(runs(steps=40), Request())[0][0].stretch


def test_a_key_names_what_was_asked_for_and_not_what_was_measured() -> None:
    def key(request: Request = Request(), **changes) -> str:  # noqa: B008
        return planned_runs.jobs(runs(**changes), request)[0][0].key

    assert key() == key(step_seconds=0.7, steps=19, run_seconds=5.0, reason="other", seeds=1)
    assert key().startswith("toy-with-record-s0-")
    others = [key(fingerprint="g"), key(limit=9.0), key(limit=None), key(recipe=RECIPES["sprint"]),
              key(Request(budget=99.0)), key(Request(clock="everything")),
              key(recipe=RECIPES["record"].changed(name="mine", epochs=11))]
    assert len({key(), *others}) == len(others) + 1


@pytest.mark.parametrize("name", ["folder:/some/where", "shapes:corner=0.9/0,seed=3"])
def test_keys_are_names_of_folders(name: str) -> None:
    key = planned_runs.jobs(runs(dataset=name), Request())[0][0].key
    assert "/" not in key and ":" not in key


# --- words -----------------------------------------------------------------------------------------------------------

def test_notes_say_what_was_cut_and_what_more_time_would_buy(on, store: RunStore) -> None:
    on(Machine(record=0.5))
    notes = " ".join(planned(store, recipe="record", within=60.3).notes)
    # 17 of 40 steps; six pairs of the whole recipe take 12 · (20.83 + 0.8) s.
    assert "cut to 9.2 s, 4.25 of 10 epochs" in notes
    assert f"With about {duration(12 * (20 / SHARE + AROUND))} every run" in notes


def test_a_plan_that_grants_everything_has_nothing_to_sell(on, store: RunStore) -> None:
    on(Machine())
    notes = " ".join(planned(store).notes)
    assert "all 25 epochs fit" in notes and "With about" not in notes


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (119, "119 s"), (120, "2 min"), (5000, "83.3 min"),
                                                (9000, "2.5 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_plan_in_words_has_a_row_for_each_data_set(on, store: RunStore) -> None:
    on(Machine())
    rows = planning.describe(planned(store, "a", "b"))
    assert [row["data set"] for row in rows] == ["a", "b"]
    assert all(isinstance(value, str) for row in rows for value in row.values())


# --- measuring -------------------------------------------------------------------------------------------------------

def test_measuring_is_roughly_right_and_leaves_no_trace(monkeypatch) -> None:
    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.05)
    data, recipe = toys.dataset(), toys.recipe()
    torch.rand(3)  # the generator is not where a seed would put it
    before = torch.get_rng_state()
    seen = costs.measure(data, recipe, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), before)
    assert 1e-4 < seen.step_seconds < 1 and 1e-7 < seen.forward_seconds < 0.1
    assert dataclasses.is_dataclass(seen)


# --- floors ----------------------------------------------------------------------------------------------------------

def floored(monkeypatch, **floors: int) -> None:
    for name, steps in floors.items():
        monkeypatch.setitem(recipes.BUILT_IN, name, {"*": RECIPES[name].changed(min_steps=steps)})


@pytest.mark.parametrize("within", [12.0, 20.0, 40.0, 80.0])
def test_no_run_is_planned_below_its_floor(on, store: RunStore, monkeypatch, within: float) -> None:
    """Two data sets whose smallest recipes take at least 6 steps of 0.5 s a run: 7.85 s a pair, one pair in 12 s, two in 20."""
    on(Machine(article=100.0, record=5.0, sprint=1.0, **{"dash-augmented": 0.5}))
    floored(monkeypatch, record=12, sprint=8, **{"dash-augmented": 6})
    plan = planned(store, "a", "b", within=within)
    assert plan.estimate <= within
    assert all(c.steps >= c.recipe.min_steps for c in plan.planned)
    assert len(plan.planned) == (1 if within == 12.0 else 2)
    assert bool(plan.left_out) == (within == 12.0)


def test_a_data_set_for_which_there_is_no_time_is_named_with_what_it_would_take(on, store: RunStore, monkeypatch) -> None:
    on(Machine(cheap_sprint=0.01, dear_sprint=2.0))
    floored(monkeypatch, sprint=10)
    data = [toys.dataset(name="dear"), toys.dataset(name="cheap", channels=3)]
    plan = make_plan(data, Request(recipe="sprint", within=30.0), store)
    assert [runs.dataset for runs in plan.planned] == ["cheap"]
    pair = duration(2 * (10 * 2.0 / SHARE + AROUND))
    assert f"the least is 10 steps of recipe 'sprint' (2 s each here), for a pair {pair}" in plan.left_out["dear"]
    assert any(note.startswith("dear is left out: 30 s do not hold it") or "dear is left out" in note for note in plan.notes)


def test_nobody_gets_so_much_that_another_ones_least_pair_no_longer_fits(on, store: RunStore, monkeypatch) -> None:
    """100 s: the dear one's pair of 16 whole steps takes 68.3 s, more than half; the cheap one makes do with the rest."""
    on(Machine(cheap_sprint=0.5, dear_sprint=2.0))
    monkeypatch.setitem(recipes.BUILT_IN, "sprint", {"*": RECIPES["sprint"].changed(min_epochs=4)})
    data = [toys.dataset(name="dear"), toys.dataset(name="cheap", channels=3)]
    plan = make_plan(data, Request(recipe="sprint", within=100.0), store)
    assert {runs.dataset: runs.steps for runs in plan.planned} == {"dear": 16, "cheap": 16}


def test_a_budget_that_holds_fewer_steps_than_the_floor_is_an_error(on, store: RunStore, monkeypatch) -> None:
    on(Machine(sprint=0.5))
    floored(monkeypatch, sprint=12)
    with pytest.raises(BudgetError, match="5 s hold only 9 steps of recipe 'sprint' .one takes 0.5 s here., fewer than the "
                                          "12 from which on it is known to learn; raise --budget to 6.25 s or more"):
        planned(store, recipe="sprint", budget=5.0, within=None)


def test_what_is_far_out_of_reach_is_not_timed(on, store: RunStore) -> None:
    """At 1 s a step of the same work as the sprint's, the article's hundred take a hundred times the budget at best."""
    machine = on(Machine(**{"sprint": 100.0, "dash-augmented": 100.0, "record": 100.0}))
    runs = planned(store, within=None).planned[0]
    assert "article" not in [name for _, name in machine.calls]
    assert "the article's recipe would need more than" in runs.reason


def test_images_of_one_kind_are_timed_once(on, store: RunStore) -> None:
    machine = on(Machine())
    planned(store, "a", "b")
    assert len(machine.calls) == len(set(name for _, name in machine.calls)) == 4


def test_the_plan_begins_with_machine_and_arithmetic(on, store: RunStore) -> None:
    on(Machine())
    plan = planned(store)
    assert plan.notes[0].startswith("cpu: ") and "toy: trained in fp32, as the recipe says" in plan.notes[0]


# --- after the first pair ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("step", "pair", "seeds"), [(0.5, 22.0, 3), (0.7, 24.0, 3), (0.2, 9.5, 6), (0.2, 12.0, 5),
                                                     (1.6, 38.0, 1)])
def test_pairs_follow_what_the_first_one_took(step: float, pair: float, seeds: int) -> None:
    """66 s for three pairs of 11 s runs; steps within 1.5 of the plan change nothing."""
    again = planned_runs.revised(runs(), Request(), step, pair)
    assert again.seeds == seeds and again.limit == 10.0
    assert again == runs() or again.step_seconds == step


def test_a_limit_that_turned_out_below_the_floor_is_raised() -> None:
    """10 s were planned for 19 of the 20 steps; at 5 s each they hold one, and twelve are the least."""
    short = runs(recipe=RECIPES["record"].changed(min_steps=12), seeds=6)
    again = planned_runs.revised(short, Request(), 5.0, 21.0)
    assert again.limit == pytest.approx(12 * 5.0 / SHARE) and again.steps == 12 and again.seeds == 1
    assert planned_runs.revised(short, Request(budget=20.0), 5.0, 21.0).limit == 20.0
