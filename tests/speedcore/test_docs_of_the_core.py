"""What docs/recipes.md, docs/clocks.md and docs/runs.md say is so."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from speedcore import recipe as parts
from speedcore import recipes
from speedcore.clock import POLICIES, SOURCE_POLICIES, Phase
from speedcore.planning import planned_runs
from speedcore.recipe import AverageConfig, Schedule, reference
from speedcore.recipe.part import RecipePart
from speedcore.recipes import from_toml
from speedcore.store.runs import RunStore
from speedcore.training.loop import train
from speedcore.training.schedule import StepBudget
from tests.speedcore import toys


@pytest.fixture(scope="module")
def pages(checkout: Path) -> dict[str, str]:
    return {name: (checkout / "docs" / f"{name}.md").read_text() for name in ("recipes", "clocks")}


def table(text: str, after: str) -> dict[str, tuple[str, ...]]:
    """Rows of the first table after the words `after`: first cell (without backquotes) -> the others."""
    rows = re.search(r"((?:^\|.*\n)+)", text[text.index(after):], re.M).group(1).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {first.strip("`"): tuple(rest) for first, *rest in cells}


def test_the_tables_of_fields_are_made_of_the_fields(pages) -> None:
    assert reference.page(pages["recipes"]) == pages["recipes"], (
        "run python -m speedcore.recipe.reference docs/recipes.md and commit it")
    tables = re.findall(r"<!-- fields of (\w+) -->", pages["recipes"])
    there = {name for name, part in vars(parts).items() if isinstance(part, type) and issubclass(part, RecipePart)
             and part.__module__ != "speedcore.recipe.custom"}  # code of a user's own: docs/extending.md
    assert len(tables) == len(set(tables)) and set(tables) == there
    # By hand: what a row looks like.
    rows = table(pages["recipes"], "fields of TTAConfig")
    assert rows["mirror"] == ("`false`", "the mirror image") and set(rows) == {"mirror", "shifts", "shift_share"}
    assert table(pages["recipes"], "fields of RecordNetConfig")["logit_scale"][0] == "1/9"
    assert "Formerly `last_batch`, `\"drop\"` for `true`" in table(pages["recipes"], "## Fields")["drop_last"][1]


def test_the_example_loads_and_means_what_it_says(pages, tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", pages["recipes"], re.S)
    path = tmp_path / "mine.toml"
    path.write_text(example)
    mine, base = from_toml(path, "fashion-mnist"), recipes.get("sprint", "fashion-mnist")
    assert mine == base.changed(
        name=base.name, description=mine.description, epochs=12.0, label_smoothing=0.1,
        augment=base.augment.model_copy(update={"cutout": 6}), average=AverageConfig(decay=0.99, every=5, start=0.5),
        schedule=Schedule(knots=((0, 0.1), (0.2, 1), (1, 0)), shape="cosine")).changed(name="mine")


def test_the_python_example_runs(pages, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", pages["recipes"], re.S)
    Path("mine.toml").write_text(re.findall(r"```toml\n(.*?)```", pages["recipes"], re.S)[0])
    exec(example, {})


def test_every_builtin_recipe_is_named(pages) -> None:
    named = re.search(r"a built-in name: (.*?)\. A name", pages["recipes"], re.S).group(1)
    assert set(re.findall(r"`([\w-]+)`", named)) == set(recipes.names())


def test_every_phase_and_every_rule_is_described(pages) -> None:
    assert list(table(pages["clocks"], "## Phases")) == [str(phase) for phase in Phase]
    rules = table(pages["clocks"], "## Clocks")
    assert list(rules) == list(POLICIES)
    for name, policy in POLICIES.items():
        counted = re.findall(r"`(\w+)`", rules[name][0])
        assert counted == ([] if policy.phases is None else [str(phase) for phase in Phase if policy.counts(phase)])
    sources = table(pages["clocks"], "own clock")
    assert {name: set(re.findall(r"`(\w+)`", row[0])) for name, row in sources.items()} == {
        name: set(policy.phases) for name, policy in SOURCE_POLICIES.items()}


def test_the_shares_that_are_named_are_the_ones_used(pages) -> None:
    from speedcore.planning import plan

    for share in (StepBudget.IDLE, StepBudget.AIM, plan.PLANNED_SHARE):
        assert f"{100 * share:g} %" in pages["clocks"]
    assert StepBudget.FEW == 8 and "after each of the last eight" in pages["clocks"]
    assert planned_runs.MOST_SEEDS == 10 and "up to ten" in pages["clocks"]


def test_the_files_of_a_run_are_those_that_the_page_lists(checkout: Path, tmp_path: Path) -> None:
    text = (checkout / "docs" / "runs.md").read_text(encoding="utf-8")
    listed = re.findall(r"^ {8}(\S+)  ", text, re.M)
    run = train(toys.dataset(), toys.job(toys.recipe(), 2), RunStore(tmp_path))
    assert sorted(listed) == sorted(path.name for path in run.path.iterdir())
    digest = hashlib.sha256((run.path / "weights.safetensors").read_bytes()).hexdigest()
    assert digest == json.loads((run.path / "run.json").read_text())["weights_sha256"]
