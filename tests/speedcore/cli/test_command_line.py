"""Command lines: each mistake is one message on stderr and an exit status, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from speedcore import recipes
from speedcore.checks import count_of, seconds_of
from speedcore.cli.app import app
from speedcore.cli.console import console, device_of, run_app
from speedcore.cli.datasets import dataset_names
from speedcore.errors import UserError
from speedcore.planning import costs
from speedcore.planning import plan as planning
from speedcore.planning.request import Request
from speedcore.store.runs import RunStore
from tests.speedcore import toys
from tests.speedcore.data.making import class_folders, write

SHAPES = "shapes:train=200,test=40"


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """cli("train", "--seed", "1") -> (exit status, stdout, stderr), in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["speedcore", *map(str, words)])
        status = run_app(app)
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return call


@pytest.fixture
def toy_recipe(monkeypatch) -> str:
    monkeypatch.setitem(recipes.BUILT_IN, "toy", {"*": toys.recipe(name="toy")})
    return "toy"


def one_message(status: int, err: str, *words: str) -> None:
    assert status not in (0, None)
    assert "Traceback" not in err
    assert err.count("error: ") == 1, err
    for word in words:
        assert word in err, err


MISTAKES = [
    (("train", "--nosuch"), ["--nosuch"]),
    (("nosuch",), ["nosuch"]),
    (("study", "nosuch"), ["nosuch"]),
    (("train", "--dataset", "mnits"), ["unknown data set 'mnits'", "mnist"]),
    (("plan", "--datasets", "shapes,mnits"), ["unknown data set 'mnits'"]),
    (("plan", "--datasets", " , "), ["--dataset is empty"]),
    (("plan",), ["--all", "--dataset"]),
    (("data", "--datasets", "nosuch"), ["unknown data set 'nosuch'", "shapes"]),
    (("train", "--dataset", SHAPES, "--recipe", "nosuch"), ["no recipe 'nosuch'", "article, ", "record, sprint"]),
    (("plan", "--datasets", SHAPES, "--recipe", "missing.toml"), ["missing.toml", "does not exist"]),
    (("train", "--dataset", SHAPES, "--recipe", "auto.toml"), ["auto.toml"]),
    (("train", "--budget", "long"), ["--budget 'long' is not a duration", "90s"]),
    (("train", "--budget", "-5"), ["--budget"]),
    (("train", "--budget", "0"), ["--budget '0'"]),
    (("train", "--budget", "nan"), ["--budget 'nan'"]),
    (("train", "--budget", "inf"), ["--budget 'inf'"]),
    (("plan", "--datasets", SHAPES, "--within", "soon"), ["--within 'soon'", "20m"]),
    (("plan", "--datasets", SHAPES, "--seeds", "0"), ["--seeds '0'", "auto"]),
    (("plan", "--datasets", SHAPES, "--seeds", "two"), ["--seeds 'two'"]),
    (("plan", "--datasets", SHAPES, "--seeds", "1.5"), ["--seeds '1.5'"]),
    (("train", "--seed", "-1"), ["--seed", "0"]),
    (("train", "--seed", "99999999999999999999"), ["--seed"]),
    (("train", "--seed", "x"), ["--seed"]),
    (("train", "--device", "tpu"), ["device 'tpu'", "cpu"]),
    (("train", "--device", "cpu:x"), ["device 'cpu:x'"]),
    (("train", "--device", "cuda:99"), ["device 'cuda:99'"]),
    (("train", "--policy", "kind"), ["--clock 'kind'", "article, dawnbench, everything"]),
    (("train", "--arm", "left"), ["--arm 'left'", "with, without"]),
    (("train", "--data-mode", "cloud"), ["--data-mode 'cloud'", "precomputed"]),
    (("train", "--dataset", "folder:nowhere"), ["nowhere"]),
    (("train", "--dataset", "shapes:corner=2"), ["correlation"]),
    (("train", "--dataset", "mnist", "--data", "nowhere", "--offline"), ["nowhere", "--data"]),
    (("precompute", "--dataset", SHAPES, "--epochs", "-1"), ["--epochs"]),
    (("precompute", "--dataset", SHAPES, "--epochs", "nan"), ["--epochs"]),
    (("verify", "nowhere"), ["nowhere", "not a run folder"]),
    (("verify",), ["argument 'run'"]),
    (("study", "lr-finder", "--steps", "3"), ["--steps"]),
    *((("study", "lr-by-dataset-size", "--factors", text), ["--factors", "above 0"])
      for text in ("1e400", "1e999999999", "9" * 5000, "1/0", "nan", "inf", "1/2/3", "-1")),
    (("train", "--dataset", "folder:~nobody-has-this-name/x"), ["~nobody-has-this-name/x"]),
    (("train", "--dataset", "folder:" + "x" * 260), ["too long"]),
    (("train", "--dataset", "mnist", "--data", "x" * 260), ["too long"]),
    (("train", "--dataset", SHAPES, "--recipe", "x" * 260), ["no recipe"]),
    (("train", "--dataset", SHAPES, "--recipe", "x" * 260 + ".toml"), ["too long"]),
    (("verify", "x" * 260), ["too long"]),
    (("train", "--dataset", "shapes:train=" + "9" * 30), ["more than"]),
    (("plan", "--datasets", "folder:a/pets,folder:b/pets"), ["would both be called folder:pets"]),
]


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=" ".join)
def test_each_mistake_is_one_message_and_a_status(cli, words, expected) -> None:
    status, out, err = cli(*words)
    one_message(status, err, *expected)
    assert out == ""


