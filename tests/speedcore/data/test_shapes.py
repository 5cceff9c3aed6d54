"""Made images: the same bytes always, masks that are the object's pixels, shortcuts as strong as stated."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speedcore.data import Dataset, load, make_shapes, shapes, shortcut_split, swap_shortcut
from speedcore.data.rng import TURNS, Draws, chroma
from speedcore.data.shape_masks import CLASSES, inside
from speedcore.data.shapes import CORNER, Spec
from speedcore.errors import DataError

FEW = Spec(train=600, test=300)
SHORTCUT = {name: replace(FEW, shortcut=name, train_correlation=0.9, test_correlation=0.9) for name in ("corner", "hue")}


@pytest.fixture(scope="module")
def plain() -> Dataset:
    return make_shapes(600, 300)


def test_more_shapes_than_memory_holds_are_refused_before_one_is_drawn() -> None:
    with pytest.raises(DataError, match="10000000000000 training and 2000 test images are more than"):
        load("shapes:train=10000000000000")


def test_form(plain: Dataset) -> None:
    assert plain.train.images.shape == (600, 3, 32, 32) and plain.test.masks.shape == (300, 32, 32)
    assert plain.classes == CLASSES and len(CLASSES) == 10
    # 600 draws from ten classes: 60 each, give or take five standard deviations.
    assert (plain.train.labels.bincount() - 60).abs().max() <= 5 * np.sqrt(600 * 0.09)
    assert make_shapes.__defaults__[:2] == (10_000, 2_000)


def test_same_bytes_always(plain: Dataset) -> None:
    assert make_shapes(600, 300).fingerprint == plain.fingerprint
    assert load("shapes:train=600,test=300").fingerprint == plain.fingerprint
    assert load("shapes:train=600,test=300").fingerprint == plain.fingerprint  # this time from the decoded copy
    assert make_shapes(600, 300, seed=1).fingerprint != plain.fingerprint


def test_same_bytes_on_a_plainer_processor(plain: Dataset) -> None:
    """numpy takes other code where a processor has fewer instructions; exactly rounded operations do not mind."""
    code = "from speedcore.data import make_shapes; print(make_shapes(600, 300).fingerprint)"
    outcome = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True,
                             env={**os.environ, "NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512F AVX2 FMA3 ASIMDHP"})
    assert outcome.stdout.strip() == plain.fingerprint


def test_shorter_splits_are_prefixes_and_splits_differ(plain: Dataset) -> None:
    shorter = make_shapes(260, 3)
    assert torch.equal(shorter.train.images, plain.train.images[:260]) and torch.equal(shorter.test.masks, plain.test.masks[:3])
    assert not torch.equal(plain.train.images[:300], plain.test.images)


def test_masks_have_the_size_of_an_object(plain: Dataset) -> None:
    area = plain.train.masks.float().mean((1, 2))
    # The thinnest object, a crescent of radius 7 partly cut off, against a stretched square of radius 12.
    assert 0.01 < area.min() and area.max() < 0.5 and 0.08 < area.mean() < 0.25


def test_mask_is_exactly_what_the_object_changes(plain: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn again without the object, all but the mask's pixels stay as they are, and nearly all of these change."""
    monkeypatch.setattr(shapes, "inside", lambda label, u, v: np.zeros(u.shape, bool))
    empty = make_shapes(600, 300).train
    assert not empty.masks.any()
    changed = (empty.images != plain.train.images).any(1)
    masks = plain.train.masks
    assert not (changed & ~masks).any()
    assert (changed & masks).sum() / masks.sum() > 0.97
    difference = (plain.train.images.float() - empty.images.float()).abs().mean(1)
    assert (difference * masks).sum((1, 2)).div(masks.sum((1, 2))).quantile(0.01) > 10  # grey levels: it can be seen


@pytest.mark.parametrize("label", range(10))
@pytest.mark.parametrize("turn", [0, 100, 333])
def test_every_kind_is_its_own_mirror_image(label: int, turn: int) -> None:
    """A flip turns (u, v) into (-u, v) in a frame that is turned the other way, so no class may know left from right."""
    u, v = np.meshgrid(np.linspace(-1.2, 1.2, 101, dtype=np.float32), np.linspace(-1.2, 1.2, 101, dtype=np.float32))
    cos, sin = TURNS[turn]
    turned = inside(label, u * cos + v * sin, v * cos - u * sin)
    other_way = inside(label, u * cos - v * sin, v * cos + u * sin)
    # Points on an edge fall to either side by rounding.
    assert (turned[:, ::-1] != other_way).mean() < 0.002
    assert 0.05 < inside(label, u, v).mean() < 0.6


def test_no_two_kinds_are_alike() -> None:
    u, v = np.meshgrid(np.linspace(-1.2, 1.2, 101, dtype=np.float32), np.linspace(-1.2, 1.2, 101, dtype=np.float32))
    figures = [inside(label, u, v) for label in range(10)]
    for one in range(10):
        for two in range(one):
            assert (figures[one] ^ figures[two]).sum() > 0.15 * min(figures[one].sum(), figures[two].sum())


