"""Damaged, copied and forged runs: each is noticed when it is opened, and leads nowhere."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load, save
from torch.nn import functional as F

from speedcore.errors import Damaged, Notice, RunError, UserError
from speedcore.planning import planned_runs
from speedcore.planning.run import run, whole_run
from speedcore.recipe import TTAConfig
from speedcore.store.consistency import score
from speedcore.store.runs import Run, RunStore
from speedcore.training import loop
from speedcore.training.loop import replay, train
from speedcore.training.verify import verify
from tests.speedcore import toys

FILES = ("run.json", "steps.csv", "epochs.csv", "weights.safetensors", "predictions.npz", "manifest.sha256")
FLIPS = 60


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    """A finished run, not to be changed."""
    recipe = toys.recipe(val_images=10, tta=TTAConfig(mirror=True))
    return train(toys.dataset(), toys.job(recipe, 20), RunStore(tmp_path_factory.mktemp("finished")))


@pytest.fixture
def copied(finished: Run, store: RunStore) -> Path:
    """A copy of the finished run, to be broken."""
    return Path(shutil.copytree(finished.path, store.root / finished.name))


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def older(run: Path) -> Path:
    """The run as it would be, had it been written before there were manifests."""
    content = json.loads((run / "run.json").read_text())
    del content["sealed"]
    content["weights_sha256"] = "0" * 64
    (run / "run.json").write_text(json.dumps(content))
    (run / "manifest.sha256").unlink()
    return run


# --- damage ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("file", FILES)
def test_every_flipped_bit_is_noticed(copied: Path, file: str) -> None:
    content, draw = (copied / file).read_bytes(), random.Random(file)
    for _ in range(FLIPS):
        bit = draw.randrange(8 * len(content))
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        (copied / file).write_bytes(harmed)
        # A wrong line of the manifest is seen at the file that it is of.
        with pytest.raises(Damaged, match=f"{copied.name}/{'.*' if file == 'manifest.sha256' else file} is damaged"):
            Run.open(copied)
    (copied / file).write_bytes(content)
    assert Run.open(copied).name == copied.name


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("change", ["missing", "empty", "cut", "longer", "link"])
def test_every_change_of_a_file_is_noticed(copied: Path, tmp_path: Path, file: str, change: str) -> None:
    path, content = copied / file, (copied / file).read_bytes()
    path.unlink()
    if change == "link":
        (tmp_path / "same").write_bytes(content)
        path.symlink_to(tmp_path / "same")
    elif change != "missing":
        path.write_bytes({"empty": b"", "cut": content[:-1], "longer": content + b"\n"}[change])
    with pytest.raises(Damaged, match=f"{copied.name}/{file} is damaged"):
        Run.open(copied)


def test_a_damaged_run_is_set_aside_whole_and_the_others_go_on(finished: Run, copied: Path, store: RunStore) -> None:
    other = toys.resealed(Path(shutil.copytree(copied, store.root / "other")), key="other")
    (copied / "steps.csv").write_text("step\n")
    before = state(copied)
    with pytest.warns(Notice, match="steps.csv is damaged.*left out"):
        assert [run.path for run in store] == [other]
    assert state(copied) == before  # listing moves nothing
    assert store.look(copied.name) is None and store.look("other").path == other and store.look("../x") is None
    assert state(copied) == before
    with pytest.warns(Notice, match="steps.csv is damaged.*set aside, in .*set-aside"):
        assert store.find(copied.name) is None
    assert state(store.root / "set-aside" / copied.name) == before and not copied.exists()
    assert len(store.notices) == 2 and all(copied.name in sentence for sentence in store.notices)
    assert [run.path for run in store] == [other]


def test_a_run_of_another_version_does_not_stop_a_look_at_the_others(finished: Run, copied: Path, store: RunStore) -> None:
    newer = toys.resealed(Path(shutil.copytree(copied, store.root / "newer")), key="newer", schema_version=2)
    with pytest.warns(Notice, match="newer was written with run schema 2.*left out"):
        assert [run.path for run in store] == [copied]
    assert store.look("newer") is None and newer.is_dir()
    with pytest.raises(RunError, match="schema 2"):
        store.find("newer")  # it is asked for: to train it anew would need its place
    assert newer.is_dir()


def test_a_build_trains_again_what_was_damaged_and_nothing_else(store: RunStore, monkeypatch) -> None:
    data, recipe = toys.dataset(), toys.recipe()
    first = [whole_run(data, recipe, "with", seed, store) for seed in (0, 1)]
    path = first[1].path / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    trained, real = [], loop.train
    monkeypatch.setattr(loop, "train", lambda data, job, *rest: trained.append(job.seed) or real(data, job, *rest))
    with pytest.warns(Notice, match="weights.safetensors is damaged"):
        again = [whole_run(data, recipe, "with", seed, store) for seed in (0, 1)]
    assert trained == [1]
    assert [run.record.weights_sha256 for run in again] == [run.record.weights_sha256 for run in first]


def test_what_is_no_run_of_ours_is_neither_moved_nor_replaced(finished: Run, store: RunStore) -> None:
    mine = store.root / finished.name
    mine.mkdir(parents=True)
    (mine / "thesis.tex").write_text("mine")
    with pytest.raises(RunError, match="not a run folder"):
        store.find(finished.name)
    with pytest.raises(RunError, match="not a run folder"):
        store.save(finished.record, finished.steps, finished.epochs, finished.weights(), finished.predictions)
    assert state(store.root) == {f"{finished.name}/thesis.tex": b"mine"}


def test_a_run_that_stands_is_never_replaced(finished: Run, copied: Path, store: RunStore) -> None:
    before = state(copied)
    other = finished.record.model_copy(update={"peak_memory_bytes": 1})
    with pytest.warns(Notice, match="another process"):
        stood = store.save(other, finished.steps, finished.epochs, finished.weights(), finished.predictions)
    assert stood.record == finished.record and state(copied) == before


# --- runs from before there were manifests ----------------------------------------------------------------------------

def test_an_older_run_is_used_and_named_as_unchecked(copied: Path, store: RunStore) -> None:
    older(copied)
    with pytest.warns(Notice, match=f"{copied.name} was written before runs had a manifest: it is used, but"):
        run = store.find(copied.name)
    assert not run.record.sealed and run.network() is not None and len(run.steps["step"]) == 20
    assert store.find(copied.name) is not None and len(store.notices) == 1  # said once


def test_an_older_run_is_compared_with_its_predictions_all_the_same(copied: Path) -> None:
    record = json.loads((older(copied) / "run.json").read_text())
    record["metrics"]["test_accuracy"] = 0.123
    (copied / "run.json").write_text(json.dumps(record))
    with pytest.raises(Damaged, match="test_accuracy is 0.123, and these numbers say"):
        Run.open(copied)


def test_an_older_run_can_be_verified(copied: Path) -> None:
    said = verify(older(copied), lambda name: toys.dataset())
    assert "no manifest to compare its files with" in said and "the same weights to the bit" in said


def test_a_manifest_cannot_be_taken_away_in_silence(copied: Path) -> None:
    (copied / "manifest.sha256").unlink()
    with pytest.raises(Damaged, match="manifest.sha256 is damaged: it is missing"):
        Run.open(copied)


# --- records are compared --------------------------------------------------------------------------------------------

def test_scores_are_those_of_the_definition() -> None:
    logits = np.float32([[0, np.log(3)], [np.log(4), 0], [1000, 0], [0, 0]])
    labels = np.array([1, 1, 0, 1])
    # Right: the first and the third; of equal logits the first class is the answer. Probabilities 3/4, 1/5, 1, 1/2.
    assert score(logits, labels) == (0.5, pytest.approx(-(np.log(0.75) + np.log(0.2) + np.log(0.5)) / 4))
    generator = np.random.default_rng(1)
    logits, labels = generator.normal(0, 3, (500, 7)).astype(np.float32), generator.integers(0, 7, 500)
    import torch

    assert score(logits, labels)[1] == pytest.approx(F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item())


@pytest.mark.parametrize(("field", "value"), [("test_accuracy", 0.0), ("test_loss", 7.0), ("test_loss", float("nan")),
                                              ("tta_accuracy", 0.0), ("tta_accuracy", None)])
def test_a_record_that_its_predictions_contradict_is_damaged(finished: Run, copied: Path, field: str, value) -> None:
    metrics = {**finished.record.metrics.model_dump(), field: value}
    with pytest.raises(Damaged, match=f"predictions.npz is damaged.*{'tta' if value is None else field}"):
        Run.open(toys.resealed(copied, metrics=metrics))


@pytest.mark.parametrize(("changes", "file", "words"), [
    ({"train_loss": 9.0}, "steps", "train_loss is 9"), ({"train_accuracy": 0.001}, "steps", "train_accuracy"),
    ({"validation_accuracy": 0.001}, "epochs", "validation_accuracy")])
def test_a_record_that_its_curves_contradict_is_damaged(finished: Run, copied: Path, changes, file: str, words: str) -> None:
    run = Run.open(toys.resealed(copied, metrics={**finished.record.metrics.model_dump(), **changes}))
    with pytest.raises(Damaged, match=f"{file}.csv.*{words}"):
        getattr(run, file)


@pytest.mark.parametrize(("change", "words"), [
    (lambda p: {**p, "labels": p["labels"] + 1}, "labels are not among 4"),
    (lambda p: {**p, "labels": p["labels"].astype("i4")}, "int32"),
    (lambda p: {**p, "logits": p["logits"][:39]}, "logits are"), (lambda p: {**p, "logits": p["logits"][:, :3]}, "logits are"),
    (lambda p: {**p, "more": p["logits"]}, "more"), (lambda p: {"labels": p["labels"]}, "it holds labels, and not"),
    (lambda p: {**p, "logits": np.roll(p["logits"], 1, 1)}, "test_accuracy")])
def test_predictions_that_are_not_of_this_run_are_damaged(finished: Run, copied: Path, change, words: str) -> None:
    np.savez(copied / "predictions.npz", **change(finished.predictions))
    with pytest.raises(Damaged, match=f"predictions.npz is damaged.*{words}"):
        Run.open(toys.resealed(copied))


def test_predictions_larger_than_the_run_are_not_read(copied: Path) -> None:
    with (copied / "predictions.npz").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(Damaged, match="1,099,511,627,776 bytes, and at most"):
        Run.open(copied)


@pytest.mark.parametrize(("changes", "words"), [
    ({"clocks": {"article": 0.001, "dawnbench": 0.001, "everything": 0.001}}, "clock 'article' shows 0.001"),
    ({"clocks": {}}, "clock"), ({"ledger": {"sleep": 1.0}}, "phase"), ({"recipe_hash": "0" * 12}, "recipe_hash")])
def test_a_record_that_contradicts_itself_is_damaged(copied: Path, changes: dict, words: str) -> None:
    with pytest.raises(Damaged, match=f"run.json is damaged.*{words}"):
        Run.open(toys.resealed(copied, **changes))


def test_weights_are_compared_with_the_record_by_their_file_alone(finished: Run, copied: Path) -> None:
    path = copied / "weights.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == finished.record.weights_sha256
    weights = load(path.read_bytes())
    weights["head.weight"] = -weights["head.weight"]
    path.write_bytes(save(weights))
    with pytest.raises(Damaged, match="weights.safetensors is damaged: its sha256 is not weights_sha256"):
        Run.open(toys.resealed(copied))


def test_a_record_does_not_ask_for_more_memory_than_its_weights_have(copied: Path, monkeypatch) -> None:
    recipe = json.loads((copied / "run.json").read_text())["recipe"]
    recipe["network"]["widths"] = [30_000, 30_000, 30_000]
    hash_ = toys.recipe(network=recipe["network"], val_images=10, tta=TTAConfig(mirror=True)).hash
    run = Run.open(toys.resealed(copied, recipe=recipe, recipe_hash=hash_, parameters={"trainable": 10**12}))
    monkeypatch.setattr("speedcore.networks.build", None)
    with pytest.raises(Damaged, match="weights.safetensors.*as many numbers as run.json says"):
        run.network()


# --- forged names and numbers ----------------------------------------------------------------------------------------

BAD = ["..", "../victim", "/victim", "a/b", "a\\b", "C:\\victim", "nul", "a\0b", "a\nb", ".hidden", "", "x" * 300, "\ud800"]


@pytest.mark.parametrize("field", ["key", "arm"])
@pytest.mark.parametrize("name", BAD)
def test_a_name_that_leads_elsewhere_is_refused_on_the_way_in(copied: Path, field: str, name: str) -> None:
    with pytest.raises(Damaged, match="run.json is damaged"):
        Run.open(toys.resealed(copied, **{field: name}))


@pytest.mark.parametrize("name", ["a\nb", ".hidden", "a\\b", "nul", "a:b"])
def test_a_folder_may_have_a_name_that_no_key_can_be(copied: Path, name: str) -> None:
    with pytest.raises(Damaged, match="run.json is damaged: field key"):
        Run.open(toys.resealed(copied.rename(copied.with_name(name)), key=name))


def test_a_key_is_the_name_of_its_folder(copied: Path) -> None:
    with pytest.raises(Damaged, match="of a run 'another', and the folder is called 'toy-with-s0'"):
        Run.open(toys.resealed(copied, key="another"))


@pytest.mark.parametrize("name", BAD)
def test_a_store_keeps_nothing_under_a_name_that_leads_elsewhere(finished: Run, store: RunStore, tmp_path: Path, name) -> None:
    (tmp_path / "victim").mkdir()
    name = name.replace("/victim", f"{tmp_path}/victim") if name.startswith("/") else name
    record = finished.record.model_copy(update={"key": name})
    with pytest.raises(RunError, match="cannot be kept under that name"):
        store.save(record, finished.steps, finished.epochs, finished.weights(), finished.predictions)
    with pytest.raises(RunError, match="cannot be kept"):
        train(toys.dataset(), toys.job(toys.recipe(), 2, key=name or " "), store)
    assert store.find(name) is None
    assert [path.name for path in tmp_path.rglob("*")] == ["victim"]


@pytest.mark.parametrize("arm", ["../x", "a/b", "a\nb"])
def test_what_could_not_be_kept_is_not_trained(store: RunStore, arm: str, monkeypatch) -> None:
    monkeypatch.setattr(loop, "fit", None)
    with pytest.raises(RunError, match="cannot be kept"):
        train(toys.dataset(), toys.job(toys.recipe(), 2, key="a", arm=arm), store)
    with pytest.raises(RunError, match="cannot be kept"):
        train(toys.dataset(name=arm + "\x1b"), toys.job(toys.recipe(), 2, key="a"), store)


def test_a_recorded_key_is_no_place_to_write_to(finished: Run, store: RunStore, tmp_path: Path) -> None:
    """However the record came about: replaying and verifying write to the store that they are given, and nowhere else."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.tex").write_text("mine")
    for key in (str(victim), "../victim"):
        forged = Run(finished.path, finished.record.model_copy(update={"key": key}))
        again = replay(forged, toys.dataset(), RunStore(tmp_path / "again" / key.replace("/", "")))
        assert again.name == "replayed" and again.record.weights_sha256 == finished.record.weights_sha256
    assert state(victim) == {"thesis.tex": b"mine"} and not store.root.exists()