@pytest.mark.parametrize(("text", "words"), [
    ("epochs = = 1", ["mine.toml", "not valid TOML"]), ("epocks = 1", ["mine.toml", "epocks"]),
    ('base = "article"\n[augment]\ncrop = -3', ["mine.toml", "augment.crop"])])
def test_a_malformed_recipe_is_named_before_any_data_is_touched(cli, tmp_path, text: str, words: list[str]) -> None:
    (tmp_path / "mine.toml").write_text(text)
    for command in (("train", "--dataset", "mnist", "--offline"), ("plan", "--datasets", "mnist", "--offline")):
        status, _, err = cli(*command, "--recipe", "mine.toml")
        one_message(status, err, *words)


def test_data_that_cannot_be_had_are_one_message(cli) -> None:
    status, _, err = cli("train", "--dataset", "cifar10", "--offline")
    one_message(status, err, "cifar10", "--data")


def test_a_budget_too_small_for_a_step_is_one_message(cli, toy_recipe) -> None:
    status, _, err = cli("train", "--dataset", SHAPES, "--recipe", "toy", "--budget", "0.00001", "--runs", "runs")
    one_message(status, err, "raise --budget", "toy")
    assert not list(Path("runs").glob("shapes*"))


def test_a_runs_folder_that_cannot_be_written_is_one_message(cli, toy_recipe) -> None:
    Path("file").write_text("")
    status, _, err = cli("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "file/runs")
    one_message(status, err, "file", "--runs")


def test_a_path_that_is_too_long_is_one_message(cli, toy_recipe) -> None:
    status, _, err = cli("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "x" * 260)
    one_message(status, err, "too long")


def test_an_interrupt_is_a_message_and_status_130(cli, toy_recipe, monkeypatch) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(costs, "measure", stop)
    status, _, err = cli("train", "--dataset", SHAPES, "--recipe", "toy")
    assert status == 130 and "continues from there" in err and "Traceback" not in err


def test_a_bug_is_not_dressed_up_as_a_users_mistake(cli, toy_recipe, monkeypatch) -> None:
    def bug(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(costs, "measure", bug)
    with pytest.raises(ZeroDivisionError):
        cli("train", "--dataset", SHAPES, "--recipe", "toy")


# --- the commands ----------------------------------------------------------------------------------------------------

def test_train_names_the_folder_finds_it_again_and_verify_agrees(cli, toy_recipe) -> None:
    command = ("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "runs", "--device", "cpu")
    status, out, err = cli(*command)
    assert status == 0
    (run,) = RunStore("runs")
    assert out.strip() == str(run.path)
    assert "test accuracy" in err and "last rate at 0 of the peak" in err
    before = (run.path / "run.json").stat().st_mtime_ns
    assert cli(*command)[:2] == (0, out)
    assert (run.path / "run.json").stat().st_mtime_ns == before
    status, out, _ = cli("verify", run.path)
    assert status == 0 and "the same weights to the bit" in out


def test_verify_says_when_the_weights_differ(cli, toy_recipe) -> None:
    cli("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "runs", "--device", "cpu")
    (run,) = RunStore("runs")
    toys.resealed(run.path, seed=1)
    status, _, err = cli("verify", run.path)
    one_message(status, err, "its files are what was written", "the weights differ, first in '", "recorded")


def test_verify_reads_the_files_before_it_trains(cli, toy_recipe, monkeypatch) -> None:
    cli("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "runs", "--device", "cpu")
    (run,) = RunStore("runs")
    weights = run.path / "weights.safetensors"
    harmed = bytearray(weights.read_bytes())
    harmed[-1] ^= 1
    weights.write_bytes(harmed)
    monkeypatch.setattr("speedcore.training.loop.train", None)
    status, _, err = cli("verify", run.path)
    one_message(status, err, "weights.safetensors is damaged: it is not the file that was written")
    assert weights.read_bytes() == harmed  # what is looked at stays where it is


def test_plan_trains_nothing_and_shows_what_stands(cli, toy_recipe) -> None:
    options = ("--datasets", SHAPES, "--recipe", "toy", "--runs", "runs", "--device", "cpu", "--seeds", "2")
    status, out, _ = cli("plan", *options)
    assert status == 0 and "0 of 4" in out
    assert list(RunStore("runs")) == []
    cli("train", "--dataset", SHAPES, "--recipe", "toy", "--runs", "runs", "--device", "cpu")
    assert "1 of 4" in cli("plan", *options)[1]


def test_precompute_writes_epochs_and_says_how_fast(cli, toy_recipe) -> None:
    status, out, _ = cli("precompute", "--dataset", SHAPES, "--recipe", "toy", "--epochs", "2", "--into", "epochs")
    assert status == 0
    images = 2 * (200 // 40) * 40
    assert f"{images} augmented images" in out
    assert sum(path.stat().st_size for path in Path("epochs").iterdir()) == images * (3 * 32 * 32 + 8)


def test_the_range_test_shows_its_curve_and_names_its_file(cli, toy_recipe) -> None:
    status, out, _ = cli("study", "lr-finder", "--dataset", SHAPES, "--recipe", "toy", "--steps", "10", "--runs", "runs",
                         "--device", "cpu")
    assert status == 0
    assert Path(out.splitlines()[-1]).is_file() and "the recipe's peak is 0.05" in out


def test_data_lists_what_there_is_and_what_there_is_not(cli) -> None:
    status, out, err = cli("data", "--datasets", f"cifar10,{SHAPES}", "--offline")
    assert (status, err) == (0, "")
    assert "200 / 40" in out and "cifar10" in out and "--data" in out


@pytest.fixture
def pets(tmp_path) -> Path:
    folder = write(tmp_path / "one" / "pets", class_folders(train=60, test=10, size=(32, 32)))
    (folder / "README").write_text("")
    return folder


def test_data_plan_and_train_say_what_was_used_and_which_classes_there_are(cli, toy_recipe, pets) -> None:
    said = ("2 classes: cat, dog", "141 files found: 140 used, 1 left out (1 no image by its name", "'README'), 0 ignored")
    name, options = f"folder:{pets}", ("--recipe", "toy", "--runs", "runs", "--device", "cpu")
    _, listed, _ = cli("data", "--datasets", name)
    _, planned, _ = cli("plan", "--datasets", name, *options, "--seeds", "1")
    _, _, trained = cli("train", "--dataset", name, *options)
    for shown in (listed, planned, trained):
        assert all(words in shown for words in said), shown


def test_a_folder_that_moved_or_was_renamed_trains_nothing_again(cli, toy_recipe, pets, tmp_path) -> None:
    options = ("--recipe", "toy", "--runs", "runs", "--device", "cpu")
    status, first, _ = cli("train", "--dataset", f"folder:{pets}", *options)
    (run,) = RunStore("runs")
    assert run.name.startswith("folder-pets-with-toy-s0-") and run.record.data.name == "folder:pets"
    for file in Path("runs").rglob("*"):
        if file.suffix in (".json", ".csv"):
            assert str(tmp_path) not in file.read_text() and str(tmp_path) not in str(file)
    for place in (tmp_path / "two" / "pets", tmp_path / "two" / "animals"):
        place.parent.mkdir(exist_ok=True)
        pets.rename(place)
        pets = place
        assert cli("train", "--dataset", f"folder:{pets}", *options)[:2] == (0, first)
        status, planned, _ = cli("plan", "--datasets", f"folder:{pets}", *options, "--seeds", "1")
        assert "1 of 2" in planned and f"folder:{pets.name}" in planned
    status, out, _ = cli("verify", run.path, "--data", pets)
    assert status == 2  # its record says pets, and that is no more
    pets.rename(tmp_path / "two" / "pets")
    status, out, _ = cli("verify", run.path, "--data", tmp_path / "two")
    assert status == 0 and "the same weights to the bit" in out


def test_runs_that_are_found_under_another_name_bear_the_new_one(toy_recipe, pets, tmp_path, monkeypatch) -> None:
    from speedcore.data import load
    from speedcore.planning import execute as executors

    monkeypatch.setattr(costs, "_PROBE_SECONDS", 0.01)
    store, request = RunStore(tmp_path / "runs"), Request("toy", within=None, seeds=1)
    first = load(f"folder:{pets}")
    executors.execute(planning.make_plan([first], request, store), request, {first.name: first}, store)
    pets.rename(pets.parent / "animals")
    renamed = load(f"folder:{pets.parent / 'animals'}")
    plan = planning.make_plan([renamed], request, store)
    assert [course.dataset for course in plan.planned] == ["folder:animals"] and "folder:pets" not in " ".join(plan.notes)
    outcome = executors.execute(plan, request, {renamed.name: renamed}, store)
    assert outcome.reused == 2 and {run.record.data.name for run in outcome.runs} == {"folder:animals"}


# --- pieces ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("text", "seconds"), [
    ("90", 90), ("90s", 90), ("20m", 1200), ("1.5h", 5400), (" 2M ", 120), ("none", None), (45, 45), ("1e2", 100)])
def test_durations(text, seconds) -> None:
    assert seconds_of(text, "--within") == seconds


@pytest.mark.parametrize("text", ["", "m", "-3", "0", "0s", "1d", "1m30s", "nan", "inf", "infs", "1,5h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UserError, match="--within"):
        seconds_of(text, "--within")


def test_counts() -> None:
    assert (count_of("auto", "--seeds"), count_of(" AUTO", "--seeds"), count_of("7", "--seeds"), count_of(3, "--seeds")) \
        == (None, None, 7, 3)
    for text in ("-1", "0", "", "1e3", "10001"):
        with pytest.raises(UserError, match="--seeds"):
            count_of(text, "--seeds")


def test_devices() -> None:
    assert device_of("cpu") == "cpu"
    assert device_of("auto") in ("cpu", "cuda")


def test_names_of_data_sets_may_hold_commas_of_their_own() -> None:
    assert dataset_names(False, "mnist,shapes:corner=0.9,seed=3, cifar10,mnist") == \
        ["mnist", "shapes:corner=0.9,seed=3", "cifar10"]
    assert dataset_names(True, None) == ["mnist", "fashion-mnist", "cifar10", "shapes"]


# --- a fresh interpreter ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("code", [
    "import speedcore",
    "import speedcore; dir(speedcore); speedcore.__version__",
    "import sys; sys.argv = ['speedcore', '--help']\nfrom speedcore.cli.app import app\n"
    "from speedcore.cli.console import run_app\nrun_app(app)",
    "import sys; sys.argv = ['speedcore', 'train', '--help']\nfrom speedcore.cli.app import app\n"
    "from speedcore.cli.console import run_app\nrun_app(app)",
])
def test_nobody_waits_for_torch_who_does_not_need_it(checkout: Path, code: str) -> None:
    ending = "\nimport sys; print(); print(sorted({'torch', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + ending], cwd=checkout, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_runs_as_a_program(checkout: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "speedcore", *words], cwd=checkout, capture_output=True, text=True,
                              check=False)

    helped = run("--help")
    assert helped.returncode == 0 and "lr-finder" not in helped.stdout and "precompute" in helped.stdout
    alone = run()
    assert alone.returncode == 2 and "Usage" in alone.stdout and alone.stderr == ""
    wrong = run("train", "--nosuch")
    one_message(wrong.returncode, wrong.stderr, "--nosuch", "--help")


def test_names_between_colons_stay_names(capsys) -> None:
    """rich would print ":x:" as a picture, also without markup."""
    console(stderr=False).print("folder:x: no such folder", markup=False)
    assert capsys.readouterr().out == "folder:x: no such folder\n"
