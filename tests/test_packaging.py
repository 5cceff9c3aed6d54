"""One set of requirements, three ways to install it: pyproject.toml, requirements.lock, environment.yml; and set-up."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module, metadata
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).parents[1]
PACKAGES = ("speedcore", "explain", "reports")
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
LOCK = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")

# Where a distribution's import name, or its name at conda-forge, is another.
IMPORTED_AS = {"pillow": "PIL"}
AT_CONDA_FORGE = {"torch": "pytorch", "matplotlib": "matplotlib-base", "playwright": "playwright-python"}
# Neither pip nor PyPI has these; conda does, so environment.yml names them.
ONLY_CONDA = {"python", "pip", "pango", "harfbuzz", "fontconfig", "fonts-conda-forge", "poppler"}


def by_name(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


RUNTIME = by_name(PYPROJECT["project"]["dependencies"])
TEST = by_name(EXTRAS["test"])
SETUP = by_name(PYPROJECT["dependency-groups"]["setup"])


# --- pyproject.toml --------------------------------------------------------------------------------------------------

def third_party_imports() -> set[str]:
    """Top-level names that the three packages import from elsewhere than the standard library and each other."""
    found = set()
    for path in (path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


def import_names(requirements: dict[str, Requirement]) -> set[str]:
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in requirements}


def test_everything_imported_is_declared() -> None:
    assert third_party_imports() <= import_names(RUNTIME)


def test_everything_declared_is_imported() -> None:
    assert import_names(RUNTIME) <= third_party_imports()


def test_command_is_callable() -> None:
    for target in PYPROJECT["project"]["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", f"import hatchling.build as b; b.build_wheel({str(tmp_path)!r})"],
                   cwd=CHECKOUT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {path.relative_to(CHECKOUT).as_posix() for package in PACKAGES for path in (CHECKOUT / package).rglob("*")
              if path.is_file() and "__pycache__" not in path.parts}
    assert held == wanted
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_source_archive_names_what_exists() -> None:
    for path in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (CHECKOUT / path.lstrip("/")).exists(), path


def test_pip_install_into_this_environment_pulls_nothing() -> None:
    """`pip install -e .` beside an installed torch finds all that it needs there: no index is even asked."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    outcome = subprocess.run([sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-build-isolation",
                              "--disable-pip-version-check", "--editable", "."], cwd=CHECKOUT, capture_output=True,
                             text=True, check=False, env=environment)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    [line] = [line for line in outcome.stdout.splitlines() if line.startswith("Would install")]
    assert re.fullmatch(r"Would install speedcore-[\d.]+", line)


# --- requirements.lock -----------------------------------------------------------------------------------------------

def lock_entries() -> list[tuple[Requirement, list[str]]]:
    """(pinned requirement, its sha256 digests) for each entry of the lock."""
    joined = LOCK.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(Requirement(line.split(" --hash=")[0].strip()), re.findall(r"--hash=sha256:([0-9a-f]{64})(?= |$)", line))
            for line in lines]


ENTRIES = lock_entries()


def test_lock_says_how_to_write_it_anew() -> None:
    assert "make lock" in LOCK[:200]


def test_every_entry_is_one_version_with_hashes() -> None:
    assert ENTRIES
    for requirement, hashes in ENTRIES:
        assert re.fullmatch(r"==[\w.+!]+", str(requirement.specifier)), requirement
        assert requirement.url is None and hashes, requirement
    assert LOCK.count("--hash=") == sum(len(hashes) for _, hashes in ENTRIES)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_lock_satisfies_what_is_asked_for_on_every_python(python: str) -> None:
    """On Linux, each declared requirement has exactly one pin, within its bounds."""
    environment = default_environment() | {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
        "os_name": "posix", "platform_machine": "x86_64"}
    for name, asked in (RUNTIME | TEST | SETUP).items():
        pins = [pin for pin, _ in ENTRIES if canonicalize_name(pin.name) == name
                and (pin.marker is None or pin.marker.evaluate(environment))]
        assert len(pins) == 1, f"{asked}: {[str(pin) for pin in pins]}"
        [version] = [specifier.version for specifier in pins[0].specifier]
        assert asked.specifier.contains(version, prereleases=True), f"{asked} but {pins[0]}"


