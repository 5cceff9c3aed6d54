"""One of each that a user may add, in a package of their own: nothing of ours is touched, and all of it takes part."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import speedcore
from speedcore import networks, plugins, recipes
from speedcore.errors import PluginError, RecipeError, UserError
from speedcore.recipe import Recipe
from speedcore.store.runs import Run, RunStore
from speedcore.techniques.custom import CustomAugmenter
from speedcore.training.hooks import Techniques
from speedcore.training.verify import verify
from tests.speedcore import toys

# A file each, as docs/extending.md tells it.
FILES = {
    "network.py": """
        from torch import nn

        def small(channels, size, classes, width=4):
            return nn.Sequential(
                nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(2),
                nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveMaxPool2d(1), nn.Flatten(),
                nn.Linear(2 * width, classes))
        """,
    "pixels.py": """
        import torch

        def invert(images, generator, share=0.5):
            chosen = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < share
            return torch.where(chosen, 255 - images, images)
        """,
    "clipping.py": """
        import torch

        class Clip:
            def __init__(self, state, train, limit):
                self.parameters, self.limit = list(state.network.parameters()), limit

            @torch.no_grad()
            def after_step(self, step, progress):
                for parameter in self.parameters:
                    parameter.clamp_(-self.limit, self.limit)
        """,
    "clipping.toml": """
        title = "Clipping"
        summary = "no weight beyond a limit"
        what = "Weights are clamped after each step."
        why = "A test wants it."
        cost = "Nothing."
        source = "nobody"
        code = ["extra/clipping.py"]
        uses = [{ "technique.Clip" = true }]
        """,
    "stripes.py": """
        import torch
        from speedcore.data.dataset import Split
        from speedcore.data.dataset_files import DatasetFiles, RawDataset
        from speedcore.data.published import Manifest

        CLASSES = ("across", "down")

        def split(n):
            labels = torch.arange(n) % 2
            rows = (torch.arange(16).view(16, 1).expand(16, 16) + torch.arange(n).view(n, 1, 1)) % 4 // 2
            images = torch.where(labels.view(n, 1, 1) == 0, rows, rows.transpose(1, 2))
            return Split((200 * images).to(torch.uint8)[:, None], labels)

        def files(name):
            return DatasetFiles("made", None, lambda: RawDataset(CLASSES, split(80), split(20), official=True))

        SET = Manifest("stripes", CLASSES, title="Stripes", make=files, mirrored=False)
        """,
    "method.py": """
        from explain.attribution.registry import method

        @method("brightness", "brightness", forward=1, backward=0, definition="the mean of a pixel's colours",
                criticism="asks the network nothing", source="nobody")
        def brightness(model, layers, images, targets, at_once=0):
            return {"image": images.mean(1, keepdim=True).float().expand(-1, targets.shape[1], -1, -1)}
        """,
    "greeting.py": """
        from reports.model import Prose, Section
        from reports.sections.registry import report_section

        @report_section("greeting", "Greeting", 45)
        def greeting(context):
            return Section("greeting", "", "Greeting", "", (Prose(f"{len(context.sets)} set of someone else’s."),))
        """,
}
ENTRY_POINTS = """
[speedcore.networks]
small = extra.network:small
[speedcore.augmentations]
invert = extra.pixels:invert
[speedcore.techniques]
clip = extra.clipping:Clip
[speedcore.datasets]
stripes = extra.stripes:SET
[explain.methods]
brightness = extra.method:brightness
[reports.sections]
greeting = extra.greeting:greeting
"""
RECIPE = """
name = "theirs"
batch_size = 20
epochs = 2
val_images = 0
precision = "fp32"
network = { kind = "custom", factory = "small", arguments = { width = 4 } }
optimizer = { kind = "sgd", lr = 0.1 }
augment = { custom = [{ factory = "invert", arguments = { share = 0.25 } }] }
techniques = [{ factory = "clip", arguments = { limit = 0.05 } }]
"""
USE = """
import json, sys
import reports, speedcore
from explain import METHODS, explain_run
from reports.compose import compose
from reports.results import load as results
from reports.inputs import Inputs
from speedcore import techniques
from speedcore.data import NAMES, load

