"""The same loop on CUDA: what a CPU cannot show."""

from __future__ import annotations

import pytest
import torch

from speedcore.data.batches import Batches
from speedcore.recipe import MuonConfig, RecordNetConfig, TTAConfig
from speedcore.store.runs import RunStore
from speedcore.techniques.augment import Normalise
from speedcore.training.loop import train
from tests.speedcore import toys

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("mode", ["device", "precomputed"])
def test_a_bf16_run_trains_and_lands(tmp_path, mode):
    recipe = toys.recipe(network=RecordNetConfig(widths=(16, 16, 16)), precision="bf16", channels_last=True, data=mode,
                         optimizer=MuonConfig(bias_lr=0.2, head_lr=2.0), tta=TTAConfig(mirror=True, shifts=True))
    run = train(toys.dataset(), toys.job(recipe, steps=40, limit=60.0), RunStore(tmp_path), "cuda")
    assert run.record.device == "cuda"
    assert run.record.steps == 40
    assert run.record.final_factor == recipe.schedule.floor
    assert run.record.peak_memory_bytes > 0
    assert run.steps["loss"][-1] < run.steps["loss"][0]
    assert sum(run.record.ledger.values()) == pytest.approx(run.record.clocks["everything"])


def test_batches_are_made_on_the_device():
    data = toys.dataset()
    images, labels = next(iter(Batches(data.train.to("cuda"), toys.recipe().augment, 40, 0, Normalise.of(data))))
    assert images.device.type == labels.device.type == "cuda"
    assert images.dtype == torch.uint8
