"""The command that does it all, on small folders of images: what it writes, refuses, leaves out, and never gives away."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from explain.models import ExplainError
from reports import build, faults, regenerate, stages
from reports.renderers import stamp
from reports.sections import pictures
from speedcore.cli.console import run_app
from speedcore.errors import BudgetError
from speedcore.planning import plan as planning

MARKER = "xyzzy"
RECIPE = """\
base = "sprint"
dataset = "cifar10"
name = "tiny"
epochs = 2
min_epochs = 1
batch_size = 16
precision = "fp32"
convolutions = "torch"
val_images = 8
[network]
kind = "recordnet"
widths = [4, 6, 8]
whiten_kernel = 3
activation = "relu"
[optimizer]
kind = "sgd"
lr = 0.1
"""


def images(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for split, count in (("train", 24), ("test", 6)):
        for i, name in enumerate(("cat <b>", "dog $5")):
            (folder / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
                pixels[4:12, 8 * i:8 * i + 8] += 150
                Image.fromarray(pixels).save(folder / split / name / f"{k}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose path is not to be seen, with two data sets and a recipe."""
    place = tmp_path_factory.mktemp(MARKER) / f"{MARKER} Jane's" / "work"
    for seed, name in enumerate(("cats", "more pets")):
        images(place.parent / f"{MARKER} sets" / name, seed)
    place.mkdir()
    (place / "tiny.toml").write_text(RECIPE)
    return place


def call(monkeypatch, place: Path, *words: str) -> int:
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["build", *words])
    return run_app(build.app)


def options(place: Path, *more: str, out: str = "out") -> list[str]:
    sets = place.parent / f"{MARKER} sets"
    return ["--datasets", f"folder:{sets / 'cats'},folder:{sets / 'more pets'}", "--recipe", str(place / "tiny.toml"), "--seeds",
            "1", "--runs", str(place / f"{MARKER} runs"), "--out", str(place / f"{MARKER} out" / out), "--offline", *more]


@pytest.fixture(scope="module")
def built(place: Path) -> Path:
    """A whole build; returns where its files are."""
    with pytest.MonkeyPatch.context() as patch:
        assert call(patch, place, *options(place)) == 0
    return place / f"{MARKER} out" / "out"


def text_of(path: Path) -> str:
    """Everything that can be read in a file: of a PDF its strings, its texts by ToUnicode, and what is attached."""
    if path.suffix != ".pdf":
        return path.read_text(encoding="utf-8")
    whole = io.BytesIO()
    with pikepdf.open(path) as document:
        document.save(whole, qdf=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
        attached = [one.get_file().read_bytes().decode() for one in document.attachments.values()]
    # Strings of a PDF are one byte a character, or two.
    return "\n".join([whole.getvalue().decode("latin-1"), whole.getvalue().decode("latin-1").replace("\0", ""), words_of(path),
                      *attached])


def test_no_file_says_where_it_was_made(built: Path) -> None:
    assert {path.name for path in built.iterdir()} == {"report.html", "report.pdf", "results.json", ".rendered.json"}
    for path in built.iterdir():
        assert MARKER not in text_of(path).lower(), path.name
        assert str(Path.home()) not in text_of(path), path.name


def test_the_words_of_a_pdf_can_be_searched(built: Path, tmp_path: Path) -> None:
    """The test above could not fail else."""
    import weasyprint

    weasyprint.HTML(string=f"<title>{MARKER}2</title><p>{MARKER}</p>").write_pdf(tmp_path / "marked.pdf")
    assert MARKER in words_of(tmp_path / "marked.pdf") and f"{MARKER}2" in text_of(tmp_path / "marked.pdf")
    assert "more pets" in words_of(built / "report.pdf")


def words_of(path: Path) -> str:
    """Text of all pages, by the fonts' own tables from glyphs to characters."""
    words = []
    with pikepdf.open(path) as document:
        for page in document.pages:
            tables = {}
            for name, font in (page.resources.get("/Font") or {}).items():
                table = font.ToUnicode.read_bytes().decode("latin-1")
                tables[name] = {int(a, 16): bytes.fromhex(b).decode("utf-16-be")
                                for a, b in re.findall(r"<(\w+)>\s*<(\w+)>", table.split("beginbfchar", 1)[-1])}
            current: dict = {}
            for operands, operator in pikepdf.parse_content_stream(page):
                if str(operator) == "Tf":
                    current = tables.get(str(operands[0]), {})
                parts = operands[0] if str(operator) == "TJ" else operands if str(operator) == "Tj" else ()
                for part in parts:
                    if isinstance(part, pikepdf.String):
                        raw = bytes(part)
                        words += [current.get(int.from_bytes(raw[i:i + 2]), "?") for i in range(0, len(raw), 2)]
    return "".join(words)


def test_the_command_in_the_report_makes_it_again(built: Path, place: Path, monkeypatch) -> None:
    command = json.loads((built / "results.json").read_text())["command"]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "reports.build"]
    said = dict(zip(words[3::2], words[4::2], strict=True))
    assert said["--recipe"] == "tiny.toml" and said["--seeds"] == "1"
    assert said["--dataset"] == "folder:cats,folder:more pets"  # without the path: they lie elsewhere
    assert command in (built / "report.html").read_text().replace("&#39;", "'")
    # Called beside the folders it finds every run.
    beside = place.parent / f"{MARKER} sets"
    (beside / "tiny.toml").write_text(RECIPE)
    monkeypatch.chdir(beside)
    monkeypatch.setattr(sys, "argv", ["build", *words[3:], "--out", "out", "--runs", str(place / f"{MARKER} runs"), "--formats",
                                      "html"])
    assert run_app(build.app) == 0
    for path in (beside / "out").iterdir():
        assert MARKER not in text_of(path).lower()


