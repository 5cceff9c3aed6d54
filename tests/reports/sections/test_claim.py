"""The chapter on the preregistered claim: what it says of values made by hand, and what the report says without it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from reports.compose import compose
from reports.model import Bullets, ClaimBlock, Code, FigureSpec, Pictures, Prose, Table
from reports.renderers import stamp
from reports.results import load
from reports.sections import claim
from tests.reports import making
from tests.reports.sections.test_sections import blocks as flat


def plain(text: str) -> str:
    return text.replace("\xa0", " ").replace("−", "-")


@pytest.fixture(scope="module")
def chapter(whole):
    return next(section for section in whole.model.sections if section.id == "claim")


def test_verdicts_come_first_and_the_evidence_follows(whole, chapter) -> None:
    order = [section.id for section in whole.model.sections]
    assert order.index("claim") + 1 == order.index("shortcuts") == order.index("heatmaps") - 1
    kinds = [type(block) for block in chapter.blocks]
    assert kinds == [Prose, Bullets, ClaimBlock, ClaimBlock, FigureSpec, FigureSpec, Table, Table, Code]
    assert "rank correlation" in chapter.blocks[1].items[0] and len(chapter.blocks[1].items) == 2
    summary = next(section for section in whole.model.sections if section.id == "summary")
    said = [block for block in summary.blocks if isinstance(block, ClaimBlock)]
    assert [block.id for block in said] == ["claim-accuracy", "summary-1-logical", "summary-1-stability"]
    assert [o.sentence for o in said[1].outcomes] == [o.sentence for o in chapter.blocks[2].outcomes]


def test_sentences_say_what_was_seen_and_what_follows(chapter) -> None:
    logical, stability = (block for block in chapter.blocks if isinstance(block, ClaimBlock))
    shapes, mnist = (plain(o.sentence) for o in logical.outcomes)
    # Differences .1 + i / 2000 for i = 0 .. 9: mean .10225; all ten agree, 2 / 1024, doubled for two data sets: .004.
    assert shapes.startswith("On Shapes, the maps’ normalised mass on the object was 0.102 higher with augmentation (mean of 10")
    assert "10 of 10 pairs in favour" in shapes and "p = 0.004 after" in shapes and shapes.endswith("the claim is supported.")
    d = 0.10225 / (math.sqrt(sum((i - 4.5) ** 2 for i in range(10)) / 9) / 2000)
    assert f"d = {d:.2f}" in shapes
    assert [o.verdict for o in logical.outcomes] == ["supported", "equivalent within bounds"]
    assert "On MNIST, the maps’ normalised mass on the object was the same to three decimals" in mnist
    assert "smaller than the 0.05 that would matter (equivalence, p = 0.002)" in mnist
    (cifar,) = (plain(o.sentence) for o in stability.outcomes)
    assert cifar.startswith("On CIFAR-10, agreement with occlusion was 0.102 lower with augmentation")
    assert cifar.endswith("the runs show the opposite of the claim.")
    assert "logical" not in stability.claim + cifar
    assert all("10 pairs on each data set, all of which were run" in block.note for block in (logical, stability))


def test_figures_hold_every_test_and_its_null_controls(chapter) -> None:
    forest, parts = (block for block in chapter.blocks if isinstance(block, FigureSpec))
    assert {name: list(sets) for name, sets in forest.data.items()} == {
        "More logical?": ["Shapes", "MNIST"], "More faithful and more stable?": ["CIFAR-10"]}
    assert [len(rows) for sets in forest.data.values() for rows in sets.values()] == [6, 6, 4]
    assert "Shapes, mass: +0.102" in forest.alt and "; map of a wrong class +0.102; another image’s map 0.000." in forest.alt
    assert forest.svg.count("null control: map of a wrong class") == 1  # named once, in the legend
    assert list(parts.data["Mass, part by part"]["MNIST"]) == ["crop", "cutout"]
    # Deletion is better when lower: fallen by a tenth in the pairs of CIFAR-10, it is in favour.
    deletion = forest.data["More faithful and more stable?"]["CIFAR-10"]["deletion"]
    assert all(value > 0 for value in deletion)


def test_tables_name_what_was_run(chapter) -> None:
    tests, runs = (block for block in chapter.blocks if isinstance(block, Table))
    rows = [{c.label: plain(cell.text) for c, cell in zip(tests.columns, row, strict=True)} for row in tests.rows]
    assert len(rows) == 2 * 6 + 4 + 3 * 2
    assert rows[0] | {"95 % interval": ""} == {
        "Data set": "Shapes", "Outcome or part": "mass (primary)", "Pairs": "10", "Difference": "+0.102",
        "95 % interval": "", "d": rows[0]["d"], "Superiority": "1.00", "p, Holm": "0.004", "p, equivalent": "1.000",
        "Verdict": "supported"}
    first = {c.label: plain(cell.text) for c, cell in zip(runs.columns, runs.rows[0], strict=True)}
    assert first["Epochs"] == "2" and first["Accuracy without"] == "90.00 ± 0.00 %" and first["Accuracy with"] == "91.45 ± 0.30 %"
    code = next(block for block in chapter.blocks if isinstance(block, Code))
    assert code.text == "python -m explain.studies claim --dataset shapes,mnist,cifar10 --recipe tiny --epochs 2"


def test_fewer_pairs_are_exploratory_and_several_studies_stand_apart(whole) -> None:
    studies = (making.claim_study(3, ("mnist",)), making.claim_study(10, ("shapes",)))
    model = compose(load(replace(whole.inputs, registered=studies)))
    section = next(s for s in model.sections if s.id == "claim")
    few, many = section.blocks
    assert few.title == "Study 1: MNIST" and many.title == "Study 2: Shapes"
    verdict = next(block for block in few.blocks if isinstance(block, ClaimBlock))
    assert verdict.outcomes[0].verdict == "not testable" and "too few pairs" in verdict.outcomes[0].sentence
    assert "so these verdicts are exploratory" in verdict.note
    assert claim.command(studies[0]).endswith("--dataset mnist --recipe tiny --epochs 2 --seeds 3")


def test_without_studies_one_sentence_names_the_commands(whole) -> None:
    model = compose(load(replace(whole.inputs, registered=(), shortcuts=())))
    assert not {"claim", "shortcuts"} & {section.id for section in model.sections}
    said = [block.text for block in flat(model) if isinstance(block, Prose) and "explain.studies" in block.text]
    assert len(said) == 1
    assert "`python -m explain.studies shortcuts`" in said[0] and "`python -m explain.studies claim`" in said[0]
    assert not [b for b in flat(whole.model) if isinstance(b, Prose) and "Not run beside these runs" in b.text]
    kinds = [block.id for block in model.sections[0].blocks if isinstance(block, ClaimBlock)]
    assert kinds == ["claim-accuracy", "claim-attention"]


def test_results_json_has_every_test_and_its_fields_are_described(whole, checkout: Path) -> None:
    (study,) = json.loads(whole.files["json"].read_text())["registered"]
    text = (checkout / "docs" / "results-json.md").read_text()
    fields = set(study) | set(study["datasets"][0]) | set(study["tests"][0])
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []
    assert study["as_planned"] and len(study["tests"]) == 2 * 6 + 4 + 3 * 2
    first = study["tests"][0]
    assert (first["test"], first["dataset"], first["outcome"], first["verdict"]) == ("primary", "shapes", "mass", "supported")
    assert first["null_controls"]["wrong_class"] == first["differences"] and study["tests"][-1]["part"] == "cutout"


def test_another_study_is_another_report(whole) -> None:
    more = replace(whole.inputs, registered=(making.claim_study(9),))
    assert stamp.of(more, ("html",)) != stamp.of(whole.inputs, ("html",))


def test_mean_maps_are_means_over_runs_and_the_cascade_is_shown(whole) -> None:
    means = next(b for b in flat(whole.model) if isinstance(b, Pictures) and b.id == "means-mnist")
    assert [strip.label for strip in means.strips] == ["mean image", "without augmentation", "with augmentation"]
    assert all(len(strip.pictures) == len(making.CLASSES) for strip in means.strips)
    assert plain(means.strips[1].detail) == "6 runs" and "over 3 test images a class" in plain(means.caption)
    cascade = next(b for b in flat(whole.model) if isinstance(b, FigureSpec) and b.id == "cascade-mnist")
    records = {arm: [e.record.cascade for e in whole.inputs.explanations if e.record.arm == arm and e.record.dataset == "mnist"]
               for arm in ("without", "with")}
    assert cascade.data["middle layer"]["with"] == [list(r.similarity["middle"]) for r in records["with"]]
    assert records["with"][0].modules[0] == "head" and ">head<" in cascade.svg
    table = next(b for b in flat(whole.model) if isinstance(b, Table) and b.id == "sanity-mnist")
    row = {c.label: plain(cell.text) for c, cell in zip(table.columns, table.rows[0], strict=True)}
    last = [r.similarity["middle"][-1] for r in records["without"] if r.similarity["middle"][-1] is not None]
    assert (row["Layer"], row["n"]) == ("middle", "6")
    assert float(row["Re-initialised"]) == pytest.approx(sum(last) / len(last), abs=6e-3)
