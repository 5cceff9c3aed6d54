"""How often does the preregistered test procedure err, what can it see, and do intervals hold what they say? Simulated.

python -m benchmarks.claim_calibration [--experiments 5000] [--samples 4000]

An experiment is what the preregistration asks for: its planned pairs of seeds on each data set of the family, one outcome,
`speedcore.stats.claims.judge` with the registered bound. Both arms of a pair share what the seed does; the rest of a value is
noise, correlated over the data sets. Arms that differ by their label alone show what the procedure makes of nothing.
Nothing is trained. Writes results/claim-calibration.json.

For the intervals, samples of 3 to 30 values are drawn of which the mean is known, symmetric and skewed, with long tails, and with
runs that fail now and then: how many of the intervals hold it? Beside those that are printed, the candidates they are made of.
Writes results/interval-calibration.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks import record
from explain.claim.preregistration import preregistration
from speedcore import stats
from speedcore.stats import Interval
from speedcore.stats import claims as procedure
from speedcore.stats.claims import Tested

CORRELATION = 0.5  # of the noise of one arm and seed over data sets, or over outcomes
NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (Student's t, 3 df)": lambda rng, shape: rng.standard_t(3, shape) / np.sqrt(3),
    "skewed (exponential)": lambda rng, shape: rng.exponential(1.0, shape) - 1,
}


def experiments(count: int, sets: int, pairs: int, effect: float, spread: float, noise: str = "normal",
                seed: int = 0) -> Iterator[np.ndarray]:
    """Paired differences (sets, pairs) of `count` experiments, with − without.

    effect: the true difference; spread: standard deviation of a difference. Noise of one arm is a shared part and one of the
    data set's own; each difference is that of two arms with the same seed's part, which cancels.
    """
    rng, draw = np.random.default_rng(seed), NOISES[noise]
    for _ in range(count):
        of_seed = rng.standard_normal((1, 1, pairs))
        shared, own = draw(rng, (2, 1, pairs)), draw(rng, (2, sets, pairs))
        arms = of_seed + spread / np.sqrt(2) * (np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own)
        without, augmented = arms
        yield augmented - without + effect


def judged(families: Iterator[np.ndarray], bound: float) -> list[list[Tested]]:
    """Each experiment's verdicts, a data set each."""
    return [list(procedure.judge({str(i): row.tolist() for i, row in enumerate(family)}, bound).values())
            for family in families]


def row(truth: str, noise: str, sets: int, counted: str, hits: list[bool]) -> dict:
    """A share with its exact 95 % interval, in percent."""
    interval = stats.share_interval(sum(hits), len(hits))
    return {"truth": truth, "noise": noise, "data sets": sets, "counted": counted, "of": len(hits),
            "%": 100 * sum(hits) / len(hits), "95 % from": 100 * interval.low, "to": 100 * interval.high}


# --- intervals -------------------------------------------------------------------------------------------------------

SIZES = (3, 4, 5, 6, 7, 8, 10, 15, 20, 30)
FAILURE, OFTEN = -500.0, 0.1  # what a failed run lies away, in standard deviations of the others; how many do
VALUES: dict[str, tuple[float, Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]]] = {
    "normal": (0.0, lambda rng, shape: rng.standard_normal(shape)),
    "heavy tails (Student's t, 3 df)": (0.0, lambda rng, shape: rng.standard_t(3, shape)),
    "differences of skewed arms (exponential)": (0.0, lambda rng, shape: rng.exponential(1, shape) - rng.exponential(1, shape)),
    "differences, one run in ten fails in either arm": (
        0.0, lambda rng, shape: rng.standard_normal(shape) + FAILURE * (_failed(rng, shape) - _failed(rng, shape))),
    "skewed (log-normal, σ = 0.5: skewness 1.8)": (np.exp(0.125), lambda rng, shape: rng.lognormal(0, 0.5, shape)),
    "skewed (exponential: skewness 2)": (1.0, lambda rng, shape: rng.exponential(1, shape)),
    "very skewed (log-normal, σ = 1: skewness 6.2)": (np.exp(0.5), lambda rng, shape: rng.lognormal(0, 1, shape)),
    "normal, one run in ten fails": (
        FAILURE * OFTEN, lambda rng, shape: rng.standard_normal(shape) + FAILURE * _failed(rng, shape)),
}


def _failed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (rng.random(shape) < OFTEN).astype(np.float64)


def students(values: list[float]) -> Interval:
    """Student's interval of the mean, as it is in books."""
    centre, reach = stats.mean(values), stats.student_reach(values)
    return Interval(centre - reach, centre + reach, "Student's t")


def sign_flips(values: list[float]) -> Interval | None:
    """The sign-flip test turned round, where it has bounds."""
    if len(values) < stats.FEWEST_PAIRS:
        return None
    return Interval(*stats.sign_flip_bounds(values), "sign flips")


INTERVALS: dict[str, Callable[[list[float]], Interval | None]] = {
    "as printed": stats.mean_interval, "Student's t alone": students, "sign flips alone": sign_flips}