@given(st.lists(st.tuples(st.sampled_from(["recipe", "budget", "chapters"]), st.text(st.characters(exclude_categories=["Cs"]),
                                                                                      min_size=1)), unique_by=lambda o: o[0]))
def test_commands_are_quoted_for_the_shell(given_options) -> None:
    given_options = [(name, value) for name, value in given_options if not Path(value).is_absolute()]
    words = shlex.split(regenerate.command(True, "folder:my cats;rm -r x,shapes", **dict(given_options)))
    assert words == ["python", "-m", "reports.build", "--all", "--dataset", "folder:my cats;rm -r x,shapes",
                     *(word for name, value in given_options for word in (f"--{name}", value))]


def test_all_and_named_sets_are_all_of_them() -> None:
    from speedcore.cli.datasets import dataset_names
    from speedcore.data import NAMES

    assert dataset_names(True, "folder:x,mnist") == [*NAMES, "folder:x"]
    assert dataset_names(True, None) == list(NAMES) and dataset_names(False, "mnist") == ["mnist"]


def test_a_set_that_is_not_there_is_missing(built: Path, place: Path, monkeypatch) -> None:
    words = options(place, "--formats", "html", out="absent")
    words[1] += f",folder:{place / 'nowhere'}"
    assert call(monkeypatch, place, *words) == build.DATA_MISSING
    data, page = report(place, "absent")
    assert [m["dataset"] for m in data["missing"]] == ["folder:nowhere"] and len(data["runs"]) == 4
    assert "Folder “nowhere” is missing." in page and MARKER not in page.lower()


# --- one set's failure -----------------------------------------------------------------------------------------------

def report(place: Path, out: str) -> tuple[dict, str]:
    folder = place / f"{MARKER} out" / out
    return json.loads((folder / "results.json").read_text()), (folder / "report.html").read_text()


def test_a_set_whose_maps_fail_keeps_its_results(built: Path, place: Path, monkeypatch, capsys) -> None:
    import explain

    real = explain.explain_runs

    def failing(first, second, dataset, *rest, **more):
        if "cats" in dataset.name:
            raise ExplainError("a map of one cell shows nothing.")
        return real(first, second, dataset, *rest, **more)

    monkeypatch.setattr(explain, "explain_runs", failing)
    status = call(monkeypatch, place, *options(place, "--formats", "html", out="maps"))
    data, page = report(place, "maps")
    assert status == build.DATA_MISSING and data["status"] == "partial" and len(data["runs"]) == 4
    assert [(m["what"], m["reason"]) for m in data["missing"]] == [("heatmaps", "a map of one cell shows nothing.")]
    assert "Heatmaps of Folder “cats” are missing." in page and "a map of one cell shows nothing." in page
    assert page.count("class=\"gallery\"") == 1
    assert "a map of one cell" in capsys.readouterr().err


