"""Inputs that do not belong together, folders that cannot be written, and results.json."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import reports
from reports.compose import compose
from reports.inputs import Inputs
from reports.labels import slug, title_of
from reports.renderers import rendering
from reports.results import load
from speedcore.errors import RunError, UserError
from speedcore.recipe import Recipe
from speedcore.store.runs import Run, RunStore
from tests.reports import making
from tests.reports.conftest import AUGMENTED, WITHOUT


def test_runs_are_grouped_by_set_arm_and_seed(whole) -> None:
    results = load(whole.inputs)
    assert [one.title for one in results.sets] == ["MNIST", "Folder “cats”"]
    mnist = results.sets[0]
    assert list(mnist.arms) == ["without", "with"]
    assert [pair.seed for pair in mnist.pairs] == [0, 1, 2, 3, 4, 5]
    assert all(pair.without.record.arm == "without" and pair.augmented.record.arm == "with" for pair in mnist.pairs)


def test_only_seeds_of_both_arms_are_pairs(tmp_path) -> None:
    store, data = RunStore(tmp_path), making.dataset()
    runs = [making.save(store, data, arm, seed, 20) for arm, seed in (("with", 2), ("without", 2), ("with", 0),
                                                                      ("without", 5))]
    one, = load(Inputs({}, tuple(runs))).sets
    assert [pair.seed for pair in one.pairs] == [2]


def changed(run: Run, **fields) -> Run:
    return Run(run.path, run.record.model_copy(update=fields))


def test_runs_that_do_not_belong_together_are_named(tmp_path) -> None:
    data = making.dataset()
    first, second = (making.save(RunStore(tmp_path), data, "with", seed, 20) for seed in (0, 1))
    other_data = second.record.data.model_copy(update={"fingerprint": "0" * 64})
    for wrong, says in ((changed(second, seed=0), "same arm and seed"), (changed(second, arm="cutmix"), "neither of"),
                        (changed(second, recipe_hash="0" * 12), "different recipes"),
                        (changed(second, data=other_data), "different contents")):
        with pytest.raises(RunError, match=says) as caught:
            load(Inputs({}, (first, wrong)))
        assert second.path.name in str(caught.value)
    with pytest.raises(RunError, match="not those that"):
        load(Inputs({"mnist": making.renamed(making.dataset("mnist", channels=3), "mnist")}, (first,)))


@pytest.mark.parametrize(("name", "title"), [("mnist", "MNIST"), ("cifar10", "CIFAR-10"),
                                             ("folder:/a/b c", "Folder “b c”"),
                                             ("shapes:corner=0.9", "shapes:corner=0.9")])
def test_titles(name: str, title: str) -> None:
    assert title_of(name) == title
    assert slug(name) and set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_an_unwritable_folder_is_one_clear_message(inputs, tmp_path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(reports.OutputError, match="cannot write .*results.json"):
        reports.render(inputs, blocked, ())
    assert blocked.read_text() == "in the way"


def test_an_unknown_format_is_refused(inputs, tmp_path) -> None:
    with pytest.raises(UserError, match="docx"):
        reports.render(inputs, tmp_path, ("html", "docx"))


def test_files_are_replaced_whole(inputs, tmp_path) -> None:
    (tmp_path / "results.json").write_text("old")
    reports.render(inputs, tmp_path, ())
    assert json.loads((tmp_path / "results.json").read_text())["schema_version"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", ".rendered.json"}


def test_what_stands_is_not_made_again(inputs, tmp_path, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(rendering, "compose", lambda results: made.append(1) or compose(results))
    first = reports.render(inputs, tmp_path, ())
    assert reports.render(inputs, tmp_path, ()) == first and len(made) == 1
    first["json"].write_text("harmed")
    reports.render(inputs, tmp_path, ())
    assert len(made) == 2 and json.loads(first["json"].read_text())["schema_version"] == 2
    reports.render(replace(inputs, notes=("something else",)), tmp_path, ())
    assert len(made) == 3
    (tmp_path / ".rendered.json").write_text("[1]")
    reports.render(inputs, tmp_path, ())
    assert len(made) == 4


# --- results.json ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def content(whole) -> dict:
    return json.loads(whole.files["json"].read_text())


def test_content_has_what_is_promised(content) -> None:
    assert {"schema_version", "runs", "claims", "environment"} <= set(content)
    for run in content["runs"]:
        assert {"dataset", "arm", "recipe", "recipe_hash", "seed", "accuracy", "plain_accuracy", "tta_accuracy", "epochs",
                "parameters", "ledger", "clocks", "budget_seconds", "peak_memory_bytes", "official_data", "device"} <= set(run)
        assert {"trainable", "buffers"} <= set(run["parameters"])
        assert set(run["clocks"]) == {"article", "dawnbench", "everything"}
    for claim in content["claims"]:
        assert {"text", "dataset", "n", "difference", "interval", "p", "verdict"} <= set(claim)


def test_content_has_the_numbers_of_the_runs(content) -> None:
    accuracies = {(r["dataset"], r["arm"], r["seed"]): r["plain_accuracy"] for r in content["runs"]}
    assert len(accuracies) == 16
    for arm, rights in (("without", WITHOUT), ("with", AUGMENTED)):
        assert [accuracies["mnist", arm, seed] for seed in range(6)] == [right / 30 for right in rights]
    claim = next(c for c in content["claims"] if c["dataset"] == "mnist" and c["kind"] == "accuracy")
    assert claim["n"] == 6 and claim["p"] == 2 / 64 and claim["verdict"] == "supported"
    assert claim["difference"] == pytest.approx((sum(AUGMENTED) - sum(WITHOUT)) / 180)
    assert claim["interval"]["low"] < claim["difference"] < claim["interval"]["high"]
    assert [run["official_data"] for run in content["runs"]] == [True] * 12 + [False] * 4


def test_content_has_the_whole_recipe_of_each_run(content, whole) -> None:
    written = {name: Recipe.model_validate(recipe) for name, recipe in content["recipes"].items()}
    assert all(recipe.hash == name for name, recipe in written.items())
    assert {run["recipe_hash"] for run in content["runs"]} == set(written)
    assert all(written[run.record.recipe_hash] == run.record.recipe for run in whole.inputs.runs)


def test_accuracy_is_the_one_of_the_runs_record(content) -> None:
    """With test-time augmentation where the recipe has it: here the arm with augmentation."""
    for run in content["runs"]:
        assert run["accuracy"] == (run["plain_accuracy"] if run["arm"] == "without" else run["tta_accuracy"])
        assert (run["tta_accuracy"] is None) == (run["arm"] == "without")


def test_content_does_not_change_with_the_moment(content) -> None:
    assert "finished" not in content["environment"] and "command" not in content["environment"]
    assert content["environment"]["revision"] == "c" * 40


def test_every_field_is_documented(content, checkout) -> None:
    text = (checkout / "docs" / "results-json.md").read_text(encoding="utf-8")
    fields = set(content) | set(content["runs"][0]) | set(content["claims"][0]) | set(content["missing"][0])
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []
