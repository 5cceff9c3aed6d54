"""What runs of the preregistered claim found, kept beside the other results.

    python -m explain.studies claim --dataset shapes,mnist --epochs shapes=3,mnist=1 --parts none --no-match
    python -m benchmarks.claim [--runs DIR]

Writes results/claim-DATASETS.json for each study beside the runs: a row a registered test, with what its null controls came to,
and every pair's values.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import record
from explain.claim.verdicts import ClaimRecord, load_all, null_differences, rows, verdicts
from speedcore import stats
from speedcore.cli.console import run_app


def write(study: ClaimRecord) -> Path:
    """The result file of one study."""
    plan = study.preregistration
    table = [row | {"interval": record.bounds(row["interval"]), **_nulls(study, row)}
             for row in rows(verdicts(study))]
    accuracies = {name: {arm: [100 * a for a in of_seeds] for arm, of_seeds in one.accuracies.items()}
                  for name, one in study.datasets.items()}
    return record.write(
        f"claim-{'-'.join(study.datasets)}",
        f"The claim as preregistered on {plan.registered} (version {plan.version}): each test over pairs of seeds, differences "
        f"in favour of the claim.", table, made=study.provenance, **{
            "preregistered pairs": plan.pairs.planned, "all of them run": study.planned,
            "test images a class": study.images_per_class,
            "trained": [f"{name}: {one.recipe.epochs:g} epochs of {one.recipe.name}, accuracy " + ", ".join(
                f"{arm} {stats.mean(values):.2f} %" for arm, values in accuracies[name].items())
                for name, one in study.datasets.items()]},
        recipes={name: one.recipe.model_dump(mode="json") for name, one in study.datasets.items()},
        per_seed={name: {"accuracies": accuracies[name], "values": one.values, "nulls": one.nulls}
                  for name, one in study.datasets.items()})


def _nulls(study: ClaimRecord, row: dict) -> dict[str, float | None]:
    """Mean difference of each null control of the row's outcome; parts have none of their own."""
    one, claim = study.datasets[row["data set"]], study.preregistration.of(row["data set"])
    outcome = next((o for o in (claim.primary, *claim.secondary) if o.name == row["what"]), None)
    if outcome is None:
        return {}
    return {control.replace("_", " "): stats.mean(found) if found else None
            for control, found in null_differences(one, outcome).items()}


def main() -> None:
    record.keep_studies(__doc__, load_all, write, "the claim", "python -m explain.studies claim")


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