def test_verify_leaves_everything_as_it_is(copied: Path, tmp_path: Path) -> None:
    before = state(tmp_path)
    assert "the files are what was written; trained again, the same weights" in verify(copied, lambda name: toys.dataset())
    assert state(tmp_path) == before


def test_verify_names_what_differs(finished: Run, copied: Path) -> None:
    with pytest.raises(RunError, match="the weights differ, first in '.+' "):
        verify(toys.resealed(copied, seed=5), lambda name: toys.dataset())
    toys.resealed(copied, seed=0)
    with pytest.raises(RunError, match="trained on other bytes"):
        verify(copied, lambda name: toys.dataset(train=120))
    predictions = {**finished.predictions, "logits": finished.predictions["logits"] * np.float32(1.000001)}
    np.savez(copied / "predictions.npz", **predictions)
    with pytest.raises(RunError, match="its logits are not what they answer"):
        verify(toys.resealed(copied), lambda name: toys.dataset())


@pytest.mark.parametrize(("changes", "words"), [
    ({"steps": 0}, "steps"), ({"steps": -1}, "steps"), ({"steps": 2**60}, "steps"), ({"steps": True}, "steps"),
    ({"steps": "20"}, "steps"), ({"steps": 20.0}, "steps"), ({"epochs": float("nan")}, "epochs"),
    ({"limit_seconds": float("inf")}, "limit_seconds"), ({"final_lr": float("inf")}, "final_lr"),
    ({"peak_memory_bytes": 10**19}, "peak_memory_bytes"), ({"seed": 10**19 * 9}, "seed"),
    ({"steps": int("9" * 30)}, "30 digits"), ({"weights_sha256": "../x"}, "weights_sha256"), ({"device": "cpu\n"}, "device"),
    ({"ledger": {"train": -1.0}}, "ledger"), ({"provenance": []}, "provenance"), ({"replans": [{"step": 1}]}, "replans")])