@pytest.mark.parametrize("name", ["requirements.lock", "environment.yml", "pyproject.toml", "Makefile", ".ci/run",
                                  "scripts/setup.sh", "scripts/lock.sh"])
def test_no_file_names_an_address_or_a_folder_of_one_machine(name: str) -> None:
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    address = r"[a-z+]+://|(?<!--no-emit-)(index-url|find-links)"
    folder = r"(?<![\w.])/(opt|work|home|root|Users)\b"
    assert not re.search(f"{address}|{folder}", text)


# --- environment.yml -------------------------------------------------------------------------------------------------

def test_conda_users_get_the_same_set() -> None:
    content = yaml.safe_load((CHECKOUT / "environment.yml").read_text(encoding="utf-8"))
    [pip] = [entry["pip"] for entry in content["dependencies"] if isinstance(entry, dict)]
    conda = by_name([entry for entry in content["dependencies"] if isinstance(entry, str)])
    asked = {AT_CONDA_FORGE.get(name, name): requirement for name, requirement in (RUNTIME | TEST).items()}

    assert pip == ["-e ."]
    assert content["channels"] == ["conda-forge", "nodefaults"]
    assert set(conda) - ONLY_CONDA == set(asked)
    assert set(conda) >= ONLY_CONDA
    for name, requirement in asked.items():
        assert conda[name].specifier == requirement.specifier, name
    assert str(conda["python"].specifier) == PYPROJECT["project"]["requires-python"]


def test_renamed_distributions_are_ones_that_are_asked_for() -> None:
    assert set(AT_CONDA_FORGE) <= set(RUNTIME | TEST)
    assert set(IMPORTED_AS) <= set(RUNTIME)


# --- make ------------------------------------------------------------------------------------------------------------

def test_help_names_every_target() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    shown = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert {f"make {target}" for target in targets if target != "help"} <= set(re.findall(r"make \w+", shown))


def test_ci_runs_the_tests() -> None:
    script = CHECKOUT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"


LIBRARIES = ["libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0", "fontconfig", "fonts-dejavu-core"]


