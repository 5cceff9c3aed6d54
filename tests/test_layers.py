"""The arrows between the rooms of the house, and what only one room may do (docs: the design's ground rules)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import Rule, circle, imports, template_breaches

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("speedcore", "explain", "reports")
TEMPLATES = CHECKOUT / "reports" / "templates"

NETWORK = Rule(
    "only the sources of speedcore.data touch the network",
    allowed=("speedcore/data/sources.py", "speedcore/data/mirrors.py"),
    forbidden=frozenset({"socket", "ssl", "ftplib", "http.client", "urllib.request", "urllib3", "requests", "httpx",
                         "aiohttp", "torchvision.datasets", "torch.hub"}),
)
PROCESSES = Rule(
    "programs are started for package mirrors, for the C compiler, for the revision of the checkout and for what the machine is, "
    "nowhere else",
    allowed=("speedcore/data/sources.py", "speedcore/data/mirrors.py", "speedcore/kernels/build.py",
             "speedcore/machine/provenance.py",
             "speedcore/machine/processor.py"),
    forbidden=frozenset({"subprocess", "os.system", "os.popen"}),
)
CLOCKS = Rule(
    "only speedcore.clock reads a clock",
    allowed=("speedcore/clock.py",),
    forbidden=frozenset({"timeit", "torch.cuda.Event", "torch.Event"} | {
        f"time.{name}{suffix}" for suffix in ("", "_ns")
        for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time", "clock_gettime")}),
)
DATES = Rule(
    "a date is provenance, and only speedcore.machine.provenance asks for it",
    allowed=("speedcore/machine/provenance.py",),
    forbidden=frozenset({"datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
                         "datetime.date.today", "time.strftime", "time.localtime", "time.gmtime", "time.ctime"}),
)
RUN_FOLDERS = Rule(
    "only speedcore.store.runs knows the files of a run folder, so nothing else can write one",
    allowed=("speedcore/store/runs.py",),
    literals=frozenset({"run.json", "steps.csv", "epochs.csv", "weights.safetensors", "predictions.npz"}),
)
PICKLES = Rule(
    "only speedcore.data.formats.unpickle opens pickles, and only verified ones",
    allowed=("speedcore/data/formats/unpickle.py",),
    forbidden=frozenset({"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch.load", "torch.save"}),
)
RULES = {"network": NETWORK, "processes": PROCESSES, "clocks": CLOCKS, "dates": DATES, "run folders": RUN_FOLDERS,
         "pickles": PICKLES}

# For each rule: ways to break it, each of which must be found.
BREACHES = [
    ("network", "import urllib.request\n"),
    ("network", "from urllib import request\n"),
    ("network", "import torchvision\ntorchvision.datasets.MNIST('.')\n"),
    ("network", "def f():\n    import requests as r\n"),
    ("processes", "from subprocess import run\n"),
    ("processes", "import os as o\no.system('ls')\n"),
    ("clocks", "import time\nstart = time.perf_counter()\n"),
    ("clocks", "from time import monotonic as m\n"),
    ("clocks", "import time as t\nclock = t.time_ns\n"),
    ("clocks", "import torch\ntorch.cuda.Event(enable_timing=True)\n"),
    ("dates", "from datetime import datetime\nnow = datetime.now()\n"),
    ("dates", "import datetime as d\nd.datetime.now(d.UTC)\n"),
    ("run folders", "open(folder / 'run.json', 'w')\n"),
    ("pickles", "import pickle\n"),
    ("pickles", "import torch\ntorch.save(model, path)\n"),
]
# Near misses: allowed, and therefore not to be found.
HARMLESS = [
    ("network", "from urllib.parse import quote\nfrom torchvision.transforms import v2\nimport http\n"),
    ("clocks", "import time\ntime.sleep(1)\nself.time.time()\n"),
    ("dates", "from datetime import datetime\ndatetime.fromisoformat(record.started)\n"),
    ("run folders", '"""Reads run.json."""\ndef f():\n    "run.json"\n'),
]


def sources(packages: tuple[str, ...] = PACKAGES) -> list[tuple[str, str]]:
    """(path from the checkout's root, text) of every module of these packages."""
    paths = [path for package in packages for path in sorted((CHECKOUT / package).rglob("*.py"))]
    return [(path.relative_to(CHECKOUT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


@pytest.mark.parametrize("name", RULES)
def test_rule_is_kept(name: str) -> None:
    breaches = [breach for path, text in sources() for breach in RULES[name].breaches(path, text)]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize(("name", "source"), BREACHES)
def test_breach_is_found_anywhere_but_where_it_is_allowed(name: str, source: str) -> None:
    rule = RULES[name]
    assert len(rule.breaches("explain/planted.py", source)) >= 1
    assert rule.breaches(rule.allowed[0], source) == []


@pytest.mark.parametrize(("name", "source"), HARMLESS)
def test_near_miss_is_no_breach(name: str, source: str) -> None:
    assert RULES[name].breaches("explain/planted.py", source) == []


@pytest.mark.parametrize("name", RULES)
def test_a_room_with_a_privilege_exists(name: str) -> None:
    """A privilege for a file that has moved away would let the next file of that name do anything."""
    for path in RULES[name].allowed:
        assert (CHECKOUT / path).is_file(), path


# --- arrows between packages, rooms and files ------------------------------------------------------------------------

def lint_imports(folder: Path, *, config: Path, contract: str = "") -> subprocess.CompletedProcess[str]:
    """import-linter on the packages found in `folder`, with the contracts of `config`, or one of them."""
    return subprocess.run([sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()",
                           "--config", str(config), "--no-cache", *(["--contract", contract] if contract else [])],
                          cwd=folder, capture_output=True, text=True, timeout=120, check=False,
                          env={"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"})


def test_packages_and_rooms_import_only_downwards() -> None:
    outcome = lint_imports(CHECKOUT, config=CHECKOUT / "pyproject.toml")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(("package", "imports", "kept"), [
    ("reports", "explain", True), ("reports", "speedcore", True), ("explain", "speedcore", True),
    ("speedcore", "explain", False), ("speedcore", "reports", False), ("explain", "reports", False),
])
def test_contract_decides_each_arrow(tmp_path: Path, package: str, imports: str, kept: bool) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / package / "late.py").write_text(f"def f():\n    from {imports} import anything\n")
    _decides(tmp_path, "packages", kept)


@pytest.mark.parametrize(("room", "imports", "kept"), [
    ("training", "data", True), ("planning", "training", True), ("cli", "errors", True),
    ("data", "training", False), ("training", "planning", False), ("recipe", "recipes", False), ("store", "data", False),
    ("attic", "errors", False),  # a room that the contract does not know has no place
])
def test_contract_decides_between_rooms(tmp_path: Path, room: str, imports: str, kept: bool) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    for path in (CHECKOUT / "speedcore").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").is_file():
            (tmp_path / "speedcore" / f"{path.stem}.py").write_text("")
    (tmp_path / "speedcore" / f"{room}.py").write_text(
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from speedcore.{imports} import anything\n")
    _decides(tmp_path, "speedcore", kept)


def _decides(folder: Path, contract: str, kept: bool) -> None:
    outcome = lint_imports(folder, config=Path(shutil.copy(CHECKOUT / "pyproject.toml", folder)), contract=contract)
    assert (outcome.returncode == 0) == kept, outcome.stdout + outcome.stderr
    assert ("1 broken" in outcome.stdout) == (not kept), outcome.stdout


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Nor for type checkers: whoever reads one file of a circle has to read them all."""
    assert circle(imports(sources((*PACKAGES, "benchmarks", "tests")))) == []


def test_circles_are_found_wherever_the_import_is() -> None:
    late = "def f():\n    from p import a\n"
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.c import Thing\n"
    graph = imports([("p/__init__.py", ""), ("p/a.py", "import p.b\n"), ("p/b.py", typed), ("p/c.py", late)])
    assert graph == {"p": set(), "p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}}
    found = circle(graph)
    assert found[0] == found[-1] and set(found) == {"p.a", "p.b", "p.c"}
    assert circle({"p.a": {"p.b"}, "p.b": set()}) == []


def test_ruff_finds_nothing() -> None:
    outcome = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."],
                             cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.slow
def test_mypy_finds_nothing() -> None:
    outcome = subprocess.run([sys.executable, "-m", "mypy"], cwd=CHECKOUT, capture_output=True, text=True, check=False,
                             timeout=900)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


# --- templates -------------------------------------------------------------------------------------------------------

def test_templates_compute_nothing() -> None:
    paths = [path for path in sorted(TEMPLATES.rglob("*")) if path.suffix in {".html", ".j2", ".jinja", ".svg", ".txt"}]
    assert paths, "no templates found"
    breaches = [breach for path in paths
                for breach in template_breaches(path.name, path.read_text(encoding="utf-8"))]
    assert not breaches, "\n".join(breaches)


@pytest.mark.parametrize("source", [
    "{{ a + b }}", "{{ a - 1 }}", "{{ 100 * share }}", "{{ a / n }}", "{{ a // 2 }}", "{{ i % 2 }}", "{{ a ** 2 }}",
    "{{ -a }}", "{{ x|round(2) }}", "{{ xs|sum }}", "{{ xs|length }}", "{{ '%.1f'|format(x) }}",
    "{{ '{:.1f}'.format(x) }}", "{{ '%d' % x }}", "{% set n = n + 1 %}", "{% if a - b > 0 %}more{% endif %}",
    "{% for x in xs %}{{ x|int }}{% endfor %}",
    "{% macro m(x) %}{{ x * 2 }}{% endmacro %}",
])
def test_computing_template_is_found(source: str) -> None:
    assert len(template_breaches("planted.html.j2", "<p>\n" + source)) == 1


@pytest.mark.parametrize("source", [
    "{{ row.mean }}", "{% for row in rows %}{{ loop.index }}{% endfor %}", "{% if rows %}{{ rows|first }}{% endif %}",
    "{{ 'figure-' ~ figure.id }}", "{{ names|join(', ') }}", "a + b, 3 * 4, 10 % of the budget",
    "{% set t = model.title %}{{ t }}",
])
def test_arranging_template_is_no_breach(source: str) -> None:
    assert template_breaches("planted.html.j2", source) == []
