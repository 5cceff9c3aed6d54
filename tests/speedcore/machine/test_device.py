"""One place resolves devices, and says what is wrong with one that is not there."""

from __future__ import annotations

import pytest
import torch

from speedcore.errors import UserError
from speedcore.machine import device, gpu


@pytest.fixture(autouse=True)
def kernels(monkeypatch) -> None:
    monkeypatch.setattr(gpu, "has_kernels", lambda device: True)


@pytest.mark.parametrize(("there", "expected"), [({"cuda": 2, "mps": 0}, "cuda"), ({"cuda": 0, "mps": 1}, "mps"),
                                                 ({"cuda": 0, "mps": 0}, "cpu")])
def test_auto_prefers_gpus(monkeypatch, there, expected):
    monkeypatch.setattr(device, "_count", lambda kind: there.get(kind, 1))
    assert device.resolve("auto") == torch.device(expected)


def test_what_is_there_is_taken_by_name_or_as_a_device(monkeypatch):
    monkeypatch.setattr(device, "_count", {"cuda": 2, "mps": 0, "cpu": 1}.get)
    assert device.resolve("cuda:1") == device.resolve(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert device.resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "message"), [
    ("cuda", "torch sees no CUDA device"), ("mps", "torch sees no MPS device"), ("tpu", "is not supported"),
    ("cuda:x", "is no device"), ("", "is not supported")])
def test_what_is_not_there_is_named(monkeypatch, name, message):
    monkeypatch.setattr(device, "_count", {"cuda": 0, "mps": 0, "cpu": 1}.get)
    with pytest.raises(UserError, match=message):
        device.resolve(name)


def test_too_high_a_number_is_named(monkeypatch):
    monkeypatch.setattr(device, "_count", {"cuda": 2, "mps": 0, "cpu": 1}.get)
    with pytest.raises(UserError, match="torch sees only 2 CUDA devices here"):
        device.resolve("cuda:2")
