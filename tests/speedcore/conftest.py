"""One thread for every test here: results depend on the count, and tiny tensors are slower on more."""

from __future__ import annotations

import pytest
import torch

from speedcore.store.runs import RunStore


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")
