"""Order of samples, whole batches, and stored epochs that are the device's own to the bit."""

from __future__ import annotations

import shutil
from collections import namedtuple
from itertools import islice
from pathlib import Path

import pytest
import torch

from speedcore.data import batches as batching
from speedcore.data import precompute
from speedcore.data.batches import Batches
from speedcore.data.dataset import Part, Split
from speedcore.data.precompute import PrecomputedEpochs
from speedcore.errors import DataError
from speedcore.recipe import Augment, AverageConfig
from speedcore.store.runs import RunStore
from speedcore.techniques.augment import Normalise
from speedcore.training.loop import train
from tests.speedcore import toys

PLAIN = Augment()
FULL = Augment(crop=2, flip="alternating", cutout=3)


def numbered(n: int) -> Split:
    """Image i is all i, and so is its label."""
    number = torch.arange(n)
    return Split(number.byte().view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous(), number)


def batches(n: int = 23, batch: int = 5, augment: Augment = PLAIN, seed: int = 0) -> Batches:
    return Batches(numbered(n), augment, batch, seed, Normalise((0.5,), (0.5,)))


def test_each_epoch_is_a_permutation_without_the_last_partial_batch() -> None:
    stream = batches()
    assert stream.steps_per_epoch == 4
    seen = [labels for _, labels in islice(stream, 12)]
    assert all(len(labels) == 5 for labels in seen)
    epochs = [torch.cat(seen[i:i + 4]) for i in (0, 4, 8)]
    for epoch in epochs:
        assert len(epoch.unique()) == 20
    assert not torch.equal(epochs[0], epochs[1])
    # Which three are left out is chance as well: over many epochs everything is seen.
    assert len(torch.cat([labels for _, labels in islice(batches(), 40)]).unique()) == 23


def test_images_stay_with_their_labels() -> None:
    for images, labels in islice(batches(augment=Augment(crop=1, flip="random")), 8):
        assert torch.equal(images[:, 0, 0, 0].long(), labels)


def test_the_order_is_the_seeds_alone() -> None:
    def order(**options) -> list:
        return torch.cat([labels for _, labels in islice(batches(**options), 12)]).tolist()

    assert order(augment=FULL) == order() == order(augment=Augment(flip="random"))
    assert order(seed=1) != order()
    assert order(seed=1, augment=FULL) == order(seed=1)


def test_a_stream_can_be_read_again_from_the_start() -> None:
    stream = batches(augment=FULL)
    first, again = (list(islice(stream, 9)) for _ in range(2))
    assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(first, again, strict=True))


def test_batches_of_a_part_are_those_of_a_copy_of_it() -> None:
    whole, rows = numbered(40), torch.arange(3, 40, 2)
    part, copy = (Batches(s, FULL, 5, 3, Normalise((0.5,), (0.5,))) for s in (Part(whole, rows), whole.take(rows)))
    assert part.steps_per_epoch == copy.steps_per_epoch == 3
    for (images, labels), (same, same_labels) in islice(zip(part, copy, strict=False), 7):
        assert torch.equal(images, same) and torch.equal(labels, same_labels)
        assert (labels % 2 == 1).all()


@pytest.mark.parametrize("drop_last", [True, False])
def test_how_many_batches_are_augmented_at_once_changes_nothing(monkeypatch, drop_last: bool) -> None:
    def stream(pixels: int) -> list:
        monkeypatch.setattr(batching, "_AT_ONCE", pixels)
        made = Batches(numbered(23), FULL, 5, 3, Normalise((0.5,), (0.5,)), drop_last=drop_last)
        return list(islice(made, 2 * made.steps_per_epoch + 1))

    one, two, all_ = (stream(pixels) for pixels in (1, 2 * 5 * 16, 10**6))
    assert [len(labels) for _, labels in one] == ([5] * 9 if drop_last else [5, 5, 5, 5, 3] * 2 + [5])
    for several in (two, all_):
        for (images, labels), (same, same_labels) in zip(one, several, strict=True):
            assert torch.equal(images, same) and torch.equal(labels, same_labels)


def test_augmentation_moves_with_the_seed() -> None:
    data = toys.dataset().train
    one, other = (next(iter(Batches(data, Augment(crop=4), 160, seed, Normalise((0.5,), (0.5,))))) for seed in (0, 1))
    assert not torch.equal(one[0].sum((1, 2, 3)).sort().values, other[0].sum((1, 2, 3)).sort().values)


