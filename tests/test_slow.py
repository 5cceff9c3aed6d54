"""The list of slow tests names what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slow import SLOW


@pytest.mark.parametrize("entry", sorted(SLOW))
def test_what_is_called_slow_exists(entry: str, checkout: Path) -> None:
    path, _, name = entry.partition("::")
    place = checkout / "tests" / path
    assert place.exists()
    assert not name or f"\ndef {name}(" in place.read_text(encoding="utf-8")
