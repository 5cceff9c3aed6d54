"""The preregistration says what the design asks for, and a file that contradicts itself is refused with its field."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from explain import explain_runs
from explain.claim.outcomes import both_right, normalised_mass
from explain.claim.preregistration import PATH, WITH_MASKS, Outcome, preregistration, read
from explain.models import ExplainError
from speedcore import stats
from speedcore.recipe import Augment

TEXT = PATH.read_text()


def test_what_is_registered_is_what_was_asked_for() -> None:
    plan = preregistration()
    assert plan.pairs.planned >= 10 and plan.alpha == stats.ALPHA
    primary = plan.claims["logical"].primary
    assert (primary.measure, primary.method, primary.layer, primary.target, primary.subset) == (
        "normalised_mass", "grad-cam", "middle", "true", "all")
    subsets = {outcome.subset for outcome in plan.claims["logical"].secondary}
    assert subsets == {"all", "both right", "accuracy matched"}
    assert set(plan.parts) == {"none", "crop", "flip", "cutout", "all"}
    assert plan.datasets["cifar10"].claim == "stability" and "logical" not in plan.claims["stability"].text
    assert {name for name, one in plan.datasets.items() if one.claim == "logical"} <= set(WITH_MASKS)
    assert plan.of("folder:cats") is None and plan.of("mnist") is plan.claims["logical"]


def test_digits_are_never_mirrored() -> None:
    plan = preregistration()
    assert plan.part("all", "shapes") == Augment(crop=2, flip="random", cutout=8)
    assert plan.part("all", "mnist") == Augment(crop=2, cutout=8) and "flip" not in plan.datasets["mnist"].parts


@pytest.mark.parametrize(("old", "new", "said"), [
    ("version = 1", "version = 2", "version"),
    ("alpha = 0.05", "alpha = 0.1", "alpha is 0.1"),
    ("planned = 10", "planned = 9", "pairs.planned"),
    ("planned = 10", 'planned = "10"', "pairs.planned"),
    ("planned = 10", "planed = 10", "pairs.planed"),
    ('measure = "pointing_game"', 'measure = "pointing"', "no measure 'pointing'"),
    ('measure = "deletion", better = "lower"', 'measure = "deletion", better = "higher"', "deletion is better lower"),
    ('name = "rank"', 'name = "pointing"', "two outcomes are named 'pointing'"),
    ('better = "higher", bound = 0.05 }\nsecondary = [\n    { name = "mass, both', 'better = "higher" }\nsecondary = [\n    '
     '{ name = "mass, both', "claims.logical.primary.bound"),
    ('cifar10 = { claim = "stability"', 'cifar10 = { claim = "logical"', "datasets.cifar10: 'logical' needs object masks"),
    ('parts = ["crop", "cutout", "all"]', 'parts = ["crop", "blur"]', "datasets.mnist: 'blur'"),
    ("[parts.none]", "[parts.none]\ncrop = 1", "parts.none"),
    ("crop = 2", "crop = 2\nblur = 1", "parts.crop.blur"),
    ("version = 1", "version = ", "not valid TOML"),
])
def test_a_file_that_is_wrong_is_refused_with_its_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ExplainError, match=re.escape(said)) as error:
        read(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExplainError, match="nosuch.toml cannot be read"):
        read(tmp_path / "nosuch.toml")


def test_every_field_is_described(checkout: Path) -> None:
    text = (checkout / "docs" / "preregistration.md").read_text()
    names = set(re.findall(r"^\s*\[?\w*?\.?(\w[\w-]*) =", TEXT, re.M)) | set(re.findall(r"[{,] (\w+) =", TEXT)) | {"subset"}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_direction_of_a_difference() -> None:
    up = Outcome(name="a", measure="insertion", better="higher", bound=0.1)
    down = Outcome(name="b", measure="deletion", better="lower", bound=0.1)
    assert (up.difference(0.25, 0.5), down.difference(0.25, 0.5)) == (0.25, -0.25)


def test_mass_of_some_images_is_theirs_alone(pair, shapes, root) -> None:
    first, _ = explain_runs([pair[0]], [pair[1]], shapes, root, images_per_class=2)
    explanation, outcome = first[0], preregistration().claims["logical"].primary
    count = len(explanation.arrays["measured_index"])
    assert normalised_mass(explanation, outcome) == normalised_mass(explanation, outcome, np.ones(count, bool))
    scored = np.flatnonzero(~np.isnan(explanation.arrays["middle_mass_true"]))[:1]
    mass, area, ceiling = (explanation.arrays[name][scored[0]]
                           for name in ("middle_mass_true", "foreground", "middle_ceiling"))
    one = np.arange(count) == scored[0]
    assert normalised_mass(explanation, outcome, one) == pytest.approx((mass - area) / (ceiling - area))
    assert normalised_mass(explanation, outcome, np.zeros(count, bool)) is None
    assert normalised_mass(explanation, outcome.model_copy(update={"method": "saliency"})) is None
    with pytest.raises(ExplainError, match="'rank'"):
        normalised_mass(explanation, preregistration().claims["logical"].secondary[3])
    rows = both_right(explanation, pair)
    for place, image in enumerate(explanation.arrays["measured_index"]):
        truth = int(shapes.test.labels[image])
        assert rows[place] == all(run.predictions["logits"][image].argmax() == truth for run in pair)
