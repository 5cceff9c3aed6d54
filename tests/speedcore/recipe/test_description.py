"""What is said of recipes: every field, and nothing that is not so."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from speedcore import recipes
from speedcore.errors import RecipeError
from speedcore.recipe import AverageConfig, LookaheadConfig, Peek, Recipe, Schedule, validated
from speedcore.recipe.ladder import Ladder, Rung
from speedcore.techniques import methods
from tests.speedcore import toys

BUILT_IN = {f"{name} on {data}": recipes.get(name, data) for name, data in (
    ("article", "cifar10"), ("record", "cifar10"), ("record", "mnist"), ("sprint", "fashion-mnist"), ("dash", "mnist"),
    ("airbench94-muon", "cifar10"), ("mnist-fast-8", "mnist"), ("mnist-fast-0", "mnist"), ("page-tricks-ema", "cifar10"),
    ("page-tricks-tta", "cifar10"), ("page-architecture-backbone", "cifar10"), ("page-baseline-start", "cifar10"))}


def others(kind: Any, value: Any, field: str) -> Iterator[Any]:
    """Other values that a field of that type may have."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        yield from others(typing.get_args(kind)[0], value, field)
    elif origin is typing.Literal:
        yield from (one for one in typing.get_args(kind) if one != value)
    elif origin in (typing.Union, types.UnionType):
        for one in typing.get_args(kind):
            if one is type(None):
                yield from () if value is None else (None,)
            else:
                yield from others(one, value, field)
    elif kind is bool:
        yield from (one for one in (True, False) if one != value)
    elif kind is int:
        yield from (2, 1) if value is None else (value + 1, 2 * value, value - 1)
    elif kind is float:
        yield from (0.3, 2.0) if value is None else (value * 1.01 or 0.07, value * 0.99)
    elif kind is str:
        yield f"{value}x"
    elif kind is Schedule or field == "knots":
        knots = [list(knot) for knot in (value.knots if isinstance(value, Schedule) else value)]
        knots[0][1] += 0.01
        yield {"knots": knots} if isinstance(value, Schedule) else knots
    elif isinstance(kind, type) and issubclass(kind, BaseModel) and value is None:
        yield {"lr": 0.3} if "lr" in kind.model_fields else {"prepared": True} if "prepared" in kind.model_fields else {}
    elif isinstance(value, tuple):
        of = typing.get_args(kind)[0] if typing.get_args(kind) else int
        for other in (others(of, value[0], field) if value else ({"factory": "speedcore.clock:Budget"}, 1, 2)):
            yield (other, *value[1:])
        yield from (value[:-1], (*value, 2)) if len(value) > 2 or not value else ()


