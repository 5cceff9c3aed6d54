"""Every notebook runs from top to bottom on small real runs, and is committed without outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from speedcore.clock import Budget
from speedcore.data import make_shapes
from speedcore.recipe import Augment, Recipe, RecordNetConfig, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.training.job import Job
from speedcore.training.loop import train

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory):
    """A kernel that is this very interpreter, whatever others are installed for this user."""
    home = tmp_path_factory.mktemp("jupyter")
    spec = home / "kernels" / "here"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "here", "language": "python"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(home))
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        patch.setenv("PYTHONPATH", str(NOTEBOOKS[0].parents[1]))
        yield "here"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both arms of two seeds, a few steps each."""
    store = RunStore(tmp_path_factory.mktemp(MARKER))
    dataset = make_shapes(train=300, test=100)
    recipe = Recipe(name="tiny", network=RecordNetConfig(widths=(8, 12, 16)), optimizer=SGDConfig(lr=0.1), batch_size=100,
                epochs=2,
                    augment=Augment(crop=2, flip="random"), val_images=0)
    for seed in (0, 1):
        for arm, own in (("with", recipe), ("without", recipe.without_augmentation())):
            train(dataset, Job(f"shapes-{arm}-tiny-s{seed}", own, arm, seed, Budget(1000), 1000, 6, 6), store)
    return store.root


MARKER = "marker-of-the-builder"  # in the path of the runs: no notebook shows where its maker had them

# What their tests must have come to, whatever the networks learned: two pairs are too few, ten are enough.
SAYS = {"compare_the_arms": ("2 pairs, mean difference", "not testable", "untrained"),
        "test_a_claim_of_your_own": ("planned", "primary    flip               10 pairs", "10 pairs; accuracy")}


def test_there_are_notebooks():
    assert {"inspect_heatmaps", "bring_your_own_model", *SAYS} <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, kernel, runs, monkeypatch):
    monkeypatch.setenv("SPEEDCORE_RUNS", str(runs))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, kernel_name=kernel, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert len(pages) >= {"inspect_heatmaps": 3, "compare_the_arms": 1}.get(path.stem, 0)
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert all(words in said for words in SAYS.get(path.stem, ()))
    assert MARKER not in json.dumps(outputs)
    # Alive by the one script inside, a still without it, and nothing that is fetched.
    assert all(page.count("<script") == 1 and "data:image/png" in page and "https:" not in page for page in pages)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.cell_type != "code" or (cell.outputs == [] and cell.execution_count is None)
