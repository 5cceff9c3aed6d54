"""Augmentation by hand on images small enough to write down."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speedcore.recipe import Augment
from speedcore.techniques.augment import AugmentationParameters, Augmenter, Normalise, sample
from tests.speedcore import toys

IMAGE = torch.arange(1, 10, dtype=torch.uint8).view(1, 1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9


def parameters(top=None, left=None, mirrored=None, cut=None) -> AugmentationParameters:
    """Choices for one image."""
    def one(value, dtype=torch.int64):
        return None if value is None else torch.tensor([value], dtype=dtype)

    cut_top, cut_left = cut or (None, None)
    return AugmentationParameters(one(top), one(left), one(mirrored, torch.bool), one(cut_top), one(cut_left))


def augmented(augment: Augment, chosen: AugmentationParameters, image=IMAGE, fill=(99,)) -> list:
    out = Augmenter(augment, tuple(image.shape[2:]), fill)(image, chosen)
    assert out.shape == image.shape and out.dtype == torch.uint8
    return out[0, 0].tolist()


def padded(augment: Augment, image=IMAGE, fill=(99,)) -> list:
    """The padded picture, put together from all the crops that can be cut from it."""
    h, w = image.shape[2:]
    whole = torch.full((h + 2 * augment.crop, w + 2 * augment.crop), -1)
    for top in range(2 * augment.crop + 1):
        for left in range(2 * augment.crop + 1):
            place = whole[top:top + h, left:left + w]
            crop = torch.tensor(augmented(augment, parameters(top, left), image, fill))
            assert ((place == crop) | (place == -1)).all()  # two crops agree about the pixels that they share
            place.copy_(crop)
    return whole.tolist()


def test_padding_by_hand() -> None:
    assert padded(Augment(crop=1)) == [[5, 4, 5, 6, 5], [2, 1, 2, 3, 2], [5, 4, 5, 6, 5], [8, 7, 8, 9, 8], [5, 4, 5, 6, 5]]


def test_padding_wider_than_the_image_is_mirrored_to_and_fro() -> None:
    """1 2 3 between mirrors: ... 1 2 3 2 1 2 3 2 1 ..."""
    whole = padded(Augment(crop=5), torch.tensor([1, 2, 3], dtype=torch.uint8).view(1, 1, 1, 3))
    wave = [1, 2, 3, 2]
    assert whole == [[wave[i % 4] for i in range(-5, 8)]] * 11


@given(st.integers(0, 2**31), st.integers(0, 3), st.integers(0, 6),
       st.sampled_from(["none", "random"]), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_a_batch_is_what_torch_makes_of_each_image(seed, crop, cutout, flip, channels) -> None:
    """Pad, cut out of the padded image, flip, erase: image by image, with torch's own operations."""
    size, fill = (7, 5), (10, 20, 30)[:channels]
    augment, generator = Augment(crop=crop, flip=flip, cutout=cutout), torch.Generator().manual_seed(seed)
    images = torch.randint(256, (9, channels, *size), dtype=torch.uint8, generator=generator)
    before, drawn = images.clone(), sample(augment, 9, size, 0, generator)
    colour = torch.tensor(fill, dtype=torch.float).view(-1, 1, 1)
    expected = []
    for i, image in enumerate(images.float()):
        if crop:
            wide = torch.nn.functional.pad(image[None], (crop,) * 4, mode="reflect")[0]
            image = wide[:, drawn.top[i]:drawn.top[i] + 7, drawn.left[i]:drawn.left[i] + 5]
        if flip == "random" and drawn.mirrored[i]:
            image = image.flip(-1)
        if cutout:
            image = image.clone()
            image[:, drawn.cut_top[i]:drawn.cut_top[i] + cutout, drawn.cut_left[i]:drawn.cut_left[i] + cutout] = colour
        expected.append(image.byte())
    assert torch.equal(Augmenter(augment, size, fill)(images, drawn), torch.stack(expected))
    assert torch.equal(images, before)


@pytest.mark.parametrize(("top", "left", "rows"), [
    (1, 1, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),       # the middle of the padded image is the image
    (0, 0, [[5, 4, 5], [2, 1, 2], [5, 4, 5]]),
    (2, 1, [[4, 5, 6], [7, 8, 9], [4, 5, 6]]),
    (1, 2, [[2, 3, 2], [5, 6, 5], [8, 9, 8]]),
])
def test_crop_by_hand(top: int, left: int, rows: list) -> None:
    assert augmented(Augment(crop=1), parameters(top, left)) == rows


def test_flip_by_hand() -> None:
    flip = Augment(flip="random")
    assert augmented(flip, parameters(mirrored=True)) == [[3, 2, 1], [6, 5, 4], [9, 8, 7]]
    assert augmented(flip, parameters(mirrored=False)) == IMAGE[0, 0].tolist()


