"""Built-in recipes by name. A name may stand for one recipe a data set: digits are not cars."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from speedcore.errors import RecipeError
from speedcore.recipe import Recipe, merged, validated
from speedcore.recipe.custom import CustomAugmentation, CustomConfig, CustomTechnique
from speedcore.recipe.toml import names_a_file, toml_content
from speedcore.recipes import airbench, article, mnist_fast, page_architecture, page_baseline, page_tricks, record


def _with_digits(published: dict[str, dict[str, Recipe]]) -> dict[str, dict[str, Recipe]]:
    """The same recipes, and each without mirror images for digits: that of a 2 is none."""
    return {name: {**sets, "mnist": sets["*"].changed(
        augment=sets["*"].augment.model_copy(update={"flip": "none"}),
        tta=sets["*"].tta.model_copy(update={"mirror": False}))} for name, sets in published.items()}


# name -> {data set or "*" -> recipe}
BUILT_IN: dict[str, dict[str, Recipe]] = {
    "article": article.RECIPES, "record": record.RECORD, "sprint": record.SPRINT, "dash": record.DASH,
    "dash-augmented": record.DASH_AUGMENTED,
    "airbench94": airbench.AIRBENCH94, "airbench94-muon": airbench.AIRBENCH94_MUON,
    **mnist_fast.RECIPES,
    **_with_digits(page_baseline.RECIPES | page_architecture.RECIPES | page_tricks.RECIPES),
}


def names() -> list[str]:
    return sorted(BUILT_IN)


def get(name: str, dataset: str, beside: Path = Path(), above: tuple[Path, ...] = ()) -> Recipe:
    """The recipe `name` for `dataset`; `name` may also be the path of a TOML file, from the folder `beside`.

    A built-in name is that recipe, whatever files there are. above: files whose base this is, none of which it may be.
    Raises RecipeError.
    """
    if name in BUILT_IN:
        family = dataset.split(":", 1)[0]
        return BUILT_IN[name].get(family, BUILT_IN[name]["*"])
    if not names_a_file(name, beside):
        raise RecipeError(f"there is no recipe '{name}'; built-in recipes are {', '.join(names())}, "
                          f"or give the path of a TOML file.")
    path = beside / name
    if Path(os.path.realpath(path)) in above:
        raise RecipeError(f"recipe file {above[-1]}: its base '{name}' leads back to itself.")
    return from_toml(path, dataset, above)


def with_own(recipe: Recipe | str, dataset: str, network: Any = None, augmentation: Any = None,
             technique: Any = None) -> Recipe | str:
    """`recipe` with a network, augmentation or technique of one's own, under a name that says so; as it is without any.

    Raises RecipeError, also for the recipe "auto": each recipe that it stands for was made for its own network.
    """
    if network is None and augmentation is None and technique is None:
        return recipe
    if recipe == "auto":
        raise RecipeError(f"recipe 'auto' is chosen for its network; name the recipe to train yours by ({', '.join(names())}).")
    chosen = recipe if isinstance(recipe, Recipe) else get(recipe, dataset)
    content, added = chosen.model_dump(), []
    if network is not None:
        content["network"] = network
    if augmentation is not None:
        added.append(own := _own(CustomAugmentation, augmentation, "augmentation"))
        content["augment"]["custom"] = (*chosen.augment.custom, own)
    if technique is not None:
        added.append(own := _own(CustomTechnique, technique, "technique"))
        content["techniques"] = (*chosen.techniques, own)
    made = validated(content, f"recipe '{chosen.name}' with your own parts")
    parts = ([made.network] if network is not None else []) + added
    called = [part.name if isinstance(part, CustomConfig) else part.kind for part in parts]
    return made.model_copy(update={"name": "+".join([made.name, *called])})


def _own(kind: type[CustomConfig], code: Any, what: str) -> CustomConfig:
    try:
        return kind.model_validate(code)
    except ValidationError as error:
        raise RecipeError(f"{what}: {'; '.join(e['msg'] for e in error.errors())}.") from None


def from_toml(path: Path, dataset: str, above: tuple[Path, ...] = ()) -> Recipe:
    """Read a recipe file. `base = "NAME"` takes another recipe's fields first: those for `dataset`, unless the file names
    another data set. A base that is a file lies beside this one.

    above: the files whose base this one is. Raises RecipeError.
    """
    path = Path(path)
    content = toml_content(path, "recipe file")
    content.setdefault("name", path.stem)
    base, dataset = content.pop("base", None), content.pop("dataset", dataset)
    if not (isinstance(base, str | None) and isinstance(dataset, str)):
        raise RecipeError(f"recipe file {path}: base and dataset must be names in quotes.")
    if base is not None:
        above = (*above, Path(os.path.realpath(path)))
        content = merged(get(base, dataset, path.parent, above).model_dump(), content)
    return validated(content, f"recipe file {path}")
