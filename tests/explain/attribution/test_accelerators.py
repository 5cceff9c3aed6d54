"""Maps and metrics on GPUs that are not there: the same as the processor's, from maps that lie anywhere."""

from __future__ import annotations

import pytest
import torch

from explain import METHODS, explain_run, heatmaps
from explain.metrics import METRICS
from explain.metrics.controls import control_maps, null_maps
from explain.metrics.randomisation import randomised
from speedcore.networks.recordnet import RecordNet
from speedcore.recipe import RecordNetConfig
from tests.simulated import simulated

KINDS = ("cuda", "mps")


def model() -> torch.nn.Module:
    torch.default_generator.manual_seed(0)
    return RecordNet(1, (16, 16), 3, **RecordNetConfig(widths=(8, 8), activation="relu").model_dump(exclude={"kind"})).eval()


def images(n: int = 4) -> torch.Tensor:
    return torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_the_same_maps_there(method: str, kind: str) -> None:
    expected = heatmaps(model(), images(), LABELS, method=method)
    with simulated(kind) as gpu:
        found = heatmaps(model().to(kind), images().to(kind), LABELS.to(kind), method=method)
        assert gpu.woken <= {0}
    assert found.keys() == expected.keys()
    if method != "smoothgrad":  # its noise is drawn on the device
        for name, maps in found.items():
            torch.testing.assert_close(maps, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_takes_maps_that_lie_on_the_device(name: str, kind: str) -> None:
    def measured(device: str) -> list:
        network, given, labels = model().to(device), images().to(device), LABELS.to(device)
        maps = heatmaps(network, given, labels, ["stages.0"])["stages.0"][:, 0].to(device)
        other = maps.flip(0)
        masks = (torch.arange(16) < 8).expand(4, 16, 16).clone().to(device)
        metric = METRICS[name].function
        arguments = {
            "seed_consistency": (maps, other), "flip_consistency": (maps, other, (16, 16), None), "gini": (maps,),
            "entropy": (maps,), "occlusion_agreement": (maps, heatmaps(network, given, labels, method="occlusion")["image"][:, 0]
                                                        .to(device)),
            "parameter_randomisation": (network, given, labels, ["stages.0"]),
            "max_sensitivity": (lambda x, t: heatmaps(network, x, t, ["stages.0"])["stages.0"][:, 0], given, labels),
            **dict.fromkeys(("relevance_mass", "relevance_rank", "pointing_game"), (maps, masks)),
            **dict.fromkeys(("deletion", "insertion", "infidelity"), (network, given, labels, maps)),
        }[name]
        return getattr(metric(*arguments), "similarity", None) or metric(*arguments).tolist()

    expected = measured("cpu")
    with simulated(kind) as gpu:
        found = measured(kind)
        assert gpu.woken <= {0}
    if name == "parameter_randomisation":
        assert found["stages.0"].shape == expected["stages.0"].shape  # weights are re-initialised on the device
    elif name != "max_sensitivity":  # its noise is drawn there
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_explanation_is_made_there(make_run, shapes, tmp_path, kind: str) -> None:
    run = make_run("with", 0)
    host = explain_run(run, shapes, tmp_path / "cpu", images_per_class=2)
    with simulated(kind):
        made = explain_run(run, shapes, tmp_path / kind, images_per_class=2, device=kind)
    for layer in ("middle", "last"):
        torch.testing.assert_close(torch.from_numpy(made.maps(layer)), torch.from_numpy(host.maps(layer)), rtol=1e-3, atol=1e-4)
        assert made.record.layers[layer].score.mass == pytest.approx(host.record.layers[layer].score.mass, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_null_controls_are_made_there(kind: str) -> None:
    with simulated(kind):
        network, given, labels = model().to(kind), images().to(kind), LABELS.to(kind)
        assert set(control_maps(network, given, labels, ["stages.0"])["stages.0"]) >= {"uniform", "gaussian", "another_image"}
        made = null_maps({"true": torch.rand(4, 3, 3, device=kind)}, (16, 16))
        assert {maps.device.type for maps in made.values()} == {kind}


def test_weights_are_drawn_anew_from_the_seed_on_any_device() -> None:
    with simulated("cuda") as gpu:
        network = model().to("cuda")
        before = gpu.state()
        first, second = (randomised(network, seed=3).state_dict() for _ in range(2))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert torch.equal(gpu.state(), before)
        assert gpu.woken == {0}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["forward", "backward"])
def test_maps_are_made_of_fewer_images_where_memory_runs_out(method: str, where: str) -> None:
    expected, seen = heatmaps(model(), images(), LABELS, method=method), []
    network, most = model(), 2 * METHODS[method].forward

    def scarce(module, inputs, output):
        seen.append(len(output))
        if len(output) > most and where == "forward":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if len(output) > most and output.requires_grad:
            output.register_hook(lambda gradient: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")))

    network.head.register_forward_hook(scarce)
    network.train()
    found = heatmaps(network, images(), LABELS, method=method)
    for name, maps in found.items():
        torch.testing.assert_close(maps, expected[name], rtol=1e-4, atol=1e-5)
    assert network.training and all(p.requires_grad for name, p in network.named_parameters() if "conv" in name)


def test_one_image_that_is_too_much_is_an_error_that_says_so() -> None:
    network = model()

    def full(module, inputs, output):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    network.head.register_forward_hook(full)
    with pytest.raises(Exception, match="too many for the memory"):
        heatmaps(network, images(), LABELS)
