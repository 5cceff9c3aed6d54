"""Operations of every network, against numbers worked out by hand: multiplications are counted, two operations each."""

from __future__ import annotations

import pytest

from speedcore import recipes
from speedcore.planning import flops
from speedcore.recipe import DavidNetConfig, DigitNetConfig, PageNetConfig, PreactNetConfig, RecordNetConfig

# Multiplications of the layers for one image, from the first to the last: side² · filter² · inputs · outputs.
DAVIDNET = [32**2 * 9 * 3 * 64, 32**2 * 9 * 64 * 128, 16**2 * 9 * 128**2, 16**2 * 9 * 128**2, 16**2 * 9 * 128 * 256,
            8**2 * 9 * 256 * 512, 4**2 * 9 * 512**2, 4**2 * 9 * 512**2, 512 * 10]
WHITENED = [32**2 * 9 * 3 * 27, 32**2 * 27 * 64, *DAVIDNET[1:]]
PREACT = [32**2 * 9 * 3 * 64, 4 * 32**2 * 9 * 64**2,                                        # prep, two blocks of two
          16**2 * 9 * 64 * 128, 3 * 16**2 * 9 * 128**2, 16**2 * 64 * 128,                   # the last of each: 1×1 shortcut
          8**2 * 9 * 128 * 256, 3 * 8**2 * 9 * 256**2, 8**2 * 128 * 256,
          4 * 4**2 * 9 * 256**2, 4**2 * 256 * 256, 512 * 10]
RECORD = [31**2 * 12 * 24, 31**2 * 9 * 24 * 64, 15**2 * 9 * 64**2, 15**2 * 9 * 64 * 256, 7**2 * 9 * 256**2, 7**2 * 9 * 256**2,
          3**2 * 9 * 256**2, 256 * 10]
FIRST_STEP = [26**2 * 9 * 32, 24**2 * 9 * 32 * 64, 9216 * 128, 128 * 10]
LAST_STEP = [24**2 * 25 * 24, 10**2 * 9 * 24 * 32, 800 * 256, 256 * 10]


@pytest.mark.parametrize(("spec", "channels", "size", "layers", "spared"), [
    # Spared in the backward pass: the gradient of the image; of frozen filters; of what comes before nothing that is trained.
    (DavidNetConfig(), 3, 32, DAVIDNET, DAVIDNET[0]),
    (DavidNetConfig(), 1, 28, [32**2 * 9 * 64, *DAVIDNET[1:]], 32**2 * 9 * 64),       # digits are padded to 32×32
    (PageNetConfig(), 3, 32, DAVIDNET, DAVIDNET[0]),
    (PageNetConfig(prep="whiten", norm_scales="frozen"), 3, 32, WHITENED, 2 * WHITENED[0] + WHITENED[1]),
    (PreactNetConfig(), 3, 32, PREACT, PREACT[0]),
    (RecordNetConfig(), 3, 32, RECORD, 2 * RECORD[0]),                          # the whitening's bias is trained, its filters not
    (DigitNetConfig(first_pool=False), 1, 28, FIRST_STEP, FIRST_STEP[0]),
    (DigitNetConfig(widths=(24, 32), first_kernel=5, hidden=256), 1, 28, LAST_STEP, LAST_STEP[0]),
])
def test_operations_by_hand(spec, channels: int, size: int, layers: list[int], spared: int) -> None:
    work = flops.count(spec, channels, (size, size), 10)
    assert work.forward == 2 * sum(layers)
    assert work.step == 2 * (3 * sum(layers) - spared)


def test_the_series_number() -> None:
    """"Around 2.8E09" for an image, forward and backward."""
    assert flops.count(PreactNetConfig(), 3, (32, 32), 10).step == pytest.approx(2.8e9, rel=0.03)


def test_a_bias_that_is_frozen_on_the_way_makes_steps_cheaper() -> None:
    recipe = recipes.get("airbench94", "cifar10")
    end = recipe.optimizer.whiten_bias.schedule.end
    assert 0 < end < 1
    network = recipe.network
    before = flops.count(network, 3, (32, 32), 10).step
    after = flops.count(network, 3, (32, 32), 10, ("whiten.bias",)).step
    # Without it nothing is trained before the first stage, whose filters then need no gradient of their inputs.
    assert before - after == 2 * RECORD[1]
    found = flops.of_recipe(recipe, 3, (32, 32), 10)
    assert after < found.step < before and found.step == pytest.approx(after + end * (before - after))


def test_the_articles_recipe_is_its_network() -> None:
    recipe = recipes.get("article", "cifar10")
    assert flops.of_recipe(recipe, 3, (32, 32), 10) == flops.count(recipe.network, 3, (32, 32), 10)
