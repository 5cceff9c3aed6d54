"""How often does the preregistered test procedure err, and what can it see? Simulated experiments, judged as real ones are.

python -m benchmarks.claim_calibration [--experiments 5000]

An experiment is what the preregistration asks for: its planned pairs of seeds on each data set of the family, one outcome,
`speedcore.procedure.judge` with the registered bound. Both arms of a pair share what the seed does; the rest of a value is
noise, correlated over the data sets. Arms that differ by their label alone show what the procedure makes of nothing.
Nothing is trained. Writes results/claim-calibration.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import record
from explain.preregistration import preregistration
from speedcore import procedure, statistics
from speedcore.procedure import Tested

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
    interval = statistics.share_interval(sum(hits), len(hits))
    return {"truth": truth, "noise": noise, "data sets": sets, "counted": counted, "of": len(hits),
            "%": 100 * sum(hits) / len(hits), "95 % from": 100 * interval.low, "to": 100 * interval.high}


def shown(tested: Tested) -> bool:
    """Whether a difference was shown, of either sign."""
    return tested.p_holm is not None and tested.p_holm < statistics.ALPHA


def calibration(count: int) -> list[dict]:
    """All rows, from `count` experiments each (intervals: a fifth as many, for each is a bootstrap)."""
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
                        [e[0].interval.low <= 0 <= e[0].interval.high for e in found[:count // 5]]))
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
    count = options.parse_args().experiments
    if count < 5:
        options.error("--experiments must be at least 5")
    plan = preregistration()
    print(record.write(
        "claim-calibration", "How often does the preregistered test procedure err, and what can it see? Simulated experiments of "
        f"{plan.pairs.planned} pairs, judged as real ones are (exact sign-flip tests, Holm over the data sets).",
        calibration(count), spread_of_a_difference="as large as the bound unless said otherwise",
        correlation_over_data_sets=CORRELATION, bound=plan.claims["logical"].primary.bound))


if __name__ == "__main__":
    main()
