"""Do heatmaps show what networks rely on? What studies of planted shortcuts found, kept beside the other results.

    python -m explain.studies shortcuts --epochs 3
    python -m benchmarks.shortcuts [--runs DIR]

Writes results/shortcuts-RECIPE.json for each study beside the runs: a row a shortcut and layer, with the same correlation for
each null control, and every network's reliance and mass.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import record
from explain.studies.shortcuts import LAYERS, ModelRecord, StudyRecord, following, load_all, tracking
from speedcore.cli.console import run_app
from speedcore.data.shapes import SHORTCUTS


def write(study: StudyRecord) -> Path:
    """The result file of one study."""
    seeds = {model.seed for model in study.models}
    return record.write(
        f"shortcuts-{study.recipe.name}",
        f"Networks with a planted shortcut: does the {study.method} mass on it rise with what they lose when it is swapped? Rank "
        f"correlations over networks.", rows(study.models), made=study.provenance, epochs=study.recipe.epochs,
        seeds=len(seeds), recipes={"with": study.recipe.model_dump(mode="json")},
        **{"training images": study.train_images, "test images": study.test_images,
           "test images a class": study.images_per_class},
        per_seed=[{"shortcut": m.shortcut, "correlation": m.correlation, "arm": m.arm, "seed": m.seed, "reliance": m.reliance,
                   "accuracy right": m.accuracy_right, "accuracy swapped": m.accuracy_swapped,
                   "mass": {layer: m.mass(layer) for layer in LAYERS}} for m in study.models])


def rows(models: tuple[ModelRecord, ...]) -> list[dict]:
    """One a shortcut and layer."""
    return [_row([m for m in models if m.shortcut == shortcut], shortcut, layer)
            for shortcut in SHORTCUTS if any(m.shortcut == shortcut for m in models) for layer in LAYERS]


def _row(models: list[ModelRecord], shortcut: str, layer: str) -> dict:
    found = tracking(models, shortcut, layer)
    reliance, layers = [m.reliance for m in models], [m.layers[layer] for m in models]
    return {"shortcut": shortcut, "layer": layer, "networks": found.n, "rank correlation": found.correlation,
            "95 % interval": record.bounds(found.interval), "verdict": found.verdict,
            "reliance, least": min(reliance), "reliance, most": max(reliance),
            **{f"null: {control.replace('_', ' ')}": following(reliance, [each.controls[control].score for each in layers])[1]
               for control in layers[0].controls}}


def main() -> None:
    record.keep_studies(__doc__, load_all, write, "shortcuts", "python -m explain.studies shortcuts")


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
