"""What a report is made from, loaded and checked: runs grouped by data set, arm and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from reports import gate
from reports.inputs import Inputs
from reports.labels import labels, slug, title_of
from speedcore.data import sets
from speedcore.errors import RunError
from speedcore.store.runs import DataRecord, Run

if TYPE_CHECKING:
    from explain.artefact import Explanation
    from speedcore.data.dataset import Dataset
    from speedcore.ladders.result import LadderResult
    from speedcore.store.run_record import RunRecord
    from speedcore.studies.records import StudyRecord as Studied

ARMS = ("without", "with")


@dataclass(frozen=True)
class Pair:
    """Both arms of one seed: same initial weights, same images."""

    seed: int
    without: Run
    augmented: Run

    @property
    def runs(self) -> tuple[Run, Run]:
        return self.without, self.augmented

    @property
    def equal_steps(self) -> bool:
        return self.without.record.steps == self.augmented.record.steps


@dataclass(frozen=True)
class DatasetResults:
    """All that the report knows of one data set. `arms` holds only arms that have runs, each sorted by seed. slug: its name in
    ids and links, like no other's of the report."""

    name: str
    slug: str
    record: DataRecord
    arms: Mapping[str, tuple[Run, ...]]
    dataset: Dataset | None = None
    explanations: Mapping[str, Explanation] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return title_of(self.name)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes as they are shown."""
        return labels(self.record.classes)

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for arm in self.arms.values() for run in arm)

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Seeds that both arms have, in order."""
        sides = [{run.record.seed: run for run in self.arms.get(arm, ())} for arm in ARMS]
        return tuple(Pair(seed, sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys()))


@dataclass(frozen=True)
class Results:
    """Checked inputs, by data set."""

    inputs: Inputs
    sets: tuple[DatasetResults, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(run for one in self.sets for run in one.runs)

    @property
    def chapters(self) -> tuple[LadderResult | Studied, ...]:
        """What has a chapter of its own, in its order."""
        return (*self.inputs.ladders, *self.inputs.studies)

    @property
    def climbed(self) -> tuple[Run, ...]:
        """The runs of the ladders."""
        return tuple(run for climb in self.inputs.ladders for runs in climb.runs.values() for run in runs)

    @property
    def finished(self) -> str:
        """When the newest run (or study) was finished (ISO 8601): the report's date, the same however often it is rendered."""
        made: tuple[RunRecord | Studied, ...] = (*(run.record for run in (*self.runs, *self.climbed)), *self.inputs.studies)
        dates = [str(record.provenance.get("finished", "")) for record in made]
        return max([d for d in dates if d] or [str(self.inputs.environment.get("finished")
                                                   or "1970-01-01T00:00:00+00:00")])


def load(inputs: Inputs) -> Results:
    """Check that the runs belong together and group them, all text through the gate. Raises RunError naming the runs that do
    not."""
    inputs = gate.inputs(inputs)
    names = sorted({run.record.data.name for run in inputs.runs}, key=_rank)
    slugs: dict[str, str] = {}
    for name in names:
        plain = slug(name)
        slugs[name] = plain if plain not in slugs.values() else f"{plain}-{len(slugs) + 1}"
    return Results(inputs, tuple(_one(name, slugs[name], inputs) for name in names))


def _rank(name: str) -> tuple[int, str]:
    return (sets.NAMES.index(name) if name in sets.NAMES else len(sets.NAMES), name)


def _one(name: str, slug: str, inputs: Inputs) -> DatasetResults:
    runs = [run for run in inputs.runs if run.record.data.name == name]
    first = runs[0]
    seen: dict[tuple[str, int], Run] = {}
    for run in runs:
        if run.record.arm not in ARMS:
            raise RunError(f"{run.path}: arm '{run.record.arm}' is neither of {' and '.join(ARMS)}; leave it out.")
        if run.record.data.fingerprint != first.record.data.fingerprint:
            raise RunError(f"{run.path} and {first.path} were trained on different contents of '{name}'; "
                           f"remove the one that is out of date.")
        earlier = seen.setdefault((run.record.arm, run.record.seed), run)
        if earlier is not run:
            raise RunError(f"{run.path} and {earlier.path} are the same arm and seed of '{name}'; leave one out.")
    arms = {arm: tuple(sorted((r for r in runs if r.record.arm == arm), key=lambda r: r.record.seed)) for arm in ARMS}
    for arm, members in arms.items():
        if len({run.record.recipe_hash for run in members}) > 1:
            listed = ", ".join(f"{run.name} ({run.record.recipe_hash})" for run in members)
            raise RunError(f"the runs of '{name}' {arm} augmentation have different recipes: {listed}; report one at a "
                           f"time.")
    dataset = inputs.datasets.get(name)
    if dataset is not None and dataset.fingerprint != first.record.data.fingerprint:
        raise RunError(f"the images of '{name}' are not those that {first.path} was trained on; load the same files.")
    keys = {run.record.key for run in runs}
    explanations = {e.record.run: e for e in inputs.explanations if e.record.run in keys}
    return DatasetResults(name, slug, first.record.data, {arm: members for arm, members in arms.items() if members}, dataset,
                          explanations)
