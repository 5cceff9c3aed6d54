"""The benchmarks of data path, memory and start-up: what they compare is the same work, and sums are right."""

from __future__ import annotations

import subprocess
from itertools import islice

import pytest
import torch

from benchmarks import convolutions, data_path, loaders, memory, startup
from benchmarks.loaders import Source, Task
from speedcore.data.dataset import Split
from speedcore.kernels import winograd
from speedcore.recipe import Augment, SGDConfig
from speedcore.techniques.augment import Normalise
from tests.speedcore import toys

NORMALISE = Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
LOADERS = {"ours": loaders.ours(torch.float32), "tensors": loaders.torchvision(0, pil=False),
           "PIL": loaders.torchvision(0, pil=True), "a batch": loaders.torchvision_a_batch(),
           "airbench": loaders.airbench_method(torch.float32)}


def plain(n: int) -> Source:
    """Image i is all grey level 10 i: what crops and flips leave as it is."""
    level = 10 * torch.arange(n, dtype=torch.uint8)
    return Source(Split(level.view(n, 1, 1, 1).expand(n, 3, 8, 8).contiguous(), torch.arange(n)), NORMALISE)


@pytest.mark.parametrize("who", LOADERS)
@pytest.mark.parametrize("augment", [Augment(crop=2, flip="alternating"), Augment(crop=3, flip="random")])
def test_everyone_hands_out_each_image_once_an_epoch_normalised(who: str, augment: Augment) -> None:
    source = plain(12)
    stream = LOADERS[who](source, Task("", augment, 4))
    for _ in range(2):
        epoch = torch.cat(list(islice(stream, 3)))
        assert epoch.dtype == torch.float32
        order = epoch[:, 0, 0, 0].argsort()
        torch.testing.assert_close(epoch[order], NORMALISE(source.split.images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("who", LOADERS)
def test_everyone_erases_a_square_of_each_image(who: str) -> None:
    source = plain(12)
    batch = next(LOADERS[who](source, Task("", Augment(crop=3, flip="random", cutout=4), 4)))
    away = batch.abs() < 0.02  # the mean, up to half a grey level; no image is of that colour
    assert (away.sum((1, 2, 3)) == 3 * 16).all()


def test_the_shifts_of_airbenchs_method_are_crops() -> None:
    padded = torch.randn(30, 3, 14, 14)
    for k in (1, 3):  # the two ways that it has
        shifts = torch.randint(2 * k + 1, (30, 2), generator=torch.Generator().manual_seed(k))
        out = loaders._shifted(padded, shifts, k, (14 - 2 * k, 14 - 2 * k))
        for image, wide, (y, x) in zip(out, padded, shifts.tolist(), strict=True):
            assert torch.equal(image, wide[:, y:y + 14 - 2 * k, x:x + 14 - 2 * k])


def test_who_is_not_installed_is_left_out_by_name(monkeypatch) -> None:
    def absent(source, task):
        import a_package_that_is_not_there  # noqa: F401
        yield

    contestants = (data_path.Contestant("ours", LOADERS["ours"], 8, None), data_path.Contestant("absent", absent, 8, "ours"),
                   data_path.Contestant("theirs", LOADERS["airbench"], 8, "ours"))
    monkeypatch.setattr(data_path, "CONTESTANTS", contestants)
    missing = {}
    rows = data_path.compare(plain(12), Task("task", Augment(crop=2), 4), 3, missing)
    assert [row["who"] for row in rows] == ["ours", "theirs"] and "a_package_that_is_not_there" in missing["absent"]
    assert 0 < rows[1]["min"] <= rows[1]["ours / theirs"] <= rows[1]["max"]


def test_what_a_step_must_hold_is_counted() -> None:
    data, recipe = toys.dataset(), toys.recipe(optimizer=SGDConfig(lr=0.1))
    parts = memory.of_a_step(data, recipe, torch.device("cpu"))
    assert parts["parameters"] >= parts["gradients"]
    assert parts["optimiser state"] == parts["gradients"] > 0  # one momentum a trainable parameter
    twice = memory.of_a_step(data, recipe.changed(batch_size=2 * recipe.batch_size), torch.device("cpu"))
    assert twice.pop("activations of a batch") == pytest.approx(2 * parts.pop("activations of a batch"), rel=0.05)
    assert twice == parts


def test_a_storage_counts_once() -> None:
    whole = torch.zeros(10)
    assert memory.size_of([whole, whole[2:], whole.view(2, 5), torch.zeros(3)]) == 40 + 12


def test_a_program_that_fails_is_no_measurement() -> None:
    assert startup.seconds(["-c", "pass"]) > 0
    with pytest.raises(subprocess.CalledProcessError):
        startup.seconds(["-c", "raise SystemExit(1)"])


@pytest.mark.skipif(winograd.library() is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(("precision", "limits"), [("bf16", {"torch": 0.4, "winograd": 2, "winograd8": 6}),
                                                   ("fp32", {"torch": 6e-5, "winograd": 3e-4})])
def test_ways_to_convolve_are_timed_in_turns_and_compared_with_fp64(
        precision: str, limits: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "backends", lambda precision: tuple(limits))
    row = convolutions.layer(32, 32, 7, 4, 3, precision)
    least = 0.0
    for way, limit in limits.items():
        assert least < row[f"error {way} %"] < limit
        least = row[f"error {way} %"]
        if way != "torch":
            assert row[f"{way} from"] <= row[f"{way} / direct"] <= row[f"{way} to"] and row[f"{way} s"] > 0
