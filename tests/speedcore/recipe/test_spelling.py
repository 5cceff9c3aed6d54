"""Names of recipes and how their fields are spelt: what was published keeps its name, and what was written once is read on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from speedcore import ladders, recipes
from speedcore.errors import RecipeError, RunError
from speedcore.recipe import Augment, Recipe, SGDConfig, TTAConfig, validated
from speedcore.recipes import from_toml
from speedcore.store.runs import Run, RunStore
from speedcore.training.loop import train
from tests.speedcore import toys

# As they were published: of these, runs and results are kept under their names.
PUBLISHED = {("article", "cifar10"): "278298a1db55", ("record", "cifar10"): "681124f93471", ("sprint", "mnist"): "98058d606c9e",
             ("dash", "mnist"): "044b460ff077", ("airbench94-muon", "cifar10"): "dd538447c315", ("mnist-fast-8", "mnist"):
             "895f37d3d904", ("page-baseline-start", "cifar10"): "d73bb4054ea9", ("page-tricks-ema", "cifar10"): "1c2d78a005da"}


@pytest.mark.parametrize(("name", "dataset"), PUBLISHED)
def test_published_recipes_keep_their_names(name: str, dataset: str) -> None:
    assert recipes.get(name, dataset).hash == PUBLISHED[name, dataset]


def digest(names: dict) -> str:
    return hashlib.sha256(json.dumps(names, sort_keys=True).encode()).hexdigest()


def test_all_built_in_recipes_and_rungs_keep_their_names() -> None:
    """A digest over all names. One that changes takes the finished runs of its recipe with it."""
    names = {f"{name}/{family}": [recipe.hash, *sorted(recipe.hashes), recipe.without_augmentation().hash]
             for name, sets in recipes.BUILT_IN.items() for family, recipe in sets.items()}
    assert len(names) == 99 and digest(names) == "9b86e5ad79820f0a2075e37ba62962bc7318700039a9fd7ae6f82efdbee7a1bb"
    rungs = {f"{name}:{rung}": recipe.hash for name, ladder in ladders.built_in().items()
             for rung, recipe in ladder.recipes.items()}
    assert digest(rungs) == "f8f6e1684a8cf030999bff4140cb72228df916ab1de6c3c26c33cf78d335491a"


# A recipe in the spelling of the first runs, field by field, and in today's.
OLD = {"describe": "words", "test_time": {"mirror": True}, "precise_norms": 20, "validation": 10, "last_batch": "keep",
       "convolutions": "quickest"}
NEW = {"description": "words", "tta": {"mirror": True}, "bn_recalibration_images": 20, "val_images": 10, "drop_last": False,
       "convolutions": "auto"}
BASE = {name: value for name, value in toys.recipe().model_dump().items() if name not in NEW}


def test_old_names_and_values_are_read() -> None:
    assert validated(BASE | OLD, "it") == validated(BASE | NEW, "it") == Recipe(**BASE, **OLD)
    for kept, dropped in (("keep", False), ("drop", True)):
        assert Recipe(**BASE, last_batch=kept).drop_last is dropped
    for then, now in (("direct", "torch"), ("winograd", "winograd"), ("quickest", "auto")):
        assert toys.recipe(convolutions=then).convolutions == now


# The fields of the first published runs.
FIRST = {"network", "optimizer", "schedule", "augment", "batch_size", "epochs", "min_epochs", "label_smoothing", "average",
         "lookahead", "test_time", "precision", "channels_last", "data", "validation"}


def test_the_hash_is_of_the_old_spelling() -> None:
    """What the first published runs would have named: all fields of then, and of those that came later what is in use."""
    later = {"precise_norms", "last_batch", "convolutions"}
    content = {name: value for name, value in (BASE | OLD).items() if name in FIRST | later}
    content["test_time"] = TTAConfig(mirror=True).model_dump()
    augment = content["augment"]
    content["augment"] = {"pad": "reflect", **{name: augment[name] for name in ("crop", "flip", "cutout")}}
    content["network"] = {name: value for name, value in content["network"].items() if name != "depth"}
    content["optimizer"] = {**content["optimizer"], "nesterov": True}
    assert Recipe(**BASE, **NEW).hash == digest(content)[:12]


@pytest.mark.parametrize(("old", "new", "value"), [
    ("test_time", "tta", {}), ("precise_norms", "bn_recalibration_images", 5), ("validation", "val_images", 5),
    ("describe", "description", "x"), ("last_batch", "drop_last", True)])
def test_both_spellings_at_once_are_an_error_that_names_both(tmp_path: Path, old: str, new: str, value) -> None:
    with pytest.raises(RecipeError, match=f"{new} and {old} are one field.*leave {old} out"):
        validated({**BASE, old: value, new: value}, "it")
    path = tmp_path / "both.toml"
    if not isinstance(value, dict):
        path.write_text(f'base = "sprint"\n{old} = {json.dumps(value)}\n{new} = {json.dumps(value)}\n')
        with pytest.raises(RecipeError, match=f"(?s)both.toml.*{new} and {old} are one field"):
            from_toml(path, "mnist")


def test_an_old_file_lies_over_a_base_of_today(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text('base = "sprint"\nvalidation = 7\nlast_batch = "keep"\n[test_time]\nmirror = false\nshifts = true\n'
                    '[augment]\npad = "reflect"\n')
    found, base = from_toml(path, "fashion-mnist"), recipes.get("sprint", "fashion-mnist")
    assert found == base.changed(name="old", val_images=7, drop_last=False,
                                 tta=base.tta.model_copy(update={"mirror": False, "shifts": True}))


LADDER = """
dataset = "mnist"
base = "sprint"
describe = "in old words"
[[rung]]
name = "views"
change = { test_time = { shifts = true }, last_batch = "keep" }
[[rung]]
name = "plain"
without = ["test_time"]
"""


def test_an_old_ladder_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(LADDER)
    ladder = ladders.get(str(path))
    views, plain = list(ladder.recipes.values())[1:]
    assert ladder.description == "in old words" and views.tta.shifts and not views.drop_last and plain.tta == TTAConfig()
    path.write_text(LADDER.replace("describe =", 'description = "x"\ndescribe ='))
    with pytest.raises(RecipeError, match="describe.*description"):
        ladders.get(str(path))


@pytest.fixture
def old_run(store: RunStore) -> Path:
    """A run as it was written under the old spelling, before there were manifests."""
    run = train(toys.dataset(), toys.job(toys.recipe(**NEW), 4), store)
    (run.path / "manifest.sha256").unlink()
    written = json.loads((run.path / "run.json").read_text())
    recipe = {name: value for name, value in written["recipe"].items() if name not in NEW}
    recipe |= {**OLD, "test_time": TTAConfig(mirror=True).model_dump()}
    recipe["augment"]["pad"], recipe["optimizer"]["nesterov"] = "reflect", True
    written |= {"recipe": recipe, "sealed": False, "provenance": {**written["provenance"], "convolutions": "direct"}}
    (run.path / "run.json").write_text(json.dumps(written))
    return run.path


def test_an_old_run_is_read(old_run: Path) -> None:
    record = Run.open(old_run).record
    assert record.recipe == toys.recipe(**NEW) and record.recipe_hash == toys.recipe(**NEW).hash
    assert record.provenance["convolutions"] == "torch"
    assert record.recipe.describe(record.provenance)["3×3 convolutions"].startswith("torch’s (asked for:")


@pytest.mark.parametrize(("part", "option", "value"), [
    ("augment", "pad", "black"), ("optimizer", "nesterov", False), (None, "precision", "bf16-weights")])
def test_an_old_run_that_used_a_removed_option_says_so_in_a_sentence(old_run: Path, part: str | None, option: str, value) -> None:
    written = json.loads((old_run / "run.json").read_text())
    (written["recipe"] if part is None else written["recipe"][part])[option] = value
    (old_run / "run.json").write_text(json.dumps(written))
    with pytest.raises(RunError, match=f"{old_run.name} .*{option}.* was removed: .*") as caught:
        Run.open(old_run)
    assert "damaged" not in str(caught.value) and str(caught.value).count(". ") == 0


def test_removed_options_at_their_defaults_are_read_in_silence() -> None:
    recipe = recipes.get("record", "cifar10")
    content = recipe.model_dump()
    content["network"] |= {"whiten_border": 0}
    content["augment"] |= {"pad": "reflect"}
    assert validated(content, "it") == recipe
    assert SGDConfig(lr=1.0, nesterov=True) == SGDConfig(lr=1.0) and Augment(pad="reflect") == Augment()
    with pytest.raises(RecipeError, match="whiten_border was removed"):
        recipe.changed(network={**recipe.network.model_dump(), "whiten_border": 1})