@pytest.mark.parametrize(("correlation", "test"), [(0.0, 0.0), (0.5, 0.5), (0.9, 0.0), (1.0, 1.0)])
def test_correlation_is_as_stated(correlation: float, test: float) -> None:
    spec = Spec(2000, 2000, shortcut="corner", train_correlation=correlation, test_correlation=test)
    for which, expected in (("train", correlation), ("test", test)):
        made = shortcut_split(spec, which)
        # Kept with probability ρ, else one in ten is right by chance; within five standard deviations.
        right = expected + (1 - expected) / 10
        assert abs((made.values == made.split.labels).double().mean() - right) <= 5 * np.sqrt(right * (1 - right) / 2000)


@pytest.mark.parametrize("shortcut", ["corner", "hue"])
def test_swapping_makes_every_value_wrong_and_changes_nothing_else(shortcut: str) -> None:
    spec = SHORTCUT[shortcut]
    usual, swapped = shortcut_split(spec), shortcut_split(spec, swapped=True)
    assert (swapped.values != usual.split.labels).all() and swapped.values.unique().tolist() == list(range(10))
    assert torch.equal(swapped.split.labels, usual.split.labels)
    assert torch.equal(swapped.split.masks, usual.split.masks) and torch.equal(swapped.shortcut, usual.shortcut)
    changed = (swapped.split.images != usual.split.images).any(1)
    assert not (changed & ~usual.shortcut).any() and not (usual.shortcut & usual.split.masks).any()
    differ = swapped.values != usual.values
    assert (changed & usual.shortcut)[differ].sum() / usual.shortcut[differ].sum() > 0.95
    assert not changed[~differ].any()


@pytest.mark.parametrize("shortcut", ["corner", "hue"])
def test_planting_changes_only_the_shortcuts_pixels(plain: Dataset, shortcut: str) -> None:
    made = shortcut_split(SHORTCUT[shortcut], "train")
    assert torch.equal(made.split.labels, plain.train.labels)
    changed = (made.split.images != plain.train.images).any(1)
    assert not (changed & ~made.shortcut).any()
    if shortcut == "corner":
        assert made.shortcut.sum((1, 2)).unique().tolist() == [CORNER**2] and made.shortcut[:, :CORNER, :CORNER].all()


@pytest.mark.parametrize("shortcut", ["corner", "hue"])
def test_value_can_be_read_off_the_shortcuts_pixels(shortcut: str) -> None:
    """The palette's colour nearest to the pixels' mean is the value: always in the corner, mostly in a cluttered background."""
    made = shortcut_split(SHORTCUT[shortcut])
    pixels, where = made.split.images.float(), made.shortcut[:, None]
    mean = (pixels * where).sum((2, 3)) / where.sum((2, 3))
    hue = mean - mean.mean(1, keepdim=True)
    read = (hue @ torch.from_numpy(shapes.PALETTE).T).argmax(1)
    assert (read == made.values).float().mean() > (0.999 if shortcut == "corner" else 0.95)


def test_swap_by_data_set() -> None:
    dataset = load("shapes:corner=0.9/0.5,seed=3,train=40,test=30")
    assert dataset.name == "shapes:corner=0.9/0.5,seed=3,train=40,test=30"
    assert "probability 0.9 in training and 0.5 in the test split" in dataset.provenance.note
    spec = Spec(40, 30, 3, "corner", 0.9, 0.5)
    assert torch.equal(dataset.test.images, shortcut_split(spec).split.images)
    swapped = swap_shortcut(dataset)
    assert torch.equal(swapped.split.images, shortcut_split(spec, swapped=True).split.images)
    assert torch.equal(swap_shortcut(dataset.subset(test=10)).split.images, swapped.split.images[:10])
    with pytest.raises(DataError, match="has no shortcut to swap"):
        swap_shortcut(make_shapes(3, 3))


@given(st.builds(Spec, st.integers(1, 99), st.integers(1, 99), st.integers(0, 2**64 - 1), st.sampled_from(["corner", "hue"]),
                 st.integers(0, 100).map(lambda n: n / 100), st.integers(0, 100).map(lambda n: n / 100)))
def test_name_says_it_all(spec: Spec) -> None:
    assert Spec.parse(spec.name) == spec


def test_names_as_written_by_people() -> None:
    assert Spec.parse("shapes") == Spec() and Spec().name == "shapes"
    assert Spec.parse("shapes:hue=.90") == Spec(shortcut="hue", train_correlation=0.9, test_correlation=0.9)
    assert Spec.parse("shapes:hue=.90").name == "shapes:hue=0.9"
    for wrong in ({"shortcut": "smell"}, {"train_correlation": 0.5}, {"train": 0}, {"seed": -1},
                  {"shortcut": "hue", "test_correlation": float("nan")}):
        with pytest.raises(DataError, match="shapes: "):
            Spec(**wrong)


def test_draws_are_uniform_and_apart() -> None:
    draws = Draws(0, 0, 0)
    counts = np.bincount(draws.below(10, 20_000), minlength=10)
    assert np.abs(counts - 2000).max() <= 5 * np.sqrt(20_000 * 0.09)
    between = Draws(0, 0, 0).between(-2, 6, 20_000)
    assert between.min() >= -2 and between.max() < 6 and abs(between.mean() - 2) <= 5 * 8 / np.sqrt(12 * 20_000)
    streams = [Draws(*key).bytes(64).tobytes() for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len(set(streams)) == 4


def test_hue_changes_no_brightness() -> None:
    assert np.abs(chroma(TURNS).sum(-1)).max() < 1e-5
    assert np.abs(np.linalg.norm(chroma(TURNS), axis=-1) - 1).max() < 0.01
