"""Explanations on disk: whole or absent, reused, refused when damaged, and true to their definitions."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from explain import artefact
from explain.artefact import Explanation
from explain.attribution.explaining import explain_run, explain_runs
from explain.attribution.explaining import pair as pair_of
from explain.attribution.methods import heatmaps
from explain.inspector import inspector
from explain.inspector.packing import levels
from explain.metrics import another_image, is_empty, parameter_randomisation, rank_correlation, relevance_mass, wrong_class
from explain.models import ExplainError
from explain.selection import first_of_each_class
from speedcore.data import make_shapes
from speedcore.errors import Damaged, Notice, RunError
from speedcore.store.runs import Run
from speedcore.techniques.augment import Normalise
from speedcore.training.loop import hold_out
from speedcore.training.state import TrainState
from tests.speedcore.toys import resealed


@pytest.fixture(scope="module")
def explained(pair, shapes, tmp_path_factory):
    return explain_runs([pair[0]], [pair[1]], shapes, tmp_path_factory.mktemp("explained"), images_per_class=5)


def test_both_arms_are_explained_on_the_same_images(explained, shapes):
    (first,), (second,) = explained
    assert first.record.gallery == second.record.gallery
    assert np.array_equal(first.arrays["gallery_index"], second.arrays["gallery_index"])
    assert first.arrays["gallery_index"].tolist() == first.record.gallery.indices.tolist()
    assert np.array_equal(first.arrays["gallery_label"], shapes.test.labels[first.arrays["gallery_index"]].numpy())
    assert np.array_equal(first.arrays["measured_index"], second.arrays["measured_index"])
    assert (first.record.arm, second.record.arm) == ("with", "without")


@pytest.mark.parametrize("layer", ["middle", "last"])
def test_maps_are_captums_signed_and_at_native_resolution(explained, pair, shapes, layer):
    (first,), _ = explained
    network, run = pair[0].network(), pair[0]
    index = first.arrays["gallery_index"]
    images = Normalise.of(shapes)(shapes.test.images[index])
    answers = run.predictions["logits"][index].argmax(1)
    assert np.array_equal(first.arrays["gallery_predicted"], answers)
    module = network.get_submodule(network.explain_layers[layer])
    for target, classes in (("true", shapes.test.labels[index]), ("predicted", torch.from_numpy(answers))):
        expected = LayerGradCam(network, module).attribute(images, classes)[:, 0].detach().numpy()
        found = first.maps(layer, target)
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_summary_is_the_mean_of_what_its_arrays_hold(explained, pair, shapes):
    (first,), _ = explained
    index = torch.from_numpy(first.arrays["measured_index"])
    labels, masks = shapes.test.labels[index], shapes.test.masks[index]
    layer = first.record.layers["middle"]
    network = pair[0].network()
    images = Normalise.of(shapes)(shapes.test.images[index])

    def mass(network, targets):
        return relevance_mass(heatmaps(network, images, targets, [layer.module])[layer.module][:, 0], masks, layer.extent)

    # The untrained network as training makes it, whitening filters and all.
    state = TrainState(shapes, pair[0].record.recipe, pair[0].record.seed, torch.device("cpu"))
    state.whiten(hold_out(shapes.train, 0)[0])
    for kind, expected in (("true", mass(network, labels)), ("wrong_class", mass(network, wrong_class(labels, 10))),
                           ("untrained", mass(state.network, labels))):
        found = torch.from_numpy(first.arrays[f"middle_mass_{kind}"])
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
        score = layer.score if kind == "true" else layer.controls[kind]
        assert score.mass == pytest.approx(float(np.nanmean(found)))
    assert set(layer.controls) == {"uniform", "gaussian", "another_image", "wrong_class", "untrained"}
    assert layer.n == len(index) == 50
    assert layer.dead == pytest.approx(first.arrays["middle_dead"].mean())
    assert np.array_equal(first.arrays["foreground"], masks.double().mean((1, 2)).numpy())


def test_class_means_and_the_cascade_are_those_of_the_maps(explained, pair, shapes):
    (first,), _ = explained
    index = torch.from_numpy(first.arrays["measured_index"])
    labels, network = shapes.test.labels, pair[0].network()
    for name, module in network.explain_layers.items():
        maps = heatmaps(network, Normalise.of(shapes)(shapes.test.images[index]), labels[index], [module])[module][:, 0]
        alive = maps.clamp_min(0)
        for label in range(10):
            mean = alive[labels[index] == label].mean(0).numpy()
            assert np.abs(first.arrays[f"{name}_class_mean"][label] - mean).max() <= 1e-4 * float(alive.max())
    cascade, rows = first.record.cascade, first_of_each_class(labels, 2)
    images = Normalise.of(shapes)(shapes.test.images[rows])
    found = parameter_randomisation(network, images, labels[rows])
    assert cascade.modules == found.modules and cascade.modules[0] == "head" and cascade.images == 20
    for name, module in network.explain_layers.items():
        expected = [float(np.nanmean(step)) for step in found.similarity[module].numpy()]
        assert cascade.similarity[name] == pytest.approx(expected, abs=1e-3)
        maps = heatmaps(network, images, labels[rows], [module])[module][:, 0]
        other = rank_correlation(maps, maps[another_image(20)])
        alive = ~(is_empty(maps) | is_empty(maps[another_image(20)]))
        assert cascade.another_image[name] == pytest.approx(float(other[alive].nanmean()), abs=1e-3)
    assert explain_run(pair[0], shapes, first.path.parents[1], images_per_class=1, method="saliency").record.cascade is None


def test_an_explanation_that_stands_is_reused_and_reads_back_the_same(explained, pair, shapes):
    (first,), _ = explained
    before = {file.name: file.stat().st_mtime_ns for file in first.path.iterdir()}
    seen = []
    again = explain_run(pair[0], shapes, first.path.parents[1], first.record.gallery, 5, observer=seen.append)
    assert seen == []
    assert again.path == first.path
    assert {file.name: file.stat().st_mtime_ns for file in first.path.iterdir()} == before
    assert again.record == first.record == Explanation.open(first.path).record
    assert all(np.array_equal(again.arrays[name], value) for name, value in first.arrays.items() if value.dtype.kind != "f")


def test_another_choice_of_images_is_another_explanation(explained, pair, shapes):
    (first,), _ = explained
    other = explain_run(pair[0], shapes, first.path.parents[1], first.record.gallery, 3)
    assert other.path != first.path
    assert len(other.arrays["measured_index"]) == 30


def test_progress_ends_at_its_total(pair, shapes, root):
    seen = []
    explain_run(pair[0], shapes, root, images_per_class=2, observer=seen.append)
    assert [moment.done for moment in seen] == sorted({moment.done for moment in seen})
    assert seen[-1].done == seen[-1].total
    assert {moment.run for moment in seen} == {pair[0].record.key}


def test_without_masks_stability_is_measured_and_nothing_is_said_of_foreground(pair, shapes, root, monkeypatch):
    monkeypatch.setattr("explain.attribution.explaining.foreground", lambda dataset, indices: None)
    made = explain_run(pair[0], shapes, root, images_per_class=2)
    layer = made.record.layers["middle"]
    assert made.record.foreground is None and layer.score is None and layer.controls == {}
    assert -1 <= layer.flip_consistency <= 1
    assert not any("mass" in name or "foreground" in name for name in made.arrays)


def test_other_methods_are_artefacts_of_their_own_that_name_their_method(pair, shapes, root):
    paths = set()
    for method, names in (("hirescam", ["middle", "last"]), ("guided-grad-cam", ["middle", "last"]), ("saliency", ["image"])):
        made = explain_run(pair[0], shapes, root, images_per_class=1, method=method)
        assert method in made.path.name and made.record.method == method and "captum" in made.record.how
        assert Explanation.open(made.path).record == made.record
        assert list(made.record.layers) == names
        paths.add(made.path)
        images, labels = (part[made.arrays["gallery_index"]] for part in (shapes.test.images, shapes.test.labels))
        expected = heatmaps(pair[0].network(), Normalise.of(shapes)(images), labels, method=method)
        for name, maps in zip(names, expected.values(), strict=True):
            found = torch.from_numpy(made.maps(name))
            torch.testing.assert_close(found, maps[:, 0], rtol=1e-3, atol=1e-5)
            layer = made.record.layers[name]
            assert (layer.height, layer.width) == tuple(found.shape[1:])
            if method != "hirescam":
                assert found.shape[1:] == shapes.size and (layer.top, layer.right) == (0, shapes.size[1])
            assert layer.score.n > 0 and set(layer.controls) == {"uniform", "gaussian", "another_image", "wrong_class",
                                                                 "untrained"}
    assert len(paths) == 3
    with pytest.raises(ExplainError, match="no method 'lime'; choose grad-cam"):
        explain_run(pair[0], shapes, root, method="lime")


def test_methods_of_many_passes_measure_fewer_images(pair, shapes, root, monkeypatch):
    monkeypatch.setattr("explain.attribution.gradients.SAMPLES", 2)  # what is counted here is images, not copies
    made = explain_run(pair[0], shapes, root, method="smoothgrad")
    assert made.arrays["measured_index"].tolist() == first_of_each_class(shapes.test.labels, 10).tolist()


def test_a_run_without_weights_or_answers_is_named(pair, shapes, root, tmp_path):
    for file in ("weights.safetensors", "predictions.npz"):
        copy = tmp_path / file.split(".")[0] / pair[0].name
        shutil.copytree(pair[0].path, copy)
        run = Run.open(copy)
        (copy / file).unlink()
        with pytest.raises(RunError, match=f"{file} cannot be read.*missing.*remove the folder to train it again"):
            explain_run(run, shapes, root, images_per_class=1)
    assert not root.exists() or not list(root.rglob("*.npz"))


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_maps_without_evidence_are_marked_dead_and_score_nothing(pair, shapes, root, monkeypatch, value):
    network = pair[0].network()
    torch.nn.init.constant_(network.head.weight, value)
    monkeypatch.setattr(type(pair[0]), "network", lambda run: network)
    made = explain_run(pair[0], shapes, root, images_per_class=1)
    layer = Explanation.open(made.path).record.layers["middle"]
    assert layer.dead == 1 and layer.gini is None
    assert (layer.score.n, layer.score.dead, layer.score.mass) == (0, layer.n, None)
    assert layer.controls["untrained"].n > 0 and layer.controls["another_image"].n == 0
    shown = inspector.Inspection(shapes, (made,))
    assert not levels(shown.data["runs"]["with augmentation"]["map"], shown.scale.limit).any()
    assert np.isnan(shown.measures["gini"].values).all() and shown._repr_html_()


def test_a_failed_write_leaves_nothing(pair, shapes, root, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artefact.np, "savez", full)
    with pytest.raises(RunError, match="No space left"):
        explain_run(pair[0], shapes, root, images_per_class=1)
    assert list((root / artefact.FOLDER).iterdir()) == []


def relayered(path, **changes):
    """The explanation with other numbers said of its layer "middle", and a manifest that fits."""
    layers = json.loads((path / "explanation.json").read_text())["layers"]
    resealed(path, "explanation.json", layers={**layers, "middle": {**layers["middle"], **changes}})


@pytest.mark.parametrize(("damage", "says"), [
    (lambda path: (path / "arrays.npz").write_bytes(b"PK"), "arrays.npz is damaged: it is not the file that was written"),
    (lambda path: (path / "arrays.npz").unlink(), "arrays.npz is damaged: it is missing"),
    (lambda path: (path / "explanation.json").unlink(), "explanation.json is damaged: it is missing"),
    (lambda path: (path / "explanation.json").write_text("{"), "explanation.json is damaged: it is not the file"),
    (lambda path: (path / "manifest.sha256").unlink(), "manifest.sha256 is damaged: it is missing"),
    (lambda path: resealed(path, "explanation.json", seed="x"), "field seed"),
    (lambda path: resealed(path, "explanation.json", run="../run"), "field run"),
    (lambda path: resealed(path, "explanation.json", sealed=False), "manifest.sha256 is damaged: it does not belong"),
    (lambda path: np.savez(path / "arrays.npz", a=1) or resealed(path), "arrays.npz is damaged: its sha256 is not arrays_sha256"),
    (lambda path: relayered(path, dead=0.99), "arrays.npz is damaged: the record's middle: dead is 0.99"),
    (lambda path: relayered(path, gini=7.0), "the record's middle: gini is 7.0"),
    (lambda path: relayered(path, gini=None), "the record's middle: gini is None"),
    (lambda path: relayered(path, n=3), "the record's middle: n is 3, and 10 images were measured"),
    (lambda path: relayered(path, height=3), "maps of layer 'middle' are not"),
    (lambda path: relayered(path, score={"n": 10, "dead": 0, "empty": 0, "mass": 0.99, "foreground": None, "ceiling": None,
                                         "score": None}), "the record's middle: mass is 0.99"),
])
def test_a_damaged_explanation_is_named_set_aside_and_made_again(pair, shapes, root, damage, says):
    made = explain_run(pair[0], shapes, root, images_per_class=1)
    damage(made.path)
    with pytest.raises(Damaged, match=says) as caught:
        Explanation.open(made.path)
    assert str(made.path) in str(caught.value) and "remove the folder" in str(caught.value)
    harmed = {file.name: file.read_bytes() for file in made.path.iterdir()}
    with pytest.warns(Notice, match=says):
        again = explain_run(pair[0], shapes, root, images_per_class=1)
    assert again.path == made.path and Explanation.open(again.path).record.arrays_sha256 == made.record.arrays_sha256
    aside = made.path.parent / "set-aside" / made.path.name
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == harmed


def test_an_explanation_of_another_version_is_refused_and_stays(pair, shapes, root):
    made = explain_run(pair[0], shapes, root, images_per_class=1)
    resealed(made.path, "explanation.json", schema_version=99)
    with pytest.raises(ExplainError, match="schema 99.*remove the folder"):
        explain_run(pair[0], shapes, root, images_per_class=1)
    assert made.path.is_dir()


def test_an_explanation_from_before_there_were_manifests_is_read(pair, shapes, root):
    made = explain_run(pair[0], shapes, root, images_per_class=1)
    content = json.loads((made.path / "explanation.json").read_text())
    del content["sealed"]
    (made.path / "explanation.json").write_text(json.dumps(content))
    (made.path / "manifest.sha256").unlink()
    assert explain_run(pair[0], shapes, root, images_per_class=1).record == made.record.model_copy(update={"sealed": False})


def test_pairs_are_of_the_lowest_common_seed(make_run):
    one, two = make_run("with", 1), make_run("with", 0)
    three = make_run("without", 1)
    assert pair_of([one, two], [three]) == (one, three)
    assert pair_of([two], [three]) == (two, three)


class OneCell(torch.nn.Module):
    """A network whose last layer has a single cell: no map."""

    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Conv2d(3, 4, 32), torch.nn.Linear(4, 10)
        self.explain_layers = {"middle": "body", "last": "body"}

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


@pytest.mark.parametrize("broken", [OneCell, lambda: 1 / 0])
def test_a_run_that_cannot_be_explained_is_named_and_the_others_go_on(make_run, shapes, root, monkeypatch, broken):
    runs, network = [make_run("with", 0), make_run("with", 1), make_run("without", 0)], Run.network
    monkeypatch.setattr(Run, "network", lambda run: broken() if run.path == runs[0].path else network(run))
    told = []
    first, second = explain_runs(runs[:2], runs[2:], shapes, root, images_per_class=1, failed=told.append)
    assert [[e.record.run for e in arm] for arm in (first, second)] == [[runs[1].record.key], [runs[2].record.key]]
    failure, = told
    assert (failure.run, failure.dataset, failure.method) == (runs[0].record.key, shapes.name, "grad-cam")
    assert failure.reason.startswith("layer 'body' has no spatial map" if broken is OneCell
                                     else "an error in this project, ZeroDivisionError")
    assert "\n" not in failure.reason
    # Without anyone to tell, the error is raised, and the others' maps are kept all the same.
    shutil.rmtree(root)
    with pytest.raises(type(failure.error)):
        explain_runs(runs[:2], runs[2:], shapes, root, images_per_class=1)
    assert len(list((root / artefact.FOLDER).iterdir())) == 2


def test_bad_input_gives_one_clear_message(pair, shapes, root):
    with pytest.raises(ExplainError, match="give the data set that the run was trained on"):
        explain_run(pair[0], make_shapes(train=20, test=20), root)
    with pytest.raises(ExplainError, match="at least 1, found 0"):
        explain_run(pair[0], shapes, root, images_per_class=0)
    with pytest.raises(ExplainError, match="two arms"):
        explain_runs([pair[0]], [], shapes, root)
    made = explain_run(pair[0], shapes, root, images_per_class=1)
    with pytest.raises(ExplainError, match="layer 'first' and target 'true'; layers: middle, last"):
        made.maps("first")