class Machine:
    """A checkout that is set up, on a Debian whose system packages, user and package manager the test decides."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.programs, self.log = folder / "a checkout", folder / "bin", folder / "apt.log"
        self.programs.mkdir()
        (self.checkout / "scripts").mkdir(parents=True)
        (self.checkout / ".venv" / "bin").mkdir(parents=True)
        for name in ("requirements.lock", "pyproject.toml", "scripts/setup.sh"):
            shutil.copy(CHECKOUT / name, self.checkout / name)
        (self.checkout / ".venv" / "bin" / "python").symlink_to(sys.executable)
        for tool in ("sh", "cat", "cksum", "dirname", "env", "mktemp", "rm", "tail"):
            (self.programs / tool).symlink_to(shutil.which(tool))
        self.has(*LIBRARIES)
        self.user(0)
        self.apt_get(succeeds=True)
        self.program("sudo", "exit 1")
        self.stamp()

    def program(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.programs / name).chmod(0o755)

    def has(self, *packages: str) -> None:
        known = "|".join(packages) or "none"
        self.program("dpkg", f'case "$2" in {known}) echo "Status: install ok installed" ;; *) exit 1 ;; esac')

    def user(self, number: int) -> None:
        self.program("id", f"echo {number}")

    def apt_get(self, *, succeeds: bool) -> None:
        self.program("apt-get", f'echo "$@" >>"{self.log}"; [ "$1" = update ] || {str(succeeds).lower()}')

    def stamp(self) -> None:
        files = b"".join((self.checkout / name).read_bytes()
                         for name in ("requirements.lock", "pyproject.toml", "scripts/setup.sh"))
        sums = subprocess.run(["cksum"], input=files, capture_output=True, check=True).stdout.decode().strip()
        (self.checkout / ".venv" / "setup.stamp").write_text(f"{self.checkout} {sums}\n")

    def setup(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "scripts/setup.sh", *arguments], cwd=self.checkout, capture_output=True,
                              text=True, env={"PATH": str(self.programs), **environment}, check=False, timeout=60)

    def apt_calls(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def installed(self) -> set[str]:
        """Packages that apt-get was told to install."""
        words = [word for call in self.apt_calls() if call.startswith("install") for word in call.split()[1:]]
        return {word for word in words if not word.startswith("-") and "::" not in word}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_setup_is_silent_when_all_is_there(machine: Machine) -> None:
    outcome = machine.setup()
    assert (outcome.returncode, outcome.stdout, outcome.stderr, machine.apt_calls()) == (0, "", "", [])


def test_setup_installs_only_what_is_missing(machine: Machine) -> None:
    machine.has(*LIBRARIES[2:])
    assert machine.setup().returncode == 0
    assert machine.installed() == set(LIBRARIES[:2])
    assert machine.apt_calls()[0].startswith("update")


@pytest.mark.parametrize("reason", ["not root", "apt-get fails"])
def test_setup_names_the_line_to_run_and_goes_on(machine: Machine, reason: str) -> None:
    machine.has(*LIBRARIES[1:])
    if reason == "not root":
        machine.user(1000)
    else:
        machine.apt_get(succeeds=False)
    outcome = machine.setup()
    assert outcome.returncode == 0
    assert outcome.stdout.rstrip().endswith(f"please run:  sudo apt-get install {LIBRARIES[0]}")
    assert machine.installed() == (set() if reason == "not root" else {LIBRARIES[0]})


def test_setup_uses_sudo_where_it_asks_for_no_password(machine: Machine) -> None:
    machine.has(*LIBRARIES[1:])
    machine.user(1000)
    machine.program("sudo", 'shift; exec "$@"')
    machine.program("true", "exit 0")
    assert machine.setup().returncode == 0
    assert machine.installed() == {LIBRARIES[0]}


def test_tests_ask_for_a_browser_and_a_pdf_reader(machine: Machine) -> None:
    assert machine.setup("--for-tests").returncode == 0
    assert machine.installed() == {"chromium", "poppler-utils"}


def test_tests_take_the_browser_that_is_there(machine: Machine) -> None:
    machine.program("google-chrome", "exit 0")
    machine.program("pdftoppm", "exit 0")
    assert machine.setup("--for-tests").returncode == 0
    assert machine.apt_calls() == []


@pytest.mark.parametrize("changed", ["requirements.lock", "pyproject.toml"])
def test_setup_notices_a_change(machine: Machine, changed: str) -> None:
    with (machine.checkout / changed).open("a") as file:
        file.write("# changed\n")
    (machine.checkout / ".venv" / "bin" / "python").unlink()
    # There is no Python on this machine's path: set-up must begin anew, and says what it lacks.
    outcome = machine.setup()
    assert outcome.returncode == 1
    assert "needs Python 3.11 or newer" in outcome.stderr


def test_setup_refuses_an_old_python(machine: Machine) -> None:
    shutil.rmtree(machine.checkout / ".venv")
    machine.program("python3", 'if [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi')
    outcome = machine.setup()
    assert outcome.returncode == 1
    assert "'python3' is Python 3.9.2" in outcome.stderr and "PYTHON=" in outcome.stderr


def test_setup_refuses_an_unknown_option(machine: Machine) -> None:
    outcome = machine.setup("--for-test")
    assert outcome.returncode == 2
    assert "'--for-test'" in outcome.stderr


def test_installed_versions_are_within_bounds() -> None:
    """The environment that runs these tests is one that pyproject.toml admits."""
    for name, requirement in (RUNTIME | TEST).items():
        assert requirement.specifier.contains(metadata.version(name), prereleases=True), requirement
