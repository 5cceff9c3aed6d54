"""The benchmark of heatmaps: who is compared makes the same maps, the floor is one, and what is missing is named."""

from __future__ import annotations

import pytest
import torch

from benchmarks import explain_speed as speed
from speedcore.recipe import DavidNetConfig, RecordNetConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(speed, "NETWORKS", {"DavidNet": DavidNetConfig(width=0.06), "record": RecordNetConfig(widths=(4, 6, 8))})


def absent(task):
    import a_package_that_is_not_there  # noqa: F401


@pytest.mark.parametrize("network", ["DavidNet", "record"])
def test_rows_name_everyone_and_those_who_are_not_there(network, monkeypatch) -> None:
    monkeypatch.setattr(speed, "CONTESTANTS", {speed.OURS: speed.ours, speed.HALF: speed.ours_half, speed.FLOOR: speed.floor,
                                               "captum": speed.captum, "absent": absent})
    missing, worst = {}, {}
    task = speed.task_of(network, "middle", 3, CPU)
    rows = speed.measured(task, network, "middle", 3, missing, worst)
    assert [row["who"] for row in rows] == [speed.OURS, speed.HALF, speed.FLOOR, "captum"]
    assert 0 < rows[1]["largest difference from fp32, share of the largest value"] < 0.5
    assert "a_package_that_is_not_there" in missing["absent"] and worst["captum"] <= 1e-5
    assert rows[0]["cells"] == {"DavidNet": "16×16", "record": "15×15"}[network]
    assert all(0 < row["min"] <= row["ours / theirs"] <= row["max"] for row in rows[1:])


def test_the_floor_is_the_gradient_at_the_layer_and_leaves_the_model_as_it_came() -> None:
    task = speed.task_of("record", "last", 3, CPU)
    needs = [p.requires_grad for p in task.model.parameters()]
    activations = []
    handle = task.layer.register_forward_hook(lambda module, inputs, output: activations.append(output))
    scores = task.model(task.images)
    handle.remove()
    expected = torch.autograd.grad(scores[torch.arange(3), task.targets].sum(), activations[0])[0]
    torch.testing.assert_close(speed.floor(task), expected)
    assert [p.requires_grad for p in task.model.parameters()] == needs and not task.layer._forward_hooks


def test_other_maps_are_not_compared() -> None:
    task = speed.task_of("record", "last", 3, CPU)
    maps = {speed.OURS: speed.ours(task), speed.FLOOR: speed.floor(task), "captum": speed.captum(task)}
    assert speed.differences(task, maps)["captum"] <= 1e-5
    with pytest.raises(ValueError, match="our maps differ from those of captum by 5.0e-01"):
        speed.differences(task, maps | {"captum": 2 * maps["captum"]})


def test_a_few_images_may_be_decided_by_rounding() -> None:
    task = speed.task_of("record", "last", 20, CPU)
    maps = {speed.OURS: speed.ours(task), speed.FLOOR: speed.floor(task), "captum": speed.captum(task)}
    maps["captum"][:2] *= 1.5
    assert speed.differences(task, maps)["captum"] <= 1e-5
    maps["captum"][:3] *= 1.5
    with pytest.raises(ValueError, match="our maps differ"):
        speed.differences(task, maps)


def test_many_maps_are_beside_one(monkeypatch) -> None:
    last, middle = (speed.task_of("record", layer, 3, CPU) for layer in speed.LAYERS)
    asked = []
    monkeypatch.setattr(speed, "grad_cam", lambda task: asked.append((task.name, task.targets.tolist())) or speed.captum(task))
    ten, both = speed.many(last, middle, "record", 2, rival=True)
    assert all(row["time ÷ one map of the last layer"] > 0 and row[f"{speed.RIVAL}'s time ÷ ours"] > 0 for row in (ten, both))
    # Once all ten classes of the last layer, then in each of two rounds both layers for the classes given.
    assert asked[:10] == [(last.name, [k] * 3) for k in range(10)]
    assert asked[10:] == [(task.name, last.targets.tolist()) for _ in range(2) for task in (last, middle)]
    assert f"{speed.RIVAL}'s time ÷ ours" not in speed.many(last, middle, "record", 1, rival=False)[0]
