"""Running a ladder: its runs are found or trained, seed by seed, and which they are is kept beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

from speedcore.data.dataset import Dataset
from speedcore.errors import RecipeError
from speedcore.ladders.result import LadderResult
from speedcore.ladders.scale import Scale, ScaleTable
from speedcore.machine.device import resolve
from speedcore.planning.rounds import Training, in_rounds, too_short
from speedcore.recipe import Frozen, Recipe
from speedcore.recipe.ladder import Ladder
from speedcore.store import records
from speedcore.store.fields import Name
from speedcore.store.runs import RunStore
from speedcore.training.callback import Callback

WHOLE = Scale()
FILE = "climb.json"  # as it was first called: results of before are found under this name


class LadderRecord(Frozen):
    """climb.json: which runs belong to which rung. Run keys in order of their seeds."""

    version: Literal[1] = 1
    ladder: Ladder
    scale: ScaleTable
    runs: dict[str, tuple[Name, ...]]
    left_out: tuple[str, ...] = ()


def run_ladder(ladder: Ladder, dataset: Dataset, store: RunStore, device: str, scale: Scale = WHOLE, names: str | None = None,
               seeds: int | None = None, within: float | None = None, callback: Callback | None = None) -> LadderResult:
    """Train what is missing of `ladder` on `dataset` (as loaded, whole) and keep the result.

    names: comma-separated rungs, all where None. seeds: runs a rung; where None, as many as fit into `within` seconds,
    3 without it. Seeds are outermost, so that rungs stay balanced; a round that no longer fits is left out, and the next
    call continues. Raises RecipeError for a scale that leaves nothing to train.
    """
    rungs = ladder.chosen(names)
    small = scale.dataset(dataset)
    recipes = scaled_recipes(ladder, scale, small)
    result = LadderResult(ladder, scale, {})

    def keep(found: dict[str, list[Any]], left_out: tuple[str, ...]) -> None:
        nonlocal result
        runs = {rung.name: tuple(of_rung) for rung, of_rung in zip(rungs, found.values(), strict=True)}
        result = LadderResult(ladder, scale, runs, left_out)
        _write(result, small, device, store)  # after each round: what was trained before Ctrl-C is on record

    in_rounds({f"rung '{rung.name}'": Training(small, recipes[rung.name], store, device, callback) for rung in rungs},
              seeds, within, keep)
    return result


def scaled_recipes(ladder: Ladder, scale: Scale, small: Dataset) -> dict[str, Recipe]:
    """Each rung's recipe at `scale`, for the scaled data set. Raises RecipeError if the scale leaves too little."""
    found = {name: scale.recipe(recipe) for name, recipe in ladder.recipes.items()}
    for rung in ladder.steps:
        recipe, base = found[rung.name], ladder.below(rung)
        if too_short(small, recipe):
            raise RecipeError(f"ladder '{ladder.name}' {scale.text} is impossible: rung '{rung.name}' ({recipe.epochs:.3g} "
                              f"epochs of {len(small.train)} images in batches of {recipe.batch_size}) has less than two "
                              f"steps; choose a larger --scale.")
        if base and recipe.hash == found[base].hash:
            raise RecipeError(f"ladder '{ladder.name}' {scale.text} is impossible: rungs '{base}' and '{rung.name}' are "
                              f"the same there; choose a larger --scale.")
    return found


def load_all(store: RunStore, name: str | None = None) -> Iterator[LadderResult]:
    """The results beside the runs, of the ladder `name` or of all; runs that are gone are left out, as are results
    whose record is damaged, which are named."""
    for path in sorted((store.root / "ladders").glob(f"*/{FILE}")):
        record = records.look(path, LadderRecord)
        if record is not None and name in (None, record.ladder.name):
            runs = {rung: tuple(run for key in keys if (run := store.look(key))) for rung, keys in record.runs.items()}
            yield LadderResult(record.ladder, Scale(**record.scale), runs, record.left_out)


def _write(result: LadderResult, dataset: Dataset, device: str, store: RunStore) -> None:
    ladder = result.ladder
    content = json.dumps([ladder.model_dump(mode="json"), vars(result.scale), dataset.fingerprint, resolve(device).type])
    name = f"{ladder.name}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
    path, runs = store.root / "ladders" / name, {}
    earlier = records.take(path / FILE, LadderRecord, whole=path)
    before = earlier.runs if earlier else {}
    for rung in ladder.steps:
        # Seeds always begin at 0: where an earlier call trained more of them, those stay on record.
        keys = tuple(run.record.key for run in result.runs.get(rung.name, ()))
        runs[rung.name] = max(keys, before.get(rung.name, ()), key=len)
    records.write(path / FILE, LadderRecord(ladder=ladder, scale=result.scale.table, left_out=result.left_out, runs=runs))
