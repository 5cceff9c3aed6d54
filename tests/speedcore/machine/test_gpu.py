"""GPUs that torch has no kernels for are named as that; what is known of one is on record; a switch goes back."""

from __future__ import annotations

import pytest
import torch

from speedcore.errors import UserError
from speedcore.machine import gpu, provenance
from speedcore.machine.device import resolve
from speedcore.store.runs import RunStore
from speedcore.training.loop import train
from tests.simulated import simulated
from tests.speedcore import toys

WHEEL = ("sm_75", "sm_80", "sm_86", "sm_90a", "compute_100")


@pytest.mark.parametrize(("capability", "runs"), [
    ((6, 1), False), ((7, 0), False), ((7, 5), True), ((8, 0), True), ((8, 6), True), ((8, 9), True),  # within a generation
    ((9, 0), True), ((9, 1), False), ((10, 0), True), ((12, 0), True)])  # for one alone; intermediate code for all later ones
def test_a_gpu_is_told_before_its_first_kernel_whether_it_has_any(capability: tuple[int, int], runs: bool) -> None:
    with simulated("cuda", capability=capability, architectures=WHEEL):
        if runs:
            assert resolve("auto") == resolve("cuda") == torch.device("cuda")
            return
        assert resolve("auto") == torch.device("cpu")  # which works
        says = f"Simulated is sm_{capability[0]}{capability[1]}, for which this torch .* has no kernels .* sm_75, sm_80"
        with pytest.raises(UserError, match=says):
            resolve("cuda")


def test_what_is_known_of_a_gpu_is_on_record(monkeypatch, tmp_path) -> None:
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: 12\n")
    monkeypatch.setattr(gpu, "_DRIVER", driver)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    with simulated("cuda", capability=(7, 5)) as there:
        assert gpu.facts(there.device) == {"capability": "sm_75", "cuda": "12.8", "cudnn": "91002", "driver": "570.86.15"}
        known = provenance.collect(there.device)
        assert known["device"] == "cuda: Simulated" and known["driver"] == "570.86.15"
        driver.unlink()
        assert gpu.facts(there.device)["driver"] is None
    assert gpu.facts(torch.device("cpu")) == {}
    assert provenance.describe_device("mps").startswith("mps: ")


def test_the_quickest_of_cudnns_ways_is_looked_for_in_training_alone(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    with simulated("cuda"):
        run = train(toys.dataset(train=32, test=8), toys.job(toys.recipe(batch_size=16), 2), RunStore(tmp_path), "cuda")
    assert run.record.provenance["cudnn_benchmark"] is True
    assert torch.backends.cudnn.benchmark is False
    with pytest.raises(ZeroDivisionError), gpu.tuned(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark is True
        raise ZeroDivisionError
    assert torch.backends.cudnn.benchmark is False
    with gpu.tuned(torch.device("cpu")):
        assert torch.backends.cudnn.benchmark is False
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    with gpu.tuned(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark is False