store, data = speedcore.RunStore("runs"), load("stripes")
runs = [speedcore.run("stripes", "theirs.toml", 60, arm=arm, store=store, device="cpu") for arm in ("with", "without")]
made = [explain_run(run, data, images_per_class=2, method=method) for run in runs for method in ("brightness", "grad-cam")]
inputs = Inputs({"stripes": data}, tuple(runs), tuple(e for e in made if e.record.method == "grad-cam"))
files = reports.render(inputs, "out", ("html",))
print(json.dumps({
    "cards": [name for name, card in techniques.methods().items() if card.used_by(runs[0].record.recipe)],
    "names": NAMES, "methods": list(METHODS), "sections": [section.id for section in compose(results(inputs)).sections],
    "faults": compose(results(inputs)).faults, "html": str(files["html"]), "runs": [str(run.path) for run in runs],
    "largest": max(t.abs().max().item() for n, t in runs[0].weights().items() if n.endswith(("weight", "bias"))),
    "layers": [e.record.layers[name].module for e in made[1:2] for name in ("middle", "last")]}))
"""


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a package lies installed, with one of each."""
    root = tmp_path_factory.mktemp("installed")
    (root / "extra").mkdir()
    for name, text in {"__init__.py": "", **FILES}.items():
        lines = text.strip("\n").splitlines()
        (root / "extra" / name).write_text("\n".join(line.removeprefix(" " * 8) for line in lines) + "\n")
    (root / "extra-1.0.dist-info").mkdir()
    (root / "extra-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    (root / "extra-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    return root


def python(extra: Path, folder: Path, *arguments: str) -> str:
    """What a Python that has the package prints, in `folder`."""
    path = os.pathsep.join([str(extra), str(Path(speedcore.__file__).parents[1])])
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": path, "SPEEDCORE_CACHE": str(folder / "cache")})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def used(extra: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("used")
    (folder / "theirs.toml").write_text(RECIPE)
    return SimpleNamespace(folder=folder, **json.loads(python(extra, folder, "-c", USE).splitlines()[-1]))


def test_one_of_each_is_found_and_takes_part(used: SimpleNamespace) -> None:
    assert used.names == ["mnist", "fashion-mnist", "cifar10", "shapes", "stripes"]
    assert used.methods[-1] == "brightness" and used.methods[0] == "grad-cam"
    at = used.sections.index("greeting")
    assert used.sections[at - 1:at + 2] == ["data", "greeting", "augmentation"] and used.faults == []
    assert "1 set of someone else’s." in (used.folder / used.html).read_text(encoding="utf-8")
    assert "clip" in used.cards and "no weight beyond a limit" in (used.folder / used.html).read_text(encoding="utf-8")
    assert used.largest == pytest.approx(0.05)  # the technique acted after the last step
    assert used.layers == ["0", "4"]  # the convolutions: no layers were named


def test_a_run_with_them_says_whose_they_are(extra: Path, used: SimpleNamespace) -> None:
    with_, without = (Run.open(used.folder / path) for path in used.runs)
    recipe = with_.record.recipe
    assert (recipe.network.factory, recipe.augment.custom[0].factory, recipe.techniques[0].factory) == (
        "extra.network:small", "extra.pixels:invert", "extra.clipping:Clip")
    for part in (recipe.network, recipe.augment.custom[0], recipe.techniques[0]):
        file = extra / f"{part.factory.partition(':')[0].replace('.', '/')}.py"
        assert part.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert recipe.network.arguments == {"width": 4}
    # The arm without augmentation is without theirs too, and has everything else.
    assert without.record.recipe == recipe.without_augmentation() and not without.record.recipe.augment.any


def test_the_run_is_trained_again_to_the_bit_elsewhere(extra: Path, used: SimpleNamespace) -> None:
    assert "the same weights to the bit" in python(extra, used.folder, "-m", "speedcore", "verify", used.runs[0])


def test_without_their_package_a_run_is_read_and_its_network_is_not_there(used: SimpleNamespace) -> None:
    run = Run.open(used.folder / used.runs[0])
    assert run.record.accuracy >= 0 and len(run.steps["step"]) == run.record.steps
    with pytest.raises(PluginError, match="'extra.network:small' is not here.*PYTHONPATH"):
        run.network()


# --- handed over as objects ------------------------------------------------------------------------------------------

MODULE = """
import torch
from torch import nn

def net(channels, size, classes, width=8):
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(classes)) \\
        if width < 0 else nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                                        nn.Linear(width * (size[0] - 2) * (size[1] - 2), classes))

def flat(channels, size, classes): return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))
def one_class_more(channels, size, classes): return flat(channels, size, classes + 1)
def nothing_to_train(channels, size, classes): return nn.Flatten()
def no_module(channels, size, classes): return lambda x: x
def fails(channels, size, classes): raise KeyError("deep")
def fails_in_a_pass(channels, size, classes): return nn.Sequential(nn.Flatten(), nn.Linear(7, classes))

def tied(channels, size, classes):
    made = flat(channels, size, classes)
    made.append(nn.Linear(classes, classes)), made.append(nn.Linear(classes, classes))
    made[3].weight = made[2].weight
    return made

def idle(channels, size, classes):
    made = flat(channels, size, classes)
    made.left_out = nn.Parameter(torch.ones(2))
    made.forward = lambda x: made[1](made[0](x))
    return made

def unknown_layer(channels, size, classes):
    made = flat(channels, size, classes)
    made.explain_layers = {"last": "7"}
    return made

def brighter(images, generator, by=1): return images.clamp_max(255 - by) + by
def floats(images, generator): return images.float()
def smaller(images, generator): return images[..., 1:]
def breaks(images, generator): raise KeyError("deep")
def in_place(images, generator): return images.fill_(7)

class Notes:
    def __init__(self, state, train, notes=None): self.said = state.said
    def on_images(self, images, progress): self.said.append(("images", progress)); return images + 1
    def after_step(self, step, progress): self.said.append(("step", step))
    def before_test(self): self.said.append(("test",))

class NoHooks:
    def __init__(self, state, train): pass
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A user's module, imported from a folder of its own."""
    name = f"theirs_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    sys.modules.pop(name)


def test_objects_are_trained_recorded_and_trained_again(theirs, tmp_path: Path) -> None:
    data, store = toys.dataset(), RunStore(tmp_path / "runs")
    run = speedcore.run(data, toys.recipe(), 60, store=store, device="cpu", network=partial(theirs.net, width=4),
                        augmentation=theirs.brighter)
    recipe = run.record.recipe
    assert recipe.name == "toy+net+brighter" and recipe.network.arguments == {"width": 4}
    assert run.network().explain_layers == {"middle": "0", "last": "0"}
    assert "the same weights to the bit" in verify(run.path, lambda name: data)
    # Another argument is another recipe, and another run; the same one is found again.
    assert speedcore.run(data, recipe, 60, store=store, device="cpu").path == run.path
    other = recipes.with_own(toys.recipe(), "toy", partial(theirs.net, width=5), theirs.brighter)
    assert other.hash != recipe.hash
    Path(theirs.__file__).write_text(MODULE + "\n# Another word.\n")
    assert recipes.with_own(toys.recipe(), "toy", partial(theirs.net, width=4), theirs.brighter).hash != recipe.hash
    with pytest.raises(PluginError, match="is not the code that the recipe was made with.*bring the old file back"):
        run.network()


def test_recipes_without_them_are_named_as_before() -> None:
    content = toys.recipe().model_dump()
    del content["techniques"], content["augment"]["custom"]
    assert Recipe.model_validate(content).hash == toys.recipe().hash
    dumped = toys.recipe(techniques=({"factory": "speedcore.training.hooks:Techniques"},))
    assert dumped.hash != toys.recipe().hash and Recipe.model_validate_json(dumped.model_dump_json(), strict=True) == dumped


@pytest.mark.parametrize(("name", "says"), [
    ("one_class_more", r"shape \(4, 5\) for 4 images; scores of shape \(4, 4\) are expected"),
    ("nothing_to_train", "has no parameters to train"), ("no_module", "returned function instead of an nn.Module"),
    ("fails", "could not be made for images of 1×16×16: KeyError: 'deep'"),
    ("fails_in_a_pass", r"does not take images of shape \(4, 1, 16, 16\): RuntimeError"),
    ("tied", "has '2.weight' and '3.weight' in the same memory"), ("idle", "take no part in its scores: left_out"),
    ("unknown_layer", "names in explain_layers what is none of its modules: 7"),
])
def test_networks_that_cannot_be_used(theirs, name: str, says: str) -> None:
    recipe = recipes.with_own(toys.recipe(), "toy", getattr(theirs, name))
    with pytest.raises(PluginError, match=f"network '{theirs.__name__}:{name}'.*{says}.*docs/extending.md"):
        networks.build(recipe.network, 1, (16, 16), 4)


def test_a_network_without_convolutions_has_no_layers_to_explain(theirs) -> None:
    recipe = recipes.with_own(toys.recipe(), "toy", theirs.flat)
    before = torch.random.get_rng_state()
    network = networks.build(recipe.network, 1, (16, 16), 4)
    assert network.explain_layers == {}
    torch.random.set_rng_state(before)
    plain = theirs.flat(1, (16, 16), 4)  # being looked at draws nothing: the weights are those of the seed
    assert torch.equal(plain[1].weight, network[1].weight) and plain[1].weight.grad is None is network[1].weight.grad


@pytest.mark.parametrize(("name", "says"), [
    ("floats", r"returned torch.float32 \(3, 1, 4, 4\); torch.uint8 \(3, 1, 4, 4\)"),
    ("smaller", r"returned torch.uint8 \(3, 1, 4, 3\)"),
    ("breaks", "failed: KeyError: 'deep'"),
])
def test_augmentations_that_cannot_be_used(theirs, name: str, says: str) -> None:
    (spec,) = recipes.with_own(toys.recipe(), "toy", augmentation=getattr(theirs, name)).augment.custom
    with pytest.raises(PluginError, match=says):
        CustomAugmenter([spec], 0, torch.device("cpu"))(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))


