"""Recipes: frozen, named by content, and every mistake in a file named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from speedcore import recipes
from speedcore.errors import RecipeError
from speedcore.recipe import (
    AdamConfig,
    Augment,
    AverageConfig,
    DavidNetConfig,
    Loader,
    LookaheadConfig,
    MuonConfig,
    Peek,
    Recipe,
    Schedule,
    SGDConfig,
    TTAConfig,
    validated,
)
from speedcore.recipes import from_toml
from tests.speedcore import toys

# One change of each field that decides a run.
CHANGES = {
    "network": DavidNetConfig(width=0.5), "optimizer": SGDConfig(lr=0.06, weight_decay=1e-3),
    "schedule": Schedule(knots=((0, 1), (1, 0))), "augment": Augment(crop=2), "batch_size": 39, "epochs": 4.0,
    "min_epochs": 1.5, "label_smoothing": 0.1, "average": AverageConfig(), "lookahead": LookaheadConfig(),
    "tta": TTAConfig(mirror=True), "precision": "bf16", "channels_last": True, "data": "precomputed", "val_images": 10,
    "order": "fixed", "drop_last": False, "peek": Peek(), "loss": "sum", "loader": Loader(prepared=True),
    "norm_precision": "bf16", "convolutions": "winograd", "bn_recalibration_images": 10,
    "techniques": ({"factory": "speedcore.clock:Budget"},),
}
# What a field only goes together with.
NEEDS = {"loader": {"data": "loader"}, "norm_precision": {"precision": "bf16"},
         "convolutions": {"precision": "bf16", "channels_last": True}}

MINIMAL = """
batch_size = 250
epochs = 2
network = { kind = "davidnet" }
optimizer = { kind = "sgd", lr = 0.4 }
"""


def test_name_and_description_leave_the_hash_alone() -> None:
    recipe = toys.recipe()
    assert recipe.changed(name="other", description="words").hash == recipe.hash


def test_every_other_field_changes_the_hash() -> None:
    recipe = toys.recipe()
    assert set(CHANGES) == set(Recipe.model_fields) - {"name", "description", "min_steps"}
    hashes = {field: recipe.changed(**NEEDS.get(field, {}), **{field: value}).hash for field, value in CHANGES.items()}
    assert len({recipe.hash, *hashes.values()}) == len(CHANGES) + 1
    assert all(recipe.changed(**needed).hash != hashes[field] for field, needed in NEEDS.items())


def test_the_hash_is_the_same_for_the_same_content_however_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(MINIMAL)
    built = Recipe(name="b", network=DavidNetConfig(width=1.0), optimizer=SGDConfig(lr=0.4), batch_size=250, epochs=2.0)
    assert from_toml(path, "cifar10").hash == built.hash


def test_recipes_are_frozen() -> None:
    recipe = toys.recipe()
    for target, field in ((recipe, "epochs"), (recipe.augment, "crop"), (recipe.network, "widths")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, field, 1)


def test_without_augmentation_is_the_same_recipe_on_plain_images() -> None:
    recipe = toys.recipe(tta=TTAConfig(mirror=True, shifts=True), label_smoothing=0.2)
    plain = recipe.without_augmentation()
    assert recipe.augment.any and recipe.tta.any
    assert not plain.augment.any and not plain.tta.any
    left = {k: v for k, v in recipe if k not in ("augment", "tta")}
    assert left == {k: v for k, v in plain if k not in ("augment", "tta")}


@pytest.mark.parametrize(("views", "count"), [
    (TTAConfig(), 1), (TTAConfig(mirror=True), 2), (TTAConfig(shifts=True), 3), (TTAConfig(mirror=True, shifts=True), 6)])
def test_views_are_counted_with_the_image_itself(views: TTAConfig, count: int) -> None:
    assert views.count == count


@pytest.mark.parametrize(("text", "words"), [
    (MINIMAL + "epocks = 3", ["epocks", "not permitted"]),
    (MINIMAL + "[augment]\nshear = 3", ["augment.shear"]),
    (MINIMAL.replace("epochs = 2", "epochs = -2"), ["epochs", "greater than 0"]),
    (MINIMAL.replace("epochs = 2", "epochs = 'many'"), ["epochs"]),
    (MINIMAL.replace("epochs = 2\n", ""), ["epochs", "required"]),
    (MINIMAL.replace("lr = 0.4", "lr = nan"), ["optimizer.sgd.lr"]),
    (MINIMAL.replace("lr = 0.4", "lr = inf"), ["optimizer.sgd.lr"]),
    (MINIMAL.replace("davidnet", "resnet"), ["network", "resnet"]),
    (MINIMAL.replace('kind = "sgd", lr = 0.4', 'kind = "adam", lr = 0.1, betas = [0.9, 1.0]'), ["betas"]),
    (MINIMAL + "min_epochs = 3", ["min_epochs", "larger than epochs"]),
    (MINIMAL + "[schedule]\nknots = [[0.0, 1.0]]", ["schedule.knots", "from position 0 to position 1"]),
    (MINIMAL + "[schedule]\nknots = [[0, 0], [0.7, 1], [0.3, 1], [1, 0]]", ["schedule.knots"]),
    (MINIMAL + "[schedule]\nknots = [[0, 0], [1, -1]]", ["schedule.knots", "negative"]),
    (MINIMAL + "name = 'a b'", ["name"]),
    ("epochs = = 2", ["not valid TOML", "line 1"]),
    ("base = 3", ["base"]),
    ('base = "nosuch"', ["nosuch", "article"]),
    ('base = "record"\n[augment]\ncrop = -1', ["augment.crop"]),
])
def test_a_wrong_file_is_named_with_the_field(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError) as raised:
        from_toml(path, "cifar10")
    message = str(raised.value)
    assert "nosuch" in text or str(path) in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, make) -> None:
    path = tmp_path / "mine.toml"
    make(path)
    with pytest.raises(RecipeError, match="mine.toml"):
        from_toml(path, "cifar10")


def test_a_base_gives_what_the_file_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "article"\nepochs = 7\n[optimizer]\nlr = 0.9\n[augment]\ncutout = 0\n')
    mine, base = from_toml(path, "cifar10"), recipes.get("article", "cifar10")
    expected = base.changed(name="mine", epochs=7.0, optimizer=base.optimizer.model_copy(update={"lr": 0.9}),
                            augment=base.augment.model_copy(update={"cutout": 0}))
    assert mine == expected


def test_a_base_that_leads_back_to_itself_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'base = "{path}"')
    with pytest.raises(RecipeError, match="leads back to itself"):
        from_toml(path, "cifar10")


def test_a_base_of_another_data_set_is_that_data_sets(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "article"\ndataset = "mnist"\n')
    assert from_toml(path, "cifar10").hash == recipes.get("article", "mnist").hash != recipes.get("article", "cifar10").hash


def test_a_base_is_that_of_the_data_set_that_the_file_is_used_on(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "sprint"\nepochs = 3\n')
    for dataset in ("mnist", "fashion-mnist", "cifar10", "shapes:corner=0.9", "folder:/some/where"):
        assert recipes.get(str(path), dataset).hash == recipes.get("sprint", dataset).changed(epochs=3.0, min_epochs=recipes.get(
            "sprint", dataset).min_epochs).hash
    assert recipes.get(str(path), "mnist").augment.flip == "none" != recipes.get(str(path), "cifar10").augment.flip


def test_a_base_that_is_a_file_lies_beside_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, epochs in ((here, 9), (there, 5)):
        (folder / "sub").mkdir(parents=True)
        (folder / "first.toml").write_text(f'base = "sub/zero.toml"\nepochs = {epochs}\n')
        (folder / "sub" / "zero.toml").write_text(f'base = "sprint"\nlabel_smoothing = 0.{epochs}\n')
    (there / "mine.toml").write_text('base = "first.toml"\n')
    monkeypatch.chdir(here)
    mine = recipes.get(str(there / "mine.toml"), "mnist")
    assert (mine.epochs, mine.label_smoothing, mine.augment.flip) == (5, 0.5, "none")


def test_a_file_in_the_working_folder_never_shadows_a_built_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = recipes.get("sprint", "mnist")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sprint").write_text(MINIMAL)
    (tmp_path / "mine").write_text('base = "sprint"')
    assert recipes.get("sprint", "mnist") == expected
    assert recipes.get("mine", "mnist").hash == expected.hash
    from speedcore import ladders

    (tmp_path / "mnist-fast").write_text("")
    assert ladders.get("mnist-fast") == ladders.built_in()["mnist-fast"]


@pytest.mark.parametrize(("text", "says"), [
    ("a = " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    ("a = " + "{b=" * 3000 + "1" + "}" * 3000, "nested too deeply"),
    ("epochs = " + "9" * 5000, "not valid TOML"),
    (MINIMAL.replace("batch_size = 250", "batch_size = " + "9" * 400), "batch_size: the number is too large"),
    (MINIMAL.replace("batch_size = 250", "batch_size = true"), "batch_size: .*true is no number"),
    (MINIMAL.replace("epochs = 2", "epochs = " + "9" * 400), "epochs: "),
    (MINIMAL.replace("lr = 0.4", "lr = true"), "optimizer.lr: true is no number"),
    (MINIMAL + "[schedule]\nknots = [[0, true], [1, 0]]", "knots: true is no number"),
    (MINIMAL.replace("batch_size = 250", "batch_size = 1"), "batch-norm"),
    (MINIMAL + "#" * 2_000_000, "more than 1,048,576 bytes"),
    (".".join("a" * 5000) + " = 1", "not permitted"),
])
def test_small_files_that_break_readers_are_one_message(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=says) as caught:
        from_toml(path, "cifar10")
    assert str(path) in str(caught.value) and len(str(caught.value)) < 3000


def test_true_stays_true_where_truth_is_asked_for() -> None:
    assert toys.recipe().changed(channels_last=True).channels_last is True
    with pytest.raises(RecipeError, match="network"):
        toys.recipe().changed(network={"kind": True})


def test_batches_of_one_are_for_networks_without_batch_norm() -> None:
    from speedcore.recipe import DigitNetConfig, PageNetConfig

    assert toys.recipe().changed(network=DigitNetConfig(), batch_size=1).batch_size == 1
    with pytest.raises(RecipeError, match="at least 2 for each of the 4 groups"):
        toys.recipe().changed(network=PageNetConfig(ghost=4), batch_size=4)
    assert toys.recipe().changed(network=PageNetConfig(ghost=4), batch_size=8).batch_size == 8


def test_what_is_no_regular_file_is_no_recipe(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(RecipeError, match="no regular file"):
        recipes.get(str(tmp_path / "pipe.toml"), "mnist")
    with pytest.raises(RecipeError, match="there is no recipe"):
        recipes.get("x" * 300, "mnist")
    with pytest.raises(RecipeError, match="cannot be read|does not exist"):
        recipes.get("x" * 300 + ".toml", "mnist")


def test_another_kind_replaces_the_bases_table_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "article"\n[optimizer]\nkind = "adam"\nlr = 0.01\n')
    assert from_toml(path, "cifar10").optimizer == AdamConfig(lr=0.01)


@pytest.mark.parametrize(("views", "weights"), [
    (TTAConfig(), [1]), (TTAConfig(mirror=True), [1, 1]), (TTAConfig(mirror=True, shifts=True), [1] * 6),
    (TTAConfig(mirror=True, shift_share=0.5), [1, 1]),  # nothing is shifted, so nothing has that share
    # A half for two upright views, a half for four shifted ones: of six views, 1/4 and 1/8 each.
    (TTAConfig(mirror=True, shifts=True, shift_share=0.5), [6 / 4, 6 / 4, 6 / 8, 6 / 8, 6 / 8, 6 / 8]),
    (TTAConfig(shifts=True, shift_share=0.2), [3 * 0.8, 3 * 0.1, 3 * 0.1])])
def test_weights_of_views(views: TTAConfig, weights: list[float]) -> None:
    assert views.weights == pytest.approx(weights)


@pytest.mark.parametrize(("knots", "end"), [
    (((0, 1), (1, 0)), 1), (((0, 1), (0.375, 0), (1, 0)), 0.375), (((0, 1), (0.3, 0.9), (0.3, 0), (1, 0)), 0.3),
    (((0, 0), (1, 0)), 0), (((0, 0), (1, 1)), float("inf")), (((0, 1), (0.2, 0), (0.5, 0), (1, 0.1)), float("inf"))])
def test_where_a_schedule_comes_to_rest(knots, end: float) -> None:
    assert Schedule(knots=knots).end == end


def test_a_change_is_validated() -> None:
    with pytest.raises(RecipeError, match="batch_size"):
        toys.recipe().changed(batch_size=0)
    with pytest.raises(RecipeError, match="here.*\n.*recipe"):
        validated([], "here")


def test_built_in_recipes_flip_no_digit_and_survive_a_round_trip() -> None:
    for name in recipes.names():
        for dataset in ("mnist", "fashion-mnist", "cifar10", "shapes:corner=0.9", "folder:/some/where"):
            recipe = recipes.get(name, dataset)
            assert recipe.name == name
            assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
            assert recipe.augment.any or name.startswith(("mnist-fast-", "dash"))  # which train on plain images
        digits = recipes.get(name, "mnist")
        assert digits.augment.flip == "none" and not digits.tta.mirror


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="article.*record"):
        recipes.get("artcle", "mnist")


def test_muon_and_sgd_are_told_apart_by_kind() -> None:
    content = toys.recipe().model_dump() | {"optimizer": {"kind": "muon", "bias_lr": 1.0, "head_lr": 2.0}}
    assert validated(content, "here").optimizer == MuonConfig(bias_lr=1.0, head_lr=2.0)