def test_alternating_flip_mirrors_each_image_every_other_epoch() -> None:
    picture = torch.zeros(6, 1, 2, 2, dtype=torch.uint8)
    picture[:, 0, :, 0] = 200  # bright on the left
    stream = Batches(Split(picture, torch.arange(6)), Augment(flip="alternating"), 6, 0, Normalise((0.5,), (0.5,)))
    epochs = []
    for images, labels in islice(stream, 4):
        epochs.append({int(label): bool(image[0, 0, 0] == 0) for image, label in zip(images, labels, strict=True)})
    for label in range(6):
        flips = [epoch[label] for epoch in epochs]
        assert flips[0] == flips[2] != flips[1] == flips[3]


def test_a_batch_larger_than_the_split_is_an_error() -> None:
    with pytest.raises(DataError, match="24.*23 images.*batch_size"):
        batches(batch=24)


# --- stored epochs ---------------------------------------------------------------------------------------------------

def test_stored_epochs_are_to_the_bit_what_the_device_makes(tmp_path: Path) -> None:
    live = Batches(toys.dataset(channels=3).train, FULL, 40, 7, Normalise((0.4, 0.5, 0.6), (0.2,) * 3))
    with PrecomputedEpochs(live, 10, tmp_path / "epochs") as stored:
        assert stored.bytes == 10 * 40 * 16 * 16 * 3
        for _ in range(2):
            pairs = list(stored)
            assert len(pairs) == 10
            for (images, labels), (kept, kept_labels) in zip(islice(live, 10), pairs, strict=True):
                assert torch.equal(images, kept) and torch.equal(labels, kept_labels)
    assert not (tmp_path / "epochs").exists()


@pytest.mark.parametrize("changes", [{}, {"channels_last": True, "precision": "bf16", "average": AverageConfig(every=2)}])
def test_both_data_modes_train_the_same_weights(store: RunStore, changes: dict) -> None:
    recipe = toys.recipe(**changes)
    device, stored = (train(toys.dataset(), toys.job(recipe.changed(data=mode), 9, key=mode), store)
                      for mode in ("device", "precomputed"))
    assert device.record.weights_sha256 == stored.record.weights_sha256
    assert stored.record.ledger["precompute"] > 0 and "precompute" not in device.record.ledger
    assert stored.record.clocks["article"] == stored.record.ledger["train"]
    assert stored.record.clocks["everything"] >= stored.record.ledger["train"] + stored.record.ledger["precompute"]
    assert {path.name for path in store.root.iterdir()} == {"device", "precomputed"}  # the store of epochs is gone


def test_too_little_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 100, 100))
    with pytest.raises(DataError, match='0.0 GB free; free some, or train with data = "device"'):
        PrecomputedEpochs(batches(), 10, tmp_path / "epochs")
    assert not (tmp_path / "epochs").exists()


def test_a_disk_that_fills_up_is_an_error_that_leaves_nothing_of_ours(tmp_path: Path, monkeypatch) -> None:
    """And leaves what else the folder held."""
    (tmp_path / "mine.txt").write_text("mine")

    def fills_up(stream, steps):
        yield from islice(stream, steps - 1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(precompute, "islice", fills_up)
    with pytest.raises(DataError, match="cannot be written.*No space left"):
        PrecomputedEpochs(batches(), 4, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_store_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    with PrecomputedEpochs(batches(), 4, tmp_path / "epochs") as stored:
        path = next((tmp_path / "epochs").glob("images*"))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match="shorter than when it was written"):
            list(stored)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="file"):
        PrecomputedEpochs(batches(), 4, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_order_and_augmentation_are_drawn_from_different_streams() -> None:
    """A CPU's generator looks at the lower 32 bits of a seed alone: a seed 2³² further on is the same one."""
    from speedcore.data.batches import augmentation_seed

    def stream(seed: int) -> torch.Tensor:
        return torch.rand(8, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(stream(5), stream(5 + 2**32))
    assert not any(torch.equal(stream(seed), stream(augmentation_seed(seed))) for seed in range(100))
    assert len({augmentation_seed(seed) for seed in (0, 1, 2**31 - 1)}) == 3
