"""README: its generated parts are those of the result files, it is short, and its picture shows what the runs hold."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from benchmarks import picture, readme
from speedcore.clock import Budget
from speedcore.data import Dataset, make_shapes
from speedcore.errors import UserError
from speedcore.recipe import Augment, Recipe, RecordNetConfig, SGDConfig
from speedcore.store.runs import RunStore
from speedcore.training.loop import Job, train

TEXT = readme.README.read_text(encoding="utf-8")


def test_generated_parts_are_those_of_the_result_files() -> None:
    assert readme.written(TEXT) == TEXT, "python -m benchmarks.readme makes them anew"


def test_a_part_that_was_changed_by_hand_is_made_anew() -> None:
    changed = TEXT.replace("|MNIST|99 %|29 of 30|", "|MNIST|99 %|30 of 30|")
    assert changed != TEXT and readme.written(changed) == TEXT


def test_a_readme_without_its_marks_is_refused() -> None:
    with pytest.raises(UserError, match="<!-- peers -->"):
        readme.written(TEXT.replace("<!-- peers -->", ""))


def test_it_is_short() -> None:
    assert len(TEXT.split()) <= 700
    assert max(len(line) for line in TEXT.splitlines() if line.startswith("|")) <= 100


def test_what_did_not_work_is_in_the_tables() -> None:
    """Of three kinds of loss, the result files hold each; a table that leaves them out is none."""
    notes = readme.Footnotes()
    fast, helps, beside = ("\n".join(make(notes)) for make in (readme.how_fast, readme.augmentation, readme.peers))
    assert "|3 of 5|" in fast                                    # runs that did not get there
    assert "no: **lower**" in helps                              # the opposite of the claim
    assert "0.79 to" in beside and "0.99 (0.92" in beside        # slower than others; nothing gained


@pytest.mark.parametrize(("name", "mark"), [("a", "¹"), ("b", "²"), ("c-avx2", "³"), ("d", "¹")])
def test_machines_are_numbered_in_the_order_of_their_names(name: str, mark: str) -> None:
    notes = readme.Footnotes()
    processors = {"a": "One", "b": "Two", "c-avx2": "Two", "d": "One"}
    marks = {key: notes.mark({"name": key, "provenance": {"processor": processor, "cores": 2}})
             for key, processor in processors.items()}
    assert marks[name] == mark
    assert notes.line("¹³", "Clock.") == "¹ One, 2 cores; ³ Two, 2 cores, AVX2 without bf16. Clock."


# --- picture -----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunStore, Dataset]:
    """Both arms of two seeds, a few steps each."""
    store, dataset = RunStore(tmp_path_factory.mktemp("pictured")), make_shapes(train=300, test=50)
    recipe = Recipe(name="tiny", network=RecordNetConfig(widths=(8, 12, 16)), optimizer=SGDConfig(lr=0.1), batch_size=50,
                    epochs=2, augment=Augment(crop=2, flip="random"))
    for seed in (0, 1):
        for arm, own in (("with", recipe), ("without", recipe.without_augmentation())):
            train(dataset, Job(f"shapes-{arm}-tiny-s{seed}", own, arm, seed, Budget(1000), 1000, 10, 10), store)
    return store, dataset


@pytest.fixture(scope="module")
def shown(made: tuple[RunStore, Dataset]) -> picture.Content:
    return picture.content(*made)


def test_the_curves_are_means_of_the_runs(made, shown: picture.Content) -> None:
    runs = [run for run in made[0] if run.record.arm == "with"]
    curve = shown.curves["with"]
    seconds = [float(run.steps["seconds"][-1]) for run in runs]
    last = [float(run.epochs["validation_accuracy"][-1]) for run in runs]
    assert curve.runs == 2
    assert curve.seconds[-1] == pytest.approx(sum(seconds) / 2) and curve.validation[-1] == pytest.approx(sum(last) / 2)
    assert curve.end == pytest.approx((sum(run.record.clocks["article"] for run in runs) / 2,
                                       sum(run.record.metrics.test_accuracy for run in runs) / 2))
    assert list(curve.seconds) == sorted(curve.seconds)


def test_four_images_of_as_many_kinds_as_there_are(made, shown: picture.Content) -> None:
    truth = {name for name in made[1].classes}
    assert len(shown.looked) == 4 and {looked.label for looked in shown.looked} <= truth
    for looked in shown.looked:
        assert looked.image.shape == looked.maps["with"].shape == looked.maps["without"].shape == (32, 32, 3)
        assert looked.label not in looked.wrong.values()
    assert any(wrong for looked in shown.looked for wrong in looked.wrong.values())  # after ten steps there are mistakes


def test_published_points_are_what_the_sources_report() -> None:
    points, sources = picture._published("mnist")
    assert picture.Point(0.762, 0.99041, peeked=False) in points and picture.Point(172, 0.99185, peeked=False) in points
    assert [p.peeked for p in points] == [False, *[True] * 4, *[False] * 4] and "0.76 seconds" in sources[0]
    assert picture._published("shapes") == ((), ())


def test_the_verdict_is_the_reports(shown: picture.Content) -> None:
    assert "2 pairs of seeds cannot settle the claim" in shown.verdict


def test_one_arm_alone_is_no_picture(made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reports.build --dataset shapes"):
        picture.content(RunStore(tmp_path), made[1])


def test_it_is_drawn_as_a_png_that_can_be_read_at_half_its_size(shown: picture.Content, tmp_path: Path) -> None:
    content = picture.draw(shown, tmp_path / "picture.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG") and width >= 1600 and height < width and len(content) <= 300_000


def test_the_committed_picture_is_small_and_has_its_result_file() -> None:
    assert readme.PICTURE.stat().st_size <= 300_000
    shown = readme.result("readme-picture")
    assert {row["arm"] for row in shown["rows"]} == {"with", "without"}