def test_augmentations_act_in_turn_and_leave_what_they_were_given(theirs) -> None:
    once = recipes.with_own(toys.recipe(), "toy", augmentation=theirs.in_place)
    both = recipes.with_own(once, "toy", augmentation=partial(theirs.brighter, by=3))
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    changed = CustomAugmenter(both.augment.custom, 0, torch.device("cpu"))(images)
    assert (changed == 10).all() and (images == 0).all()


def test_arguments_come_back_from_a_record_as_they_were(theirs) -> None:
    """Records are read strictly from JSON, where a tuple is a list; a recipe that changed on the way would be another one."""
    recipe = recipes.with_own(toys.recipe(), "toy", partial(theirs.net, width=(4, [8])),
                              partial(theirs.brighter, by={"most": (1, 2)}))
    again = Recipe.model_validate_json(recipe.model_dump_json(), strict=True)
    assert again == recipe and again.hash == recipe.hash
    assert again.network.arguments == {"width": [4, [8]]} and again.augment.custom[0].arguments == {"by": {"most": [1, 2]}}


def test_techniques_are_asked_for_what_they_have(theirs) -> None:
    recipe = recipes.with_own(toys.recipe(), "toy", technique=theirs.Notes)
    state = SimpleNamespace(recipe=recipe, network=nn.Linear(1, 1), said=[])
    found = Techniques(state, None)
    assert found.on_images(torch.zeros(1), 0.5).item() == 1
    found.after_step(3, 0.5)
    found.before_test()
    assert state.said == [("images", 0.5), ("step", 3), ("test",)]
    state.recipe = recipes.with_own(toys.recipe(), "toy", technique=theirs.NoHooks)
    with pytest.raises(PluginError, match="none of the methods on_images, after_step and before_test"):
        Techniques(state, None)


