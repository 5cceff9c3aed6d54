"""The study of planted shortcuts, end to end at a tiny size, and on a network whose reliance is known by construction."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from explain.metrics import Score
from explain.models import ExplainError
from explain.studies import shortcuts
from explain.studies.__main__ import app
from explain.studies.shortcuts import LayerRecord, ModelRecord, load_all, measured, study, tracking
from speedcore.data import make_shapes, swap_shortcut
from speedcore.data.shapes import CORNER, PALETTE
from speedcore.errors import Notice
from speedcore.planning.run import whole_run
from speedcore.store.runs import Run, RunStore
from speedcore.techniques.augment import Normalise
from speedcore.training.callback import Callback
from tests.explain.conftest import RECIPE

TINY = RECIPE.changed(epochs=1.0)
SIZE = {"train": 200, "test": 60, "images_per_class": 2}


class Counting(Callback):
    def __init__(self):
        self.trained, self.reused = 0, 0

    def on_run_end(self, run, reused) -> None:
        self.trained += not reused
        self.reused += reused


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    store, callback = RunStore(tmp_path_factory.mktemp("study")), Counting()
    found = study(TINY, store, correlations=(1, 0), arms=("with", "without"), shortcuts=("corner",), seeds=1,
                  callback=callback, **SIZE)
    assert found.left_out == ()
    return store, found.record, found.path, callback


def test_a_study_is_whole_and_kept(done) -> None:
    store, record, path, callback = done
    assert (callback.trained, callback.reused) == (4, 0)
    assert [(m.shortcut, m.correlation, m.arm, m.seed) for m in record.models] == [
        ("corner", 0.0, "with", 0), ("corner", 0.0, "without", 0), ("corner", 1.0, "with", 0), ("corner", 1.0, "without", 0)]
    assert list(load_all(store)) == [record] and json.loads(path.read_text())["version"] == 1
    assert list(load_all(RunStore(store.root / "nowhere"))) == []


def test_accuracies_are_those_of_right_and_of_swapped_shortcuts(done) -> None:
    store, record, _, _ = done
    for m in record.models:
        run = store.find(m.run)
        dataset = make_shapes(200, 60, shortcut="corner", correlation=m.correlation, test_correlation=1.0)
        assert run.record.data.fingerprint == dataset.fingerprint
        network, labels = run.network(), dataset.test.labels
        with torch.no_grad():
            answers = [network(Normalise.of(dataset)(images)).argmax(1)
                       for images in (dataset.test.images, swap_shortcut(dataset).split.images)]
        right, swapped = ((a == labels).double().mean().item() for a in answers)
        assert (m.accuracy_right, m.accuracy_swapped) == (pytest.approx(right), pytest.approx(swapped))
        assert m.reliance == pytest.approx(right - swapped)
        assert right == pytest.approx(run.record.metrics.test_accuracy, abs=0.04)


def test_nothing_is_trained_or_measured_twice_and_more_seeds_stay(done, monkeypatch) -> None:
    store, record, path, _ = done
    callback = Counting()
    # First without any time: the first network that is missing is trained, the others are left out and said to be.
    some = study(TINY, store, correlations=(0, 1), shortcuts=("corner",), seeds=2, seconds_left=lambda: 0.0, **SIZE)
    assert len(some.record.models) == 5 and some.left_out[0].startswith("3 of 8 networks were left out")
    more, same, _ = study(TINY, store, correlations=(0, 1), shortcuts=("corner",), seeds=2, callback=callback, **SIZE)
    assert (callback.trained, callback.reused, same, len(more.models)) == (3, 5, path, 8)
    monkeypatch.setattr(shortcuts, "control_maps", None)  # measuring anything again would fail
    again, *_ = study(TINY, store, correlations=(0.0, 1.0), shortcuts=("corner",), seeds=1, **SIZE)
    assert again.models == more.models  # of which the first seed is this study


class Eye(nn.Module):
    """Reads the corner patch's colour by a filter a class, and nothing else of the image."""

    explain_layers = {"middle": "eye", "last": "eye"}

    class _Cells(nn.Module):
        def __init__(self, mean, std):
            super().__init__()
            self.conv = nn.Conv2d(3, 10, CORNER, CORNER)
            colours = torch.from_numpy(PALETTE)
            with torch.no_grad():
                # On images (x − mean) / std: the colour's offset from grey, along the hue of each class.
                self.conv.weight.copy_((colours * std / CORNER**2)[:, :, None, None].expand_as(self.conv.weight))
                self.conv.bias.copy_(colours @ (mean - 128 / 255))

        def forward(self, x):
            cells = self.conv(x)
            corner = torch.zeros_like(cells)
            corner[:, :, 0, 0] = 1
            return cells * corner

    def __init__(self, mean, std):
        super().__init__()
        self.eye = self._Cells(torch.tensor(mean), torch.tensor(std))

    def forward(self, x):
        return self.eye(x).mean((2, 3))