def held(count: int, values: str, interval: str, sizes: Sequence[int] = SIZES) -> tuple[dict[int, float], dict[int, float]]:
    """Percent of `count` samples of each size whose interval holds the mean, and how wide it is at the median, in Student's."""
    truth, draw = VALUES[values]
    shares, widths = {}, {}
    for n in sizes:
        rng = np.random.default_rng(n)
        samples = draw(rng, (count, n)).tolist()
        found = [(i, students(sample)) for sample in samples if (i := INTERVALS[interval](sample))]
        if found:
            shares[n] = 100 * sum(bool(i.low <= truth <= i.high) for i, _ in found) / len(found)
            widths[n] = float(np.median([(i.high - i.low) / (t.high - t.low) for i, t in found]))
    return shares, widths


def intervals(count: int) -> list[dict]:
    """All rows of the intervals: one of shares for each kind of values and interval, and one of widths for those printed."""
    rows = []
    for values in VALUES:
        for interval in INTERVALS:
            shares, widths = held(count, values, interval)
            rows.append({"values": values, "interval": interval, "counted": "holds the mean, %", **_columns(shares)})
            if interval == "as printed":
                rows.append({"values": values, "interval": interval, "counted": "width / Student's", **_columns(widths)})
    seen = {n: 100 * (1 - (1 - OFTEN)**n) for n in SIZES}
    rows.append({"values": "normal, one run in ten fails", "interval": "any", "counted": "samples that show a failure, %",
                 **_columns(seen)})
    return rows


def _columns(by_size: dict[int, float]) -> dict[str, float | None]:
    return {f"n = {n}": by_size.get(n) for n in SIZES}


# --- the procedure ---------------------------------------------------------------------------------------------------

def shown(tested: Tested) -> bool:
    """Whether a difference was shown, of either sign."""
    return tested.p_holm is not None and tested.p_holm < stats.ALPHA


def calibration(count: int) -> list[dict]:
    """All rows, from `count` experiments each."""
    plan = preregistration()
    claim, n = plan.claims["logical"], plan.pairs.planned
    bound, sets = claim.primary.bound, sum(one.claim == "logical" for one in plan.datasets.values())
    rows = []
    for noise in NOISES:
        found = judged(experiments(count, sets, n, 0.0, bound, noise), bound)
        rows += [row("no difference", noise, sets, "a difference is shown on some data set", [any(map(shown, e)) for e in found]),
                 row("no difference", noise, sets, "the claim is supported on some data set",
                     [any(t.verdict == "supported" for t in e) for e in found])]
        at_bound = judged(experiments(count, sets, n, bound, bound, noise), bound)
        rows.append(row("a difference as large as the bound", noise, sets, "equivalence is shown on some data set",
                        [any(t.verdict == "equivalent within bounds" for t in e) for e in at_bound]))
        rows.append(row("no difference", noise, 1, "the 95 % interval holds the truth",
                        [e[0].interval.low <= 0 <= e[0].interval.high for e in found]))
    outcomes = len(claim.secondary)
    found = judged(experiments(count, outcomes, n, 0.0, bound), bound)
    rows.append(row("no difference", "normal", 1, f"a difference is shown on some of {outcomes} secondary outcomes",
                    [any(map(shown, e)) for e in found]))
    for effect in (0.8, 1.2, 1.6):
        for k in (1, sets):
            found = judged(experiments(count, k, n, effect * bound, bound), bound)
            rows.append(row(f"d = {effect:g}", "normal", k, "the claim is supported on the first data set",
                            [e[0].verdict == "supported" for e in found]))
    for share in (1, 2):
        found = judged(experiments(count, sets, n, 0.0, bound / share), bound)
        what = "as large as the bound" if share == 1 else "half the bound"
        rows.append(row(f"no difference, spread {what}", "normal", sets, "equivalence is shown on the first data set",
                        [e[0].verdict == "equivalent within bounds" for e in found]))
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--experiments", type=int, default=5000)
    options.add_argument("--samples", type=int, default=4000)
    chosen = options.parse_args()
    count, samples = chosen.experiments, chosen.samples
    if count < 1 or samples < 1:
        options.error("--experiments and --samples must be at least 1")
    plan = preregistration()
    print(record.write(
        "claim-calibration", "How often does the preregistered test procedure err, and what can it see? Simulated experiments of "
        f"{plan.pairs.planned} pairs, judged as real ones are (exact sign-flip tests, Holm over the data sets).",
        calibration(count), spread_of_a_difference="as large as the bound unless said otherwise",
        correlation_over_data_sets=CORRELATION, bound=plan.claims["logical"].primary.bound))
    print(record.write(
        "interval-calibration", f"How many of the 95 % intervals of a mean hold it? {samples:,} samples of n values a cell; "
        f"counts are known to within {100 * 1.96 * np.sqrt(0.95 * 0.05 / samples):.1f} points. As printed: "
        f"{stats.MEAN_INTERVAL}.",
        intervals(samples)))


if __name__ == "__main__":
    main()
