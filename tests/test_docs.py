"""What the pages say is there: every path, link and command that they name, versions of formats, names of packages."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path

import click
import pytest
import typer
import yaml

import speedcore

CHECKOUT = Path(__file__).parents[1]
PAGES = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md"), CHECKOUT / "benchmarks" / "README.md",
                CHECKOUT / "speedcore" / "kernels" / "README.md"])
NAMES = [path.relative_to(CHECKOUT).as_posix() for path in PAGES]
# Folders that only runs and builds make, and names that stand for others.
MADE = ("runs/", "out/", "train/", "test/", "pets/")
SUFFIXES = (".py", ".md", ".toml", ".yml", ".ipynb", ".c", ".h", ".sh", ".cff", ".lock")


def text(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", text(name), flags=re.S | re.M)


def anchors(path: Path) -> set[str]:
    """What a link can point at in a page: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(name)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        place = (CHECKOUT / name).parent / path if path else CHECKOUT / name
        if not place.exists() or (anchor and anchor not in anchors(place)):
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_are_named_exist(name: str) -> None:
    """Words in backquotes that are paths of this checkout; a * stands for what it stands for in a shell."""
    lost = []
    for word in re.findall(r"`([\w./*-]+)`", prose(name)):
        word = word.replace("NAME", "*")  # of what one adds: a file of that folder
        ours = word.split("/")[0] in {path.name for path in CHECKOUT.iterdir()}
        if "/" in word and ours and not word.startswith(MADE) and word.endswith((*SUFFIXES, "/")) \
                and not list(CHECKOUT.glob(word.rstrip("/"))):
            lost.append(word)
    assert not lost


def test_every_page_is_in_the_index() -> None:
    listed = {(CHECKOUT / "docs" / target).resolve() for target in re.findall(r"\]\(([^)]+)\)", text("docs/README.md"))}
    assert {path.resolve() for path in (CHECKOUT / "docs").glob("*.md")} <= listed | {(CHECKOUT / "docs" / "README.md").resolve()}


# --- commands ----------------------------------------------------------------------------------------------------------

PROGRAMS = {"speedcore": "speedcore.__main__", "explain": "explain.__main__", "explain.studies": "explain.studies.__main__",
            "reports.build": "reports.build"}


def commands(name: str) -> set[str]:
    """Every `python -m …` of a page, in blocks and in sentences, without comments and what stands for something else."""
    page = text(name)
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", page, re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", prose(name))
    found = {re.sub(r"\s{2,}\S.*|\s#.*", "", line.strip()).strip() for line in lines
             if re.match(r"\s*(\.venv/bin/)?python -m (speedcore|explain|reports)\b", line)}
    ours = {command for command in found if re.search(rf"-m ({'|'.join(map(re.escape, PROGRAMS))})( |$)", command)}
    return {command for command in ours if not re.search(r"…|\||\[|,( |$)| or ", command)}


def parse(command: str) -> None:
    """Parse a command as it would be, without running it: no such option, value or command raises."""
    _, _, module, *words = shlex.split(command)
    main = importlib.import_module(PROGRAMS[module]).main
    found = typer.main.get_command(sys.modules[main.__module__].app)
    context = click.Context(found, **found.context_settings)
    while isinstance(found, click.Group) and words and not words[0].startswith("-"):
        _, found, words = found.resolve_command(context, words)
        context = click.Context(found, parent=context, **found.context_settings)
    if not isinstance(found, click.Group) and words != ["--help"]:
        found.parse_args(context, list(words))


@pytest.mark.parametrize(("name", "command"), [(name, command) for name in NAMES for command in sorted(commands(name))])
def test_commands_are_ones_that_there_are(name: str, command: str) -> None:
    parse(command)


# What README named before the words of the command lines were made one.
OF_BEFORE = """
python -m reports.build --all
python -m reports.build --all --datasets mnist,cifar10 --recipe auto --budget 1000 --within 15m --seeds auto --data DIR --runs DIR
python -m reports.build --datasets shapes --within 2m --out out --data-mode precomputed --formats html,pdf --offline --replan
python -m reports.build --chapters mnist-fast --device auto
python -m speedcore data
python -m speedcore data --datasets shapes
python -m speedcore plan --all
python -m speedcore train --dataset mnist --recipe record --budget 60
python -m speedcore train --dataset mnist --policy everything --arm without --data-mode device
python -m speedcore target --dataset mnist --accuracy 99 --seeds 30
python -m speedcore verify runs/RUN
python -m speedcore ladder mnist-fast
python -m speedcore ladder record --scale data=0.4,epochs=0.5,width=0.5
python -m speedcore ladder mnist-fast --rungs 8 --seeds 30
python -m speedcore study --list
python -m speedcore study lr-by-dataset-size --scale data=0.1,epochs=0.2,width=0.125 --seeds 3
python -m speedcore precompute --dataset mnist
python -m explain RUN --out x.html
python -m explain RUN OTHER --method occlusion --method grad-cam --out x.html
python -m explain.studies shortcuts --epochs 3
python -m explain.studies claim --datasets shapes,mnist --epochs shapes=3,mnist=1
""".strip().splitlines()


