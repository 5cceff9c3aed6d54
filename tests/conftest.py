"""What every test stands on: no trace of the user's own settings, and no trace left in the user's folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import hypothesis
import pytest

from tests.slow import SLOW, SLOW_FIXTURES

# Before torch is first imported: many small tensors are slower on many threads, and results depend on the count.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")

HERE = Path(__file__).parent

# A slow machine is no finding: examples are limited by number, not by time.
hypothesis.settings.register_profile("speedcore", deadline=None, max_examples=50,
                                     suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("speedcore")


@pytest.fixture(scope="session", autouse=True)
def no_user_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs and cached data go to this session's own folders; SPEEDCORE_* of the shell do not reach any test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SPEEDCORE_")]:
            patch.delenv(name)
        patch.setenv("SPEEDCORE_RUNS", str(tmp_path_factory.getbasetemp() / "runs"))
        patch.setenv("SPEEDCORE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium to look at pages with, for playwright's `executable_path`."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.fail("no Chromium here to look at the page with; run `make test`, or install chromium (apt-get) yourself")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Root of the checkout."""
    return HERE.parent


def _from_here(path: Path) -> str:
    return path.relative_to(HERE).as_posix() if path.is_relative_to(HERE) else ""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Whoever wants the quick tests need not wait for the import of the others."""
    return True if config.option.markexpr == "not slow" and _from_here(collection_path) in SLOW else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that need a GPU are left out where there is none: there is nothing that they could say."""
    for item in items:
        path, name = _from_here(item.path), getattr(item, "originalname", item.name)
        places = {path, f"{path}::{name}", *map(str, PurePosixPath(path).parents)}
        if places & SLOW or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing:
        import torch

        if not torch.cuda.is_available():
            config.hook.pytest_deselected(items=needing)
            items[:] = [item for item in items if item not in needing]