def fields(part: BaseModel, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(path, type, value) of every field of a recipe and of all of its parts."""
    for name, info in type(part).model_fields.items():
        value = getattr(part, name)
        if name != "kind":
            yield (*where, name), info.annotation, value
        if isinstance(value, BaseModel):
            yield from fields(value, (*where, name))


def changed(recipe: Recipe, path: tuple[str, ...], value: Any) -> Recipe:
    content = recipe.model_dump()
    table = content
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    return validated(content, "it")


# Together with what the rest of a recipe may stand in the way of.
WHOLE = {
    "power": toys.recipe(average=AverageConfig(power=2.0)), "lookahead": toys.recipe(lookahead=LookaheadConfig()),
    "peek": toys.recipe(peek=Peek(stop_at=0.9)), "average": toys.recipe(average=AverageConfig(initial=True)),
    "loader": toys.recipe(data="loader", loader={"choices": "single"}, augment={"crop": 2, "flip": "random"}),
    "bf16": toys.recipe(precision="bf16", norm_precision="bf16", channels_last=True, convolutions="winograd"),
    "idle": toys.recipe(augment={"groups": 3}, tta={"shift_share": 0.3}),
    "shifted": toys.recipe(tta={"shifts": True, "shift_share": 0.3}),
    "precise": toys.recipe(bn_recalibration_images=40), "adam": toys.recipe(optimizer={"kind": "adam", "lr": 0.1}),
}


@pytest.mark.parametrize("name", [*BUILT_IN, *WHOLE])
def test_changing_any_field_changes_what_is_said(name: str) -> None:
    recipe = {**BUILT_IN, **WHOLE}[name]
    said, unchanged = recipe.describe(), []
    for path, kind, value in fields(recipe):
        if path == ("name",):
            continue
        for other in others(kind, value, path[-1]):
            try:
                new = changed(recipe, path, other)
            except RecipeError:
                continue
            if new.hash != recipe.hash or path == ("description",):
                for provenance in (None, {}, {"convolutions": "torch", "arithmetic": "fp32"}):
                    if new.describe(provenance) == recipe.describe(provenance):
                        unchanged.append((".".join(path), value, other, provenance))
    assert unchanged == [] and said == recipe.describe()


def test_every_field_was_changed() -> None:
    """The walk above reaches all fields of all parts; one that no recipe could change would go untested."""
    reached, there = set(), set()
    for recipe in (*BUILT_IN.values(), *WHOLE.values()):
        for path, kind, value in fields(recipe):
            owner = recipe
            for name in path[:-1]:
                owner = getattr(owner, name)
            key = (type(owner).__name__, path[-1])
            if isinstance(value, BaseModel):
                continue  # each field of it is walked
            there.add(key)
            if key not in reached and any(_valid(recipe, path, other) for other in others(kind, value, path[-1])):
                reached.add(key)
    assert sorted(there - reached) == []
    parts = {part for part, _ in there}
    assert {"Recipe", "SGDConfig", "MuonConfig", "AdamConfig", "AdadeltaConfig", "DavidNetConfig", "RecordNetConfig",
            "DigitNetConfig", "PageNetConfig", "PreactNetConfig", "Schedule", "Augment", "AverageConfig", "LookaheadConfig",
            "TTAConfig", "Peek", "Loader", "WhitenBias"} <= parts


def _valid(recipe: Recipe, path: tuple[str, ...], value: Any) -> bool:
    try:
        return changed(recipe, path, value) != recipe
    except RecipeError:
        return False


@pytest.mark.parametrize(("recipe", "term", "says", "not_so"), [
    (toys.recipe(average={"power": 0.0, "start": 0.6}), "Averaging of weights", "plain mean, updated every 5 steps, from 60 % of",
     "decay"),
    (toys.recipe(average={"decay": 0.9}), "Averaging of weights", "decay 0.9 a step", "mean,"),
    (toys.recipe(data="loader"), "Images", "DataLoader", "disk"),
    (toys.recipe(data="precomputed"), "Images", "streamed from disk", "DataLoader"),
    (toys.recipe(lookahead={"decay": 0.95, "every": 4}), "Lookahead", "every 4 steps, which keep 0.95^4", "none"),
    (toys.recipe(loss="sum"), "Loss", "summed over the batch", "mean"),
    (toys.recipe(bn_recalibration_images=512), "Statistics of batch-norm in tests", "taken again over 512", "running"),
    (toys.recipe(peek={"stop_at": 0.94}), "Looks at the test set", "at 94 % training ends", "none"),
    (toys.recipe(order="fixed", drop_last=False), "Batches", "in one order for all epochs and seeds; the batch that an epoch "
                                                               "cannot fill is kept", "again"),
    (toys.recipe(network={"kind": "davidnet", "logit_scale": 1 / 9}), "Network", "DavidNet: width 1, logit scale 0.111111",
     "kind"),
])
def test_what_is_said(recipe: Recipe, term: str, says: str, not_so: str) -> None:
    words = recipe.describe()[term].replace("\xa0", " ")
    assert says in words and not_so not in words


FAST = toys.recipe(precision="bf16", channels_last=True, convolutions="auto")


@pytest.mark.parametrize(("provenance", "arithmetic", "convolutions"), [
    ({"arithmetic": "fp32", "convolutions": "torch", "arithmetic_reason": "bf16 takes 8 × as long"},
     "fp32 (asked for: bf16 on weights in fp32); batch-norm in fp32 (bf16 takes 8 × as long)",
     "torch’s (asked for: the fastest backend of the machine)"),
    ({"arithmetic": "bf16", "convolutions": "winograd8"}, "bf16 on weights in fp32; batch-norm in fp32",
     "by Winograd in 8 bits (asked for: the fastest backend of the machine)"),
    ({"arithmetic": "fp32"}, "fp32 (asked for: bf16 on weights in fp32); batch-norm in fp32",
     "torch’s (asked for: the fastest backend of the machine)"),
    ({}, "bf16 on weights in fp32; batch-norm in fp32", "the fastest backend of the machine; which that was is not on record"),
])
def test_words_are_of_the_run_that_was_made(provenance: dict, arithmetic: str, convolutions: str) -> None:
    words = FAST.describe(provenance)
    assert (words["Arithmetic"], words["3×3 convolutions"]) == (arithmetic, convolutions)


def test_a_rung_without_words_says_which_fields_it_changes() -> None:
    ladder = Ladder(name="toy", dataset="toy", base=toys.recipe(), rungs=(
        Rung(name="small", change={"batch_size": 20, "augment": {"cutout": 2}}),
        Rung(name="cosine", change={"schedule": {"knots": [[0, 1], [1, 0.5]], "shape": "cosine"}}),
        Rung(name="named", what="its own words", change={"epochs": 5})))
    assert [ladder.what(rung).replace("\xa0", " ") for rung in ladder.rungs] == [
        "augment cutout 2 for 4, batch size 20 for 40",
        "schedule knots 1 at 0 %, 0.5 at 100 % for 0 at 0 %, 1 at 20 %, 0 at 100 %, "
        "schedule shape half cosines for straight lines",
        "its own words"]


def test_methods_are_those_that_ran() -> None:
    def used(recipe: Recipe, **provenance) -> set[str]:
        run = {"budget_seconds": provenance.pop("budget", None)}
        return {name for name, method in methods().items() if method.used_by(recipe.as_run(provenance), run)}

    assert {"bf16", "amx"} <= used(FAST, arithmetic="bf16", convolutions="amx")
    assert not {"winograd", "winograd8", "step-budget"} & used(FAST, arithmetic="bf16", convolutions="amx")
    assert {"winograd"} == {"winograd", "winograd8", "amx"} & used(FAST, convolutions="winograd")
    assert not {"winograd", "winograd8", "amx", "bf16", "norm-precision"} & used(FAST, arithmetic="fp32")
    assert not {"winograd", "winograd8", "amx"} & used(FAST)  # which it was is not on record
    assert "step-budget" in used(FAST, budget=60.0)
    assert {"polynomial-decay-averaging", "ema"} & used(toys.recipe(average={"power": 0.0})) == {"polynomial-decay-averaging"}
    assert {"polynomial-decay-averaging", "ema"} & used(toys.recipe(average={})) == {"ema"}
    cosine = {"shape": "cosine", "knots": ((0, 1), (1, 0))}
    assert "one-cycle" not in used(toys.recipe(schedule=cosine))
    assert "one-cycle" in used(toys.recipe(schedule={**cosine, "knots": ((0, 0.1), (0.3, 1), (1, 0))}))
    assert "image-loader" not in used(toys.recipe(data="loader", loader={"choices": "single", "worker": True}))
    shortcuts = recipes.get("page-architecture-backbone", "cifar10")
    assert not {"residual-branches", "full-kernels"} & used(shortcuts)
    assert "summed-loss" in used(toys.recipe(drop_last=False))


@pytest.mark.parametrize("name", BUILT_IN)
def test_methods_of_arithmetic_backend_and_views_are_those_that_ran(name: str) -> None:
    """Whatever a recipe asked for, and whatever the machine made of it."""
    augments = {"crop", "flip", "alternating-flip", "cutout", "grouped-augmentation", "test-time-augmentation"}
    for arithmetic in ("fp32", "bf16", "fp16"):
        for backend in ("torch", "winograd", "winograd8", "amx"):
            ran = BUILT_IN[name].as_run({"arithmetic": arithmetic, "convolutions": backend})
            used = {method for method, card in methods().items() if card.used_by(ran)}
            assert {"winograd", "winograd8", "amx"} & used == {backend} - {"torch"}
            assert ("bf16" in used) == (arithmetic == "bf16")
            assert not augments & {method for method, card in methods().items() if card.used_by(ran.without_augmentation())}