def test_a_set_that_cannot_be_planned_is_left_out(built: Path, place: Path, monkeypatch) -> None:
    real = planning.make_plan

    def failing(datasets, *rest, **more):
        if any("cats" in one.name for one in datasets):
            raise BudgetError("no step fits.")
        return real(datasets, *rest, **more)

    monkeypatch.setattr(planning, "make_plan", failing)
    status = call(monkeypatch, place, *options(place, "--formats", "html", out="plan"))
    data, page = report(place, "plan")
    assert status == build.DATA_MISSING and {run["dataset"] for run in data["runs"]} == {"folder:more pets"}
    assert [m["reason"] for m in data["missing"]] == ["no step fits."] and "Folder “cats” is missing." in page
    def without_cats(datasets, *rest, **more):
        plan = real(datasets, *rest, **more)
        return plan.model_copy(update={"planned": tuple(c for c in plan.planned if "cats" not in c.dataset)})

    monkeypatch.setattr(planning, "make_plan", without_cats)  # as of a set that holds no batch
    assert call(monkeypatch, place, *options(place, "--formats", "html", out="plan")) == build.DATA_MISSING
    assert "every batch is larger" in report(place, "plan")[0]["missing"][0]["reason"]
    monkeypatch.setattr(planning, "make_plan", lambda *_: (_ for _ in ()).throw(BudgetError("no step fits.")))
    assert call(monkeypatch, place, *options(place, out="none")) == 2  # no set is left


def test_a_section_that_fails_on_one_set_is_made_of_the_others(built: Path, place: Path, monkeypatch, capsys) -> None:
    import warnings

    real = pictures._grid

    def failing(one, *rest):
        if "cats" in one.name:
            raise ZeroDivisionError("nothing to divide by")
        return real(one, *rest)

    monkeypatch.setattr(pictures, "_grid", failing)
    with warnings.catch_warnings():
        warnings.simplefilter("always", faults.ReportWarning)
        status = call(monkeypatch, place, *options(place, "--formats", "html", out="section"))
    data, page = report(place, "section")
    assert status == build.DATA_MISSING and len(data["runs"]) == 4
    chapter = page.split('id="augmentation"')[1].split("</section>")[0]
    assert "Folder “cats” is missing from this section." in chapter
    assert "An error in this project: ZeroDivisionError: nothing to divide by" in chapter
    assert "more pets" in page.split('id="augmentation"')[1].split('id="learning-rate"')[0]
    told = capsys.readouterr().err
    assert "ReportWarning" in told and "_grid" in told
    assert not (place / f"{MARKER} out" / "section" / ".rendered.json").exists()  # the next call tries again


def test_a_pdf_that_fails_leaves_the_page(built: Path, place: Path, monkeypatch, capsys) -> None:
    import weasyprint

    def give_up(self, *_, **__):
        raise OSError("no such font")

    monkeypatch.setattr(weasyprint.HTML, "write_pdf", give_up)
    folder = place / f"{MARKER} out" / "pdf"
    folder.mkdir()
    old = {"report.pdf": b"an older one"}
    for ours in (False, True):
        (folder / "report.pdf").write_bytes(old["report.pdf"])
        kept = stamp.note("old", {"pdf": ("report.pdf", old["report.pdf"] if ours else b"")})[1]
        (folder / ".rendered.json").write_bytes(kept)
        assert call(monkeypatch, place, *options(place, out="pdf")) == build.PDF_MISSING
        assert {path.name for path in folder.glob("re*")} == {"report.html", "results.json", *(() if ours else old)}
    assert "no such font" in capsys.readouterr().err


def test_what_weasyprint_complains_of_is_a_warning(whole, monkeypatch) -> None:
    import warnings

    from reports.renderers import pdf

    monkeypatch.setattr(pdf, "paper", lambda model: "<html lang='en'><title>t</title><style>p {no-such: 1}</style><p>x</p>")
    with pytest.raises(faults.ReportWarning, match="no-such"):
        pdf.document(whole.model)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always", faults.ReportWarning)
        assert pdf.document(whole.model).startswith(b"%PDF")


def test_culprits_are_found_alone() -> None:
    def make(names: list[str]) -> str:
        if "b" in names:
            raise KeyError("b")
        if names == ["d"]:
            raise ValueError("d alone")
        return "".join(names)

    made, wrong = faults.without_culprits(["a", "b", "c"], make)
    assert made == "ac" and list(wrong) == ["b"]
    with pytest.raises(KeyError):
        faults.without_culprits(["b"], make)
    with pytest.raises(KeyError):
        faults.without_culprits(["b", "d"], make)


def test_what_cannot_be_read_beside_the_runs_is_told() -> None:
    said = []

    def broken(store):
        yield 1
        raise ExplainError("explanation.json cannot be read")

    assert stages.readable(broken, None, "studies", lambda line, **_: said.append(line)) == ()
    assert said == ["studies: left out. explanation.json cannot be read"]
