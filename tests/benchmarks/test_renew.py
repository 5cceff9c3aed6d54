"""Result files hold the intervals and verdicts that their runs' values give by the present rules."""

from __future__ import annotations

import json
import math

import pytest

from benchmarks import renew, stored


def rounded(value):
    """Floats to nine digits: another build of scipy may differ in the last."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


@pytest.mark.parametrize("path", sorted(stored.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_committed_results_have_the_intervals_of_today(path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert rounded(renew.renewed(content)) == rounded(content), "run python -m benchmarks.renew and commit"


def test_a_rung_by_hand() -> None:
    """Accuracies 51, 52, 53 against 50: by Student's t(2) at 98 %, 2 ± 6.964557 / √3; the times are halved each time."""
    def runs(*values: float, seconds: float) -> list[dict]:
        return [{"seed": i, "accuracy %": value, "seconds": seconds} for i, value in enumerate(values)]

    old = {"95 % interval": [0, 1], "points interval": [1, 3], "accuracy": "helps", "ratio interval": [0.5, 0.5], "time": "helps"}
    content = {"name": "ladder-toy", "verdicts": "", "per_seed": {"base": runs(50, 50, 50, seconds=2),
                                                                   "a": runs(51, 52, 53, seconds=1)},
               "rows": [old | {"rung": "base", "against": None, "points": None},
                        old | {"rung": "a", "against": "base", "points": 2}]}
    base, rung = renew.renewed(content)["rows"]
    assert base["95 % interval"] is None and base["points interval"] == [1, 3]  # equal values; nothing to compare with
    reach = 6.964557 / math.sqrt(3)
    assert rung["points interval"] == pytest.approx([2 - reach, 2 + reach], abs=1e-5)
    assert rung["95 % interval"] == pytest.approx([52 - reach, 52 + reach], abs=1e-5)
    assert (rung["accuracy"], rung["ratio interval"], rung["time"]) == ("cannot tell", None, "cannot tell")
    assert content["rows"][1]["accuracy"] == "helps"  # what was given is left as it was