def test_a_network_that_reads_the_shortcut_alone_relies_on_nothing_else(done, tmp_path, monkeypatch) -> None:
    dataset = make_shapes(200, 60, shortcut="corner", correlation=1.0, test_correlation=1.0)
    run = whole_run(dataset, TINY, "with", 0, done[0])
    monkeypatch.setattr(Run, "network", lambda self: Eye(dataset.mean, dataset.std).eval())
    m = measured(run, dataset, RunStore(tmp_path), "cpu", 2, "grad-cam")
    assert (m.accuracy_right, m.accuracy_swapped, m.reliance) == (1, 0, 1)
    assert m.mass("middle") == pytest.approx(1) and m.layers["middle"].shortcut.dead == 0
    # An even map's mass on the patch is the patch's share of the image.
    assert m.layers["middle"].controls["uniform"].mass == pytest.approx(CORNER**2 / 32**2)
    assert m.layers["middle"].object.score < 0  # the patch is no part of any object


def test_a_damaged_result_is_named(done, tmp_path) -> None:
    store = RunStore(shutil.copytree(done[0].root, tmp_path / "runs"))
    (path,) = (store.root / "studies").glob("shortcuts-*/result.json")
    path.write_text(path.read_text()[:100])
    with pytest.warns(Notice, match=f"{path.parent.name}.*is damaged.*left out"):
        assert list(load_all(store)) == []


@pytest.mark.parametrize(("options", "said"), [
    ({"shortcuts": ("centre",)}, "no shortcut 'centre'"), ({"arms": ("wth",)}, "no arm 'wth'"), ({"arms": ()}, "no arm"),
    ({"correlations": (0.5, 1.5)}, "0 to 1; found 0.5, 1.5"), ({"correlations": ()}, "found none"),
    ({"seeds": 0}, "at least one seed"), ({"images_per_class": 0}, "one image a class")])
def test_what_cannot_be_studied_is_refused(store_of_nothing, options, said) -> None:
    with pytest.raises(ExplainError, match=said):
        study(TINY, store_of_nothing, **options)


@pytest.fixture
def store_of_nothing(tmp_path) -> RunStore:
    return RunStore(tmp_path / "runs")


def model(reliance: float, mass: float | None, shortcut: str = "corner") -> ModelRecord:
    score = Score(n=1, dead=0, empty=0, mass=mass, foreground=0.0, ceiling=1.0, score=mass)
    layer = LayerRecord(shortcut=score, object=score, controls={})
    return ModelRecord(shortcut=shortcut, correlation=0.5, arm="with", seed=0, run="r", weights_sha256="",
                       accuracy_right=reliance, accuracy_swapped=0.0, probability_right=0, probability_swapped=0,
                       layers={"middle": layer, "last": layer})


def test_tracking_by_hand() -> None:
    models = [model(r, m) for r, m in ((0.0, 0.1), (0.1, 0.0), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5), (0.9, None))]
    models.append(model(0.5, 0.0, "hue"))
    found = tracking(models, "corner", "middle")
    # Five networks have maps; one pair of neighbours has changed places: 1 − 6 · 2 / 120 = .9.
    assert (found.n, found.correlation) == (5, pytest.approx(0.9))
    reach = 1.959964 * math.sqrt((1 + 0.81 / 2) / 2)
    assert found.interval.low == pytest.approx(math.tanh(math.atanh(0.9) - reach), abs=1e-5)
    assert found.verdict == ("tracks" if found.interval.low > 0 else "cannot tell")
    ten = [model(i / 10, (10 - i) / 10) for i in range(10)]
    assert tracking(ten, "corner", "last").verdict == "contradicts"
    assert tracking([model(i / 10, i / 20) for i in range(10)], "corner", "last").verdict == "tracks"
    assert tracking(models, "hue", "middle").verdict == "cannot tell"
    assert tracking([], "corner", "middle").correlation is None


def test_from_the_command_line(tmp_path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text('base = "sprint"\ndataset = "shapes"\nbatch_size = 50\n[network]\nkind = "recordnet"\nwidths = [4, 4]\n')
    words = ["shortcuts", "--recipe", str(recipe), "--shortcut", "hue", "--correlations", "0.9", "--arms", "without", "--seeds",
             "1", "--epochs", "1", "--train", "100", "--test", "20", "--images-per-class", "1", "--runs", str(tmp_path / "runs"),
             "--device", "cpu"]
    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    assert "hue, middle layer: rank correlation" in outcome.output and "cannot tell" in outcome.output
    (record,) = load_all(RunStore(tmp_path / "runs"))
    assert record.models[0].correlation == 0.9 and record.recipe.epochs == 1
    wrong = CliRunner().invoke(app, [*words[:-2], "--correlations", "much"])
    assert wrong.exit_code != 0 and "--correlations 'much'" in str(wrong.exception)