def test_numbers_and_types_are_checked_on_the_way_in(copied: Path, changes: dict, words: str) -> None:
    with pytest.raises(Damaged, match=f"run.json is damaged.*{words}"):
        Run.open(toys.resealed(copied, **changes))


@pytest.mark.parametrize(("field", "value"), [
    ("name", "a\nb"), ("name", "\x1b[2J"), ("classes", []), ("channels", 0), ("height", 10**9), ("test_images", 0),
    ("mean", [float("nan")]), ("mean", [0.0, 0.0]), ("train_images", -1)])
def test_what_is_said_of_the_data_is_checked_on_the_way_in(copied: Path, field: str, value) -> None:
    data = json.loads((copied / "run.json").read_text())["data"]
    with pytest.raises(Damaged, match="run.json is damaged"):
        Run.open(toys.resealed(copied, data={**data, field: value}))


def test_json_of_absurd_depth_is_named(copied: Path) -> None:
    text = (copied / "run.json").read_text()
    deep = "[" * 50_000 + "]" * 50_000
    (copied / "run.json").write_text(text.replace('"provenance": {', f'"provenance": {{"a": {deep}, ', 1))
    with pytest.raises(Damaged, match="run.json is damaged.*nested too deeply"):
        Run.open(toys.resealed(copied))


@pytest.mark.parametrize("arm", ["bogus", "With", "", "none"])
def test_an_arm_that_there_is_not_is_refused_before_anything_is_loaded(store: RunStore, arm: str, monkeypatch) -> None:
    monkeypatch.setattr("speedcore.data.load", None)
    with pytest.raises(UserError, match=f"arm '{arm}' is not one of with, without"):
        run("shapes", recipe="sprint", arm=arm, store=store)
    with pytest.raises(UserError, match="is not one of"):
        planned_runs.job(None, None, "cpu", arm, 0)
