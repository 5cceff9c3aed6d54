"""As many rows as fit: by the memory that is free, and half as many where that was not enough."""

from __future__ import annotations

import pytest
import torch

from speedcore.machine.room import images_at_once, in_parts, ran_out
from speedcore.networks.recordnet import RecordNet
from speedcore.recipe import RecordNetConfig
from speedcore.techniques.augment import Normalise
from speedcore.training import evaluate
from tests.simulated import simulated


def scarce(limit: int, seen: list[tuple[int, int]], error: Exception):
    """Work on rows that runs out of memory above `limit` of them."""
    def work(start: int, end: int) -> list[int]:
        seen.append((start, end))
        if end - start > limit:
            raise error
        return list(range(start, end))
    return work


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError(),
                                   RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
                                   RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")])
def test_rows_are_halved_from_where_memory_ran_out(error: Exception) -> None:
    seen: list[tuple[int, int]] = []
    made = in_parts(scarce(3, seen, error), 10, 8)
    assert sum(made, []) == list(range(10))
    assert seen == [(0, 8), (0, 4), (0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]


def test_other_errors_and_single_rows_are_not_tried_again() -> None:
    for error, calls in ((RuntimeError("shapes differ"), 1), (torch.OutOfMemoryError("CUDA out of memory."), 3)):
        seen: list[tuple[int, int]] = []
        with pytest.raises(type(error), match=str(error)):
            in_parts(scarce(0, seen, error), 4, 4)
        assert len(seen) == calls
    assert not ran_out(None) and not ran_out(ValueError("x"))


def test_a_gpu_takes_what_half_of_its_free_memory_holds() -> None:
    image = 4 * 512 * 32 * 32  # bytes that a pass is reckoned to need of each
    for free, expected in ((2 * image * 7, 7), (2 * image * 7 - 1, 6), (1 << 40, 2000), (1, 1)):
        with simulated("cuda", free_bytes=free) as gpu:
            assert images_at_once(gpu.device, (32, 32), 2000) == expected
    assert images_at_once(torch.device("cpu"), (32, 32), 250) == 250


@pytest.mark.parametrize("shifts", [False, True])
def test_an_evaluation_is_the_same_in_smaller_parts_and_leaves_the_network_as_it_came(shifts: bool) -> None:
    from speedcore.recipe import TTAConfig

    network = RecordNet(1, (16, 16), 3, **RecordNetConfig(widths=(8, 8)).model_dump(exclude={"kind"}))
    images = torch.randint(0, 256, (10, 1, 16, 16), dtype=torch.uint8)
    views = TTAConfig(mirror=True, shifts=True) if shifts else None
    expected = evaluate.logits(network, images, Normalise((0.5,), (0.25,)), batch_size=10, views=views)
    calls = []

    def full(module, inputs, output):
        calls.append(len(output))
        if len(output) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    network.head.register_forward_hook(full)
    found = evaluate.logits(network, images, Normalise((0.5,), (0.25,)), batch_size=10, views=views)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert max(calls) == 10 and min(calls) <= 3 and network.training