@pytest.mark.parametrize("command", OF_BEFORE)
def test_commands_of_before_go_on_working(command: str) -> None:
    parse(command)


def test_readme_names_enough_commands_to_be_tested() -> None:
    assert len(commands("README.md")) >= 3 and len(commands("docs/commands.md")) >= 8


@pytest.mark.parametrize("name", ["own-images", "racing"])
def test_recipe_files_of_the_guides_load(name: str, tmp_path: Path) -> None:
    from speedcore.recipes import from_toml

    examples = re.findall(r"```toml\n(.*?)```", text(f"docs/{name}.md"), re.S)
    for i, example in enumerate(examples):
        path = tmp_path / f"mine-{i}.toml"
        path.write_text(example, encoding="utf-8")
        assert from_toml(path, "fashion-mnist").name == f"mine-{i}"
    assert examples


def test_the_ladder_of_the_guide_loads(tmp_path: Path) -> None:
    from speedcore import ladders

    path = tmp_path / "mine.toml"
    path.write_text(*re.findall(r"```toml\n(.*?)```", text("docs/ablation.md"), re.S), encoding="utf-8")
    ladder = ladders.get(str(path))
    plain, cutout, smooth = (ladder.recipes[name] for name in ("sprint", "cutout", "no-smoothing"))
    assert cutout.augment.cutout == 8 and smooth.augment.cutout == plain.augment.cutout == 0
    assert smooth.label_smoothing == 0 < plain.label_smoothing == cutout.label_smoothing


# --- what is said of formats and names -------------------------------------------------------------------------------------

def test_versions_of_formats_are_the_codes() -> None:
    from explain import artefact
    from explain.claim.verdicts import ClaimRecord
    from reports.renderers import results_json
    from speedcore.planning.request import PLAN_VERSION
    from speedcore.store import run_record
    from speedcore.studies.records import StudyRecord

    page = text("docs/architecture.md")
    rows = [line.strip("|").split("|") for line in page[page.index("## On disk"):].splitlines() if line.startswith("|")]
    said = {cells[0].strip().strip("`"): cells[2].strip() for cells in rows}
    meant = {"run": run_record.SCHEMA_VERSION, "explanation": artefact.SCHEMA_VERSION,
             "results.json": results_json.SCHEMA_VERSION, "plan": PLAN_VERSION,
             **{name: record.model_fields["version"].default
                for name, record in (("study", StudyRecord), ("claim", ClaimRecord))}}
    assert {name: int(said[name].split()[-1]) for name in meant} == meant


def test_layers_are_those_of_the_contract() -> None:
    """The page's table, line by line, is the contract: what may import whom is written twice, and the same."""
    page = text("docs/architecture.md")
    table = page[page.index("| layer, top first |"):page.index("No circle of imports")].splitlines()[2:]
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers, = (contract["layers"] for contract in contracts if contract.get("containers") == ["speedcore"])
    told = [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table if line.startswith("|")]
    assert told == [set(layer.split(" | ")) for layer in layers]


@pytest.mark.parametrize("package", ["speedcore", "explain", "reports"])
def test_names_of_packages_are_offered(package: str) -> None:
    offered = set(importlib.import_module(package).__all__)
    named = set(re.findall(rf"`{package}\.(\w+)`", text("docs/python.md")))
    assert named and named <= offered


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == speedcore.__version__
    assert re.search(rf"^## {re.escape(speedcore.__version__)}\b", text("CHANGELOG.md"), re.M)
    project = tomllib.loads(text("pyproject.toml"))["project"]
    assert citation["license"] == project["license"] == "MIT" and text("LICENSE").startswith("MIT License")


def test_new_names_of_the_changelog_exist() -> None:
    """The right column of what moved: modules and classes can be imported."""
    page = text("CHANGELOG.md")
    for line in page[page.index("| was | is |"):page.index("### Removed")].splitlines()[2:]:
        cells = line.split("|")
        for module in re.findall(r"`((?:speedcore|explain|reports)\.[\w.]+)(?:\.\*)?`", cells[2] if len(cells) > 2 else ""):
            importlib.import_module(module)


def test_hooks_fetch_nothing() -> None:
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    for hook in hooks["repos"][0]["hooks"]:
        assert hook["language"] == "system" and hook["entry"].startswith(".venv/bin/")