def test_code_that_could_not_be_found_again(theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    def local(channels, size, classes): ...

    monkeypatch.setattr(theirs.flat, "__module__", "__main__")
    for code, says in (
            (local, "inside|another function"), (lambda *shape: None, "without a name"), (theirs.flat, "a script or notebook"),
            (nn.Flatten(), "not what it made"), (partial(theirs.net, 1), "give its arguments by name"),
            (partial(theirs.net, width=torch.ones(1)), "not plain values"), ("nobody_has_this:net", "is not here"),
            ("nobody_has_this", "is no entry point of speedcore.networks"), (f"{theirs.__name__}:none", None)):
        with pytest.raises(RecipeError, match=says):
            made = recipes.with_own(toys.recipe(), "toy", code)
            assert says is None
            networks.build(made.network, 1, (16, 16), 4)
    with pytest.raises(RecipeError, match="recipe 'auto' is chosen for its network; name the recipe"):
        recipes.with_own("auto", "mnist", theirs.net)


def test_a_record_cannot_name_any_code(theirs) -> None:
    """Runs come from elsewhere too: what they name is called only if it is a user's own, defined where it is named."""
    for path in ("os:system", "subprocess:Popen", f"{theirs.__name__}:nn.Flatten", f"{theirs.__name__}:torch"):
        with pytest.raises(PluginError, match="part of Python itself|not a function or class defined in"):
            plugins.load(path)


def test_a_broken_package_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_text(
        "[speedcore.datasets]\nlost = nobody_has_this:SET\nnone = json:dumps\n")
    code = ("import warnings\nwith warnings.catch_warnings(record=True) as told:\n    warnings.simplefilter('always')\n"
            "    from speedcore.data import NAMES\nprint(NAMES, [str(w.message) for w in told])")
    said = python(tmp_path, tmp_path, "-c", code)
    assert said.startswith("('mnist', 'fashion-mnist', 'cifar10', 'shapes') ")
    assert "'lost' of speedcore.datasets (nobody_has_this:SET) is left out: ModuleNotFoundError" in said
    assert "'none' of speedcore.datasets is left out: it is no Manifest" in said


def test_errors_are_ones_that_a_person_can_act_on() -> None:
    assert issubclass(PluginError, RecipeError) and issubclass(PluginError, UserError)
