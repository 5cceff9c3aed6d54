"""Whether the tree differs from its revision: by what results are made of, not by the results."""

import subprocess
from pathlib import Path

import pytest

from speedcore.machine import provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("speedcore/code.py", "benchmarks/results/old.json", "benchmarks/RESULTS.md", "docs/methods/card.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("as it was")
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_written_results_are_no_change_of_what_made_them(checkout: Path) -> None:
    for name in ("benchmarks/results/old.json", "benchmarks/RESULTS.md", "docs/methods/card.md"):
        (checkout / name).write_text("measured anew")
    assert provenance.revision()["dirty"] is False and len(provenance.revision()["revision"]) == 40


def test_changed_code_is(checkout: Path) -> None:
    (checkout / "speedcore/code.py").write_text("changed")
    assert provenance.revision()["dirty"] is True


def test_outside_a_checkout_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path / "nowhere")
    assert provenance.revision() == {"revision": "unknown", "dirty": None}


@pytest.mark.parametrize(("word", "kept"), [
    ("folder:/home/me/pets,mnist,folder:/a/b", "folder:pets,mnist,folder:b"), ("/x/y/", "y"), ("folder:/pets", "folder:pets"),
    ("--out=/x/y", "--out=y"), ("runs/mine", "runs/mine"), ("shapes:corner=0.9/0", "shapes:corner=0.9/0"), ("1/8,1", "1/8,1")])
def test_commands_are_kept_without_the_folders_of_the_machine(word: str, kept: str) -> None:
    assert provenance.without_folders(word) == kept
