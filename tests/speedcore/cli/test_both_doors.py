"""A wrong value gets one clear message, through Python's door and the command line's, before any work is done."""

from __future__ import annotations

import inspect
import math
import sys
from pathlib import Path

import pytest
import torch

import explain
import speedcore
from explain.claim import claim
from explain.studies import shortcuts
from speedcore import UserError, recipes
from speedcore.cli.app import app
from speedcore.cli.console import run_app
from speedcore.planning import costs
from speedcore.planning.request import Request
from speedcore.planning.run import whole_key, whole_run
from speedcore.studies import lr_finder
from speedcore.training import loop
from tests.simulated import simulated
from tests.speedcore import toys

SHAPES = "shapes:train=200,test=40"

# argument, value, what the message says.
WRONG = [
    ("arm", "bogus", ["arm 'bogus' is not one of with, without"]),
    ("arm", "", ["arm '' is not one of"]),
    ("clock", "bogus", ["clock 'bogus' is not one of article, dawnbench, everything"]),
    ("data_mode", "bogus", ["'bogus' is not one of device, precomputed"]),
    ("data_mode", "", ["'' is not one of device, precomputed"]),
    ("budget", "long", ["budget 'long' is not a duration", "20m"]),
    ("budget", "0", ["budget '0' is not a duration"]),
    ("budget", "-5", ["budget '-5' is not a duration"]),
    ("budget", "nan", ["budget 'nan' is not a duration"]),
    ("device", "tpu", ["device 'tpu' is not supported; choose auto, cuda, mps, cpu"]),
    ("device", "cuda:99", ["device 'cuda:99'", "torch sees"]),
    ("device", "cpu:x", ["device 'cpu:x' is no device"]),
    ("recipe", "nosuch", ["there is no recipe 'nosuch'", "sprint"]),
    ("recipe", "missing.toml", ["missing.toml does not exist"]),
    ("dataset", "mnits", ["unknown data set 'mnits'"]),
    ("seed", "-1", ["seed", "0"]),
    ("seed", "2147483648", ["seed", "2147483647"]),
    ("store", "taken", ["taken is a file and no folder of runs", "--runs"]),
]
# What only Python can say.
WRONG_IN_PYTHON = [
    ("arm", None, "arm None"), ("clock", 3, "clock 3"), ("budget", math.nan, "budget nan"), ("budget", 0, "budget 0"),
    ("budget", -math.inf, "budget -inf"), ("budget", True, "budget True"), ("budget", [1], r"budget \[1\]"),
    ("device", None, "device 'None'"), ("device", torch.device("meta"), "device 'meta'"), ("seed", 1.5, "seed 1.5"),
    ("seed", True, "seed True"), ("seed", "0", "seed '0'"), ("recipe", 3, "recipe 3"), ("recipe", None, "recipe None"),
    ("dataset", 3, "dataset 3"), ("dataset", None, "dataset None"), ("store", 3, "store 3"),
]


@pytest.fixture
def nothing_is_done(monkeypatch, tmp_path) -> None:
    """A bad value must be seen before data is fetched, and before anything is measured or trained."""
    def worked(*args, **kwargs):
        pytest.fail("work was done for a value that is wrong")

    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    monkeypatch.setattr(loop, "train", worked)
    monkeypatch.setattr(costs, "measure", worked)


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize(("argument", "value", "says"), WRONG)
def test_a_wrong_value_is_the_same_mistake_through_both_doors(monkeypatch, capsys, argument: str, value: str, says) -> None:
    given = {"dataset": SHAPES, "recipe": "sprint", argument: int(value) if argument == "seed" else value}
    with pytest.raises(UserError) as raised:
        speedcore.run(**given)
    option = {"store": "--runs", "data_mode": "--data-mode"}.get(argument, f"--{argument}")
    words = () if argument == "dataset" else ("--dataset", SHAPES)
    monkeypatch.setattr(sys, "argv", ["speedcore", "train", *words, option, value])
    assert run_app(app) == 2
    printed = capsys.readouterr().err
    assert printed.count("error: ") == 1 and "Traceback" not in printed
    for said in says:
        assert said in str(raised.value), raised.value
        assert said in printed, printed


@pytest.mark.usefixtures("nothing_is_done")
@pytest.mark.parametrize(("argument", "value", "says"), WRONG_IN_PYTHON)
def test_what_only_python_can_get_wrong(argument: str, value: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        speedcore.run(**{"dataset": SHAPES, "recipe": "sprint", argument: value})


def test_right_values_are_taken_in_each_form(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)
    data, recipe = toys.dataset(), toys.recipe(epochs=1)
    first = speedcore.run(data, recipe, budget=60, store=str(tmp_path), device="cpu")
    for same in ({"budget": "1m"}, {"budget": "60s", "store": tmp_path}, {"budget": 60.0, "device": torch.device("cpu")},
                 {"budget": "60", "data_mode": None, "arm": "with", "clock": "article", "seed": 0}):
        again = speedcore.run(data, recipe, **{"store": speedcore.RunStore(tmp_path), "device": "cpu", **same})
        assert again.path == first.path
    endless = speedcore.run(data, recipe, budget=None, store=tmp_path, device="cpu")
    assert endless.record.budget_seconds is None
    assert speedcore.run(data, recipe, budget="none", store=tmp_path, device="cpu").path == endless.path \
        == speedcore.run(data, recipe, budget=math.inf, store=tmp_path, device="cpu").path


@pytest.mark.parametrize("function", [
    speedcore.run, speedcore.train, whole_run, whole_key, explain.explain_run, explain.explain_runs,
    explain.inspect, explain.compare, claim.study, shortcuts.study, lr_finder.range_test, lr_finder.save, Request])
def test_the_device_is_chosen_by_itself_unless_it_is_named(function) -> None:
    assert inspect.signature(function).parameters["device"].default == "auto"


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_runs_and_maps_are_made_on_the_device_that_there_is(monkeypatch, tmp_path, kind: str) -> None:
    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)
    monkeypatch.setitem(recipes.BUILT_IN, "toy", {"*": toys.recipe(name="toy", epochs=1)})
    data = toys.dataset(train=80, test=8, size=32)
    with simulated(kind):
        run = speedcore.run(data, "toy", budget=None, store=tmp_path)
        assert run.record.device == kind
        made = explain.explain_run(run, data, images_per_class=1)
        assert made.record.provenance["device"].startswith(kind)
