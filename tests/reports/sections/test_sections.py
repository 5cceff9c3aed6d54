"""What the report says, against numbers recomputed from the runs without any of its code."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

import reports
from reports.compose import compose
from reports.inputs import Inputs
from reports.model import Group, Table
from reports.results import load
from reports.sections.mistakes import confusion_counts
from speedcore.recipe import DavidNetConfig
from speedcore.store.runs import Run, RunStore
from tests.reports import making
from tests.reports.conftest import AUGMENTED, WITHOUT


def blocks(model) -> list:
    found = []
    for section in model.sections:
        stack = list(section.blocks)
        while stack:
            block = stack.pop(0)
            found.append(block)
            stack = list(block.blocks) + stack if isinstance(block, Group) else stack
    return found


def table(model, name: str) -> Table:
    return next(block for block in blocks(model) if isinstance(block, Table) and block.id == name)


def rows(model, name: str) -> list[dict[str, str]]:
    one = table(model, name)
    return [{column.label: cell.text for column, cell in zip(one.columns, row, strict=True)} for row in one.rows]


def plain(text: str) -> str:
    return text.replace("\xa0", " ").replace("−", "-")


def test_the_appendix_names_the_cards_of_the_methods_that_are_used(whole, checkout) -> None:
    found = {row["Method"]: row for row in rows(whole.model, "methods")}
    # The recipe of these runs crops, flips and cuts out under SGD; the arm without augmentation has its name.
    assert {"Cutout", "Pad and crop", "Random flip", "The rate inside the momentum buffer"} <= set(found)
    assert not {"Muon", "Alternating flip", "Label smoothing", "bf16"} & set(found)
    assert found["Cutout"]["Used by"] == "tiny"
    assert all((checkout / "docs" / "methods" / row["Card in docs/methods"]).is_file() for row in found.values())


def told(run: Run, **provenance) -> Run:
    """The run as if its provenance had said so."""
    record = run.record
    return Run(run.path, record.model_copy(update={"provenance": {**record.provenance, **provenance}}))


def test_the_settings_are_the_recipe_in_words(whole) -> None:
    one = table(whole.model, "settings")
    columns = [column.label for column in one.columns]
    assert columns == ["Setting", "MNIST and Folder “cats”"]
    found = {row["Setting"]: row[columns[1]] for row in rows(whole.model, "settings")}
    words = making.RECIPE.describe(whole.inputs.runs[0].record.provenance)
    assert found == {"Recipe": f"tiny ({making.RECIPE.hash})", **words} and found["Loss"] == "cross-entropy, mean over the batch"


def test_arithmetic_and_convolutions_are_those_of_the_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(making, "RECIPE", making.RECIPE.changed(precision="bf16", channels_last=True, convolutions="auto"))
    store, data = RunStore(tmp_path), making.dataset()
    runs = [making.save(store, data, "with", seed, 20) for seed in (0, 1)]
    slow = "trained in fp32: on this processor bf16 takes 8 × as long"
    first = told(runs[0], arithmetic="fp32", arithmetic_reason=slow, convolutions="torch")
    model = compose(load(Inputs({}, (first,))))
    text = plain(str(model.sections[0].blocks))
    assert "came down to its end. Trained in fp32: on this processor bf16 takes 8 × as long." in text
    facts = dict(next(b for s in model.sections if s.id == "provenance" for b in s.blocks if b.kind == "facts").rows)
    assert facts["Arithmetic"] == "T" + slow[1:] and facts["3×3 convolutions"] == "torch"
    assert '"arithmetic": "fp32"' in model.data and '"convolutions": "torch"' in model.data
    said = {row["Setting"]: row["MNIST"] for row in rows(model, "settings")}
    assert said["3×3 convolutions"] == "torch’s (asked for: the fastest backend of the machine)"
    assert said["Arithmetic"].startswith("fp32 (asked for: bf16 on weights in fp32)")
    used = {row["Method"] for row in rows(model, "methods")}
    assert not {"bf16", "Winograd's convolutions", "Convolutions on the matrix unit"} & used
    # Where runs differ, all that ran is said.
    both = compose(load(Inputs({}, (first, told(runs[1], arithmetic="bf16", convolutions="winograd")))))
    said = {row["Setting"]: row["MNIST"] for row in rows(both, "settings")}
    assert "torch’s (asked" in said["3×3 convolutions"] and " or by Winograd (asked" in said["3×3 convolutions"]
    assert {"bf16", "Winograd's convolutions"} <= {row["Method"] for row in rows(both, "methods")}


def test_accuracy_rows(whole) -> None:
    for row, rights in zip(rows(whole.model, "results-accuracy")[:2], (WITHOUT, AUGMENTED), strict=True):
        shares = np.array(rights) / 30
        # t(5), stretched by 1.75 times the skewness on that side; the sign flips' bounds of six values are the extremes.
        reach, skewness = 2.570582 * shares.std(ddof=1) / math.sqrt(6), ((shares - shares.mean())**3).mean() / shares.std()**3
        low = min(shares.min(), shares.mean() - reach * (1 + 1.75 * max(0, -skewness)))
        high = max(shares.max(), shares.mean() + reach * (1 + 1.75 * max(0, skewness)))
        assert row["n"] == "6"
        assert plain(row["Test accuracy"]) == f"{100 * shares.mean():.2f} ± {100 * shares.std(ddof=1):.2f} %"
        assert plain(row["95 % interval"]) == f"{100 * low:.2f} to {100 * high:.2f}"
        assert plain(row["Min to max"]) == f"{100 * shares.min():.2f} to {100 * shares.max():.2f}"


def test_files_are_marked_in_the_accuracy_table(whole) -> None:
    found = {(row["Data set"], row["Files"]) for row in rows(whole.model, "results-accuracy")}
    assert found == {("MNIST", "official files"), ("Folder “cats”", "not the official files")}


def test_cost_rows(whole) -> None:
    first = rows(whole.model, "results-cost")[0]
    # Seeds 0..5 train 40 + seed seconds: mean 42.5, most 45 of the budget of 1000; preparing adds 2, loading and test 4.
    assert plain(first["Clock “article”"]) == "42.5 s"
    assert plain(first["Clock “dawnbench”"]) == "44.5 s"
    assert plain(first["Clock “everything”"]) == "48.5 s"
    assert plain(first["Share of budget"]) == "4.5 %"
    assert plain(first["Peak memory"]) == "250 MB"
    assert first["Epochs"] == "2"


def test_every_run_has_a_row(whole) -> None:
    found = rows(whole.model, "every-run")
    assert len(found) == len(whole.inputs.runs) == 16
    by_name = {(r.record.data.name == "mnist", r.record.arm, str(r.record.seed)): r.record for r in whole.inputs.runs}
    for row in found:
        record = by_name[row["Data set"] == "MNIST", row["Augmentation"], row["Seed"]]
        assert plain(row["Test"]) == f"{100 * record.metrics.test_accuracy:.2f} %"
        assert row["Weights"] == record.weights_sha256[:12]
        assert row["Re-plans"] == ("–" if not record.replans else "1")


def test_paired_row(whole) -> None:
    first = rows(whole.model, "paired-effects")[0]
    differences = (np.array(AUGMENTED) - np.array(WITHOUT)) / 30
    assert plain(first["Difference"]) == f"{100 * differences.mean():+.2f}"
    assert first["In favour"] == "6 of 6" and first["p"] == "0.031" and first["Verdict"] == "supported"
    assert first["d"] == f"{differences.mean() / differences.std(ddof=1):.2f}"


def test_tile_shows_the_mean_with_views(whole) -> None:
    tiles = next(block for block in blocks(whole.model) if block.kind == "tiles")
    assert plain(tiles.items[0].value) == f"{100 * np.mean(AUGMENTED) / 30:.2f} %"
    assert "mean of 6 seeds; 42.5 s of training" in plain(tiles.items[0].detail)


def test_answer_says_whether_the_rate_landed(tmp_path) -> None:
    data = making.dataset()
    runs = [making.save(RunStore(tmp_path), data, "with", seed, 20) for seed in (0, 1)]
    cut = Run(runs[1].path, runs[1].record.model_copy(update={"final_factor": 0.4, "epochs": 1.0}))
    said = [" ".join(b.text for b in compose(load(Inputs({}, both))).sections[0].blocks if b.kind == "prose")
            for both in (tuple(runs), (runs[0], cut))]
    assert "All took the epochs that their recipes want; in every run the learning rate came down to its end." in said[0]
    assert "1 of 2 took all the epochs" in said[1] and "in 1 of 2\xa0runs the learning rate did not come down" in said[1]


def test_confusion_counts_by_hand(tmp_path) -> None:
    store, data = RunStore(tmp_path), making.dataset()
    # 30 images, ten a class in turn; the first 27 right, the last three (one a class) taken for the next class.
    run = making.save(store, data, "without", 0, 27)
    expected = [[9, 1, 0], [0, 9, 1], [1, 0, 9]]
    assert confusion_counts([run], 3).tolist() == expected
    assert confusion_counts([run, run], 3).tolist() == (2 * np.array(expected)).tolist()


def test_parameters_are_counted_and_checked(whole) -> None:
    row = rows(whole.model, "parameters")[0]
    # Whitening 8 filters of 3×3 with bias (frozen weights); stages 8→4→6→8 with two 3×3 convolutions each, norms with
    # trained biases and frozen scales, head 8→3.
    # patch = 9, so 18 filters: frozen 18·9; their biases are trained.
    frozen = 18 * 9 + 2 * (4 + 6 + 8)
    trained = 18 + 9 * (18 * 4 + 4 * 4 + 4 * 6 + 6 * 6 + 6 * 8 + 8 * 8) + 2 * (4 + 6 + 8) + 8 * 3
    assert (row["Trainable"], row["Frozen"]) == (f"{trained:,}", f"{frozen:,}")
    assert row["Check"] == "agrees with 12\xa0runs"


def test_davidnet_is_checked_against_the_article(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(making, "RECIPE", making.RECIPE.changed(network=DavidNetConfig()))
    monkeypatch.setattr(making, "CLASSES", tuple("abcdefghij"))
    data = making.dataset("cifar10", channels=3)
    model = compose(load(Inputs({"cifar10": data}, (making.save(RunStore(tmp_path), data, "with", 0, 20),))))
    row, = rows(model, "parameters")
    assert row["Trainable"] == "6,573,120" and row["Running statistics"] == "4,480"
    assert "6,573,120 + 4,480 = 6,577,600" in row["Check"] and "differs" not in row["Check"]


def test_rates_are_compared_with_the_plan(whole) -> None:
    section = next(s for s in whole.model.sections if s.id == "learning-rate")
    kept = [plain(item) for item in section.blocks[1].items]
    assert "12 runs followed the plan; the largest difference" in kept[0] and "less than a millionth" in kept[0]
    assert "4 runs re-planned on the way (slower than planned)" in kept[1]


def test_a_rate_off_the_plan_is_told(tmp_path, monkeypatch) -> None:
    data = making.dataset()
    run = making.save(RunStore(tmp_path), data, "with", 0, 20)
    steps = {**run.steps, "lr": run.steps["lr"] + 0.1 * making.RECIPE.optimizer.lr}
    vars(run)["steps"] = steps
    model = compose(load(Inputs({}, (run,))))
    section = next(s for s in model.sections if s.id == "learning-rate")
    assert "10.000\xa0% of the peak" in section.blocks[1].items[0]


def test_limitations_follow_from_the_facts(whole) -> None:
    section = next(s for s in whole.model.sections if s.id == "limitations")
    text = plain(" ".join(section.blocks[0].items))
    for fact in ("CIFAR-10 is not here", "Folder “cats” (2)", "re-encoded by someone",
                 "4 of 4 runs took 1.5 of the 2 epochs",
                 "4 of 4 runs changed the number of steps on the way (4 times in all)",
                 "No object masks for Folder “cats”"):
        assert fact in text, fact
    assert "MNIST is not from" not in text and "MNIST was" not in text


def test_augmentation_rows_show_each_operation(whole) -> None:
    grids = [block for block in blocks(whole.model) if block.kind == "pictures" and block.id.startswith("augmented-")]
    labels = [[strip.label for strip in grid.strips] for grid in grids]
    assert labels[0] == ["as they are", "crop, padded by 2", "flip", "cutout", "all together, sample 1",
                         "all together, sample 2", "all together, sample 3"]
    as_they_are, mirrored = (next(s for s in grids[0].strips if s.label == label) for label in ("as they are", "flip"))
    assert pixels(mirrored.pictures[0]).tolist() == pixels(as_they_are.pictures[0])[:, ::-1].tolist()
    assert pixels(as_they_are.pictures[1]).tolist() == whole.inputs.datasets["mnist"].train.images[1, 0].tolist()


def pixels(picture) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(picture.png)))


def test_flip_is_shown_as_not_applied_to_digits(tmp_path) -> None:
    unflipped = making.RECIPE.changed(augment=making.RECIPE.augment.model_copy(update={"flip": "none"}))
    data = making.dataset()
    model = compose(load(Inputs({"mnist": data}, (making.save(RunStore(tmp_path), data, "with", 0, 20, recipe=unflipped),))))
    grid = next(block for block in blocks(model) if block.kind == "pictures" and block.id == "augmented-mnist")
    strip = next(strip for strip in grid.strips if "flip" in strip.label)
    assert "not applied" in strip.detail


def test_gallery_shows_both_arms_of_one_seed_on_the_same_images(whole) -> None:
    gallery = next(block for block in blocks(whole.model) if block.kind == "gallery" and block.id == "gallery-mnist")
    labels = {run.record.arm: run.predictions["logits"].argmax(1) for run in whole.inputs.runs
              if run.record.data.name == "mnist" and run.record.seed == 0}
    truth = whole.inputs.datasets["mnist"].test.labels.numpy()
    looks = [look for group in gallery.groups for look in group.looks]
    assert looks and any(not side.right for look in looks for side in look.sides)
    for look in looks:
        index = int(re.search(r"test image (\d+)", look.detail)[1])
        assert [side.arm for side in look.sides] == ["without", "with"]
        for side in look.sides:
            assert side.answer.startswith(making.CLASSES[labels[side.arm][index]])
            assert side.right == (labels[side.arm][index] == truth[index])


def test_smallest_report_one_run(tmp_path) -> None:
    """One arm, one seed, no images, no heatmaps, no plan: everything that can be said is, and it renders."""
    run = making.save(RunStore(tmp_path / "runs"), making.dataset(), "without", 3, 21)
    inputs = Inputs(datasets={}, runs=(run,), status="smoke", budget_seconds=None)
    model = compose(load(inputs))
    row, = rows(model, "results-accuracy")
    assert plain(row["Test accuracy"]) == "70.00 %" and row["95 % interval"] == "–"
    text = plain(str(model.sections))
    assert "One arm only on MNIST" in text and "No heatmaps were made for MNIST" in text
    assert set(reports.render(inputs, tmp_path / "out")) == {"html", "pdf", "json"}


def test_report_without_any_run_says_why(tmp_path) -> None:
    missing = reports.Missing("cifar10", "no file was found", "Give it with `--data DIR`.")
    inputs = Inputs(datasets={}, runs=(), missing=(missing,), status="partial",
                    environment={"finished": "2031-01-01T00:00:00+00:00"})
    files = reports.render(inputs, tmp_path)
    assert "No data set could be trained" in files["html"].read_text()


def test_dates_are_those_of_the_runs(whole) -> None:
    assert whole.model.finished == making.FINISHED and whole.model.date == "6 May 2031"


def test_title_follows_the_budget(whole) -> None:
    assert whole.model.title == "Are 1000 seconds enough?"
    assert compose(load(replace(whole.inputs, budget_seconds=60.0))).title == "Are 60 seconds enough?"
    assert compose(load(replace(whole.inputs, budget_seconds=None))).title == "How far does training get?"


@pytest.mark.parametrize("status", ["complete", "partial", "smoke"])
def test_status_is_stamped(tmp_path, status) -> None:
    run = making.save(RunStore(tmp_path / "runs"), making.dataset(), "without", 0, 21)
    page = reports.render(Inputs({}, (run,), status=status), tmp_path / "out", ("html",))["html"].read_text()
    assert f'<span class="stamp">{status}</span>' in page
