"""The simulation makes what it says it makes, and a procedure that is wrong would show in its counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import claim_calibration as calibration
from speedcore.stats import claims


@pytest.mark.parametrize("noise", calibration.NOISES)
def test_simulated_differences_have_the_moments_that_are_asked_for(noise: str) -> None:
    made = np.concatenate(list(calibration.experiments(4000, 2, 10, 0.3, 2.0, noise, seed=1)), axis=1)
    assert made.shape == (2, 40_000)
    assert made.mean(1) == pytest.approx([0.3, 0.3], abs=0.05)
    # Three degrees of freedom have no fourth moment: their sample variance is rough.
    loose = 0.25 if "heavy" in noise else 0.05
    assert made.std(1) == pytest.approx([2.0, 2.0], abs=loose)
    assert np.corrcoef(made)[0, 1] == pytest.approx(calibration.CORRELATION, abs=0.1 if "heavy" in noise else 0.03)


def test_rows_count_verdicts() -> None:
    rows = {(r["truth"], r["noise"], r["data sets"], r["counted"]): r for r in calibration.calibration(60)}
    sure = rows["d = 1.6", "normal", 1, "the claim is supported on the first data set"]
    assert sure["of"] == 60 and sure["%"] > 80
    for (truth, _, _, counted), row in rows.items():
        if truth == "no difference" and "shown" in counted:
            assert row["95 % from"] <= 5  # 60 experiments cannot say more
        assert row["95 % from"] <= row["%"] <= row["to"]


def test_a_procedure_without_correction_would_be_seen(monkeypatch) -> None:
    """Three tests at 5 % each, uncorrected, err in about 11 % of experiments with this correlation: more than 5 %."""
    monkeypatch.setattr(claims.tests, "holm", list)
    found = calibration.judged(calibration.experiments(1000, 3, 10, 0.0, 0.05), 0.05)
    row = calibration.row("", "", 3, "", [any(map(calibration.shown, e)) for e in found])
    assert row["95 % from"] > 5