def test_crop_comes_before_the_flip() -> None:
    """The mirror of the crop at (1, 2): 2 3 2 / 5 6 5 / 8 9 8, read from the right."""
    rows = augmented(Augment(crop=1, flip="random"), parameters(1, 2, True), image=IMAGE)
    assert rows == [[2, 3, 2], [5, 6, 5], [8, 9, 8]]


@pytest.mark.parametrize(("at", "rows"), [
    ((0, 0), [[99, 99, 3], [99, 99, 6], [7, 8, 9]]), ((1, 1), [[1, 2, 3], [4, 99, 99], [7, 99, 99]])])
def test_cutout_by_hand(at: tuple[int, int], rows: list) -> None:
    assert augmented(Augment(cutout=2), parameters(cut=at)) == rows


def test_cutout_leaves_each_channels_own_mean() -> None:
    image = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    out = Augmenter(Augment(cutout=1), (3, 3), (7, 8, 9))(image, parameters(cut=(1, 1)))
    assert out[0, :, 1, 1].tolist() == [7, 8, 9]
    assert int(out.sum()) == 24


def test_cutout_hides_the_same_place_whether_flipped_or_not() -> None:
    both = Augment(cutout=1, flip="random")
    assert augmented(both, parameters(mirrored=True, cut=(0, 0))) == [[99, 2, 1], [6, 5, 4], [9, 8, 7]]


def test_each_picked_image_has_its_own_choices() -> None:
    images = torch.stack([IMAGE[0], IMAGE[0] + 10, IMAGE[0] + 20])
    chosen = AugmentationParameters(None, None, torch.tensor([True, False, False]), None, None)
    index = torch.tensor([2, 0])
    out = Augmenter(Augment(flip="random"), (3, 3), (0,))(images[index], chosen.take(index))
    assert out[:, 0, 0].tolist() == [[21, 22, 23], [3, 2, 1]]


# --- choices ---------------------------------------------------------------------------------------------------------

def test_choices_are_uniform_over_what_is_possible() -> None:
    """Chi-square-like bound: each of k values within 6 standard deviations of n/k."""
    n, augment = 20_000, Augment(crop=2, flip="random", cutout=4)
    drawn = sample(augment, n, (8, 6), 0, torch.Generator().manual_seed(3))
    for values, count in ((drawn.top, 5), (drawn.left, 5), (drawn.mirrored.long(), 2), (drawn.cut_top, 5), (drawn.cut_left, 3)):
        seen = torch.bincount(values, minlength=count)
        assert len(seen) == count
        assert (seen - n / count).abs().max() < 6 * (n / count) ** 0.5
    pairs = torch.bincount(drawn.top * 5 + drawn.left, minlength=25)
    assert (pairs - n / 25).abs().max() < 6 * (n / 25) ** 0.5


def test_what_is_off_is_not_drawn() -> None:
    assert sample(Augment(), 5, (8, 8), 0, torch.Generator()) == AugmentationParameters(None, None, None, None, None)


@given(st.integers(0, 2**31), st.integers(1, 20))
def test_alternating_flip_shows_every_image_both_ways_in_any_two_epochs(seed: int, epoch: int) -> None:
    augment, generator = Augment(flip="alternating"), torch.Generator().manual_seed(seed)
    first = sample(augment, 50, (4, 4), 0, generator).mirrored
    one, two = (sample(augment, 50, (4, 4), e, generator, first).mirrored for e in (epoch, epoch + 1))
    assert torch.equal(one, ~two)
    assert torch.equal(sample(augment, 50, (4, 4), 2 * epoch, generator, first).mirrored, first)


# --- normalisation ---------------------------------------------------------------------------------------------------

def test_normalisation_by_hand() -> None:
    images = torch.tensor([[[[0, 255]], [[51, 102]]]], dtype=torch.uint8)  # 0, 1 and 0.2, 0.4
    out = Normalise((0.5, 0.1), (0.25, 0.5))(images)
    torch.testing.assert_close(out, torch.tensor([[[[-2.0, 2.0]], [[0.2, 0.6]]]]))


def test_a_normalised_training_split_has_mean_zero_and_deviation_one() -> None:
    data = toys.dataset(channels=3)
    x = Normalise.of(data)(data.train.images).double()
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3, dtype=torch.double), atol=1e-6, rtol=0)


def test_what_padding_leaves_is_zero_to_half_a_grey_level() -> None:
    normalise = Normalise((0.4914, 0.1307), (0.25, 0.3))
    assert normalise.fill == (125, 33)  # 125.3 and 33.3
    erased = normalise(torch.tensor(normalise.fill, dtype=torch.uint8).view(1, 2, 1, 1)).flatten()
    assert (erased.abs() <= 0.5 / 255 / torch.tensor(normalise.std)).all()
