"""Training to convergence, the last experiment of the series' eighth part: do gains in speed become gains in final accuracy?

    python -m speedcore study convergence --data DIR --epochs 24,40 --scale data=0.1,width=0.25

The network that the part begins with and the one that it ends with, each for 24, 40, 60, 80 and 100 epochs, with cutout of 12
pixels and rates that suit long trainings: up to 0.4, over five epochs and then down to nothing for the baseline; over a fifth of
the epochs and down to 0.04 two epochs before the end for the final one. The source ran each five times, without tuning: the
final network keeps its lead out to 100 epochs, and reaches 96.1 % with the mirror image asked too after 80.

It is climbed like a ladder: runs are found or trained, seed by seed, and kept. Both networks are asked about the mirror image
too, so that they are compared by the same views; the plain accuracies stand beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speedcore import stats
from speedcore.errors import RecipeError
from speedcore.ladders.result import LadderResult
from speedcore.recipe import Schedule, TTAConfig
from speedcore.recipe.ladder import Ladder, Reported, Rung
from speedcore.recipes import page_tricks
from speedcore.store.runs import Run
from speedcore.studies.findings import RULE, Finding, Question, answer

if TYPE_CHECKING:
    from rich.console import Console

NAME, DATASET = "convergence", "cifar10"
LENGTHS = (24, 40, 60, 80, 100)
BASELINE, FINAL = "baseline", "final"
RATE, CUTOUT = 0.4, 12


@dataclass(frozen=True)
class Length:
    """Runs of both networks for so many epochs (at full scale), the seeds in order."""

    epochs: int
    baseline: tuple[Run, ...]
    final: tuple[Run, ...]

    @property
    def leads(self) -> tuple[float, ...]:
        """What the final network is ahead, a seed, in points of accuracy (as a share), both with views."""
        by_seed = {run.record.seed: run.record.accuracy for run in self.baseline}
        return tuple(run.record.accuracy - by_seed[run.record.seed] for run in self.final if run.record.seed in by_seed)


def ladder() -> Ladder:
    """Ten trainings. A rung is "NETWORK EPOCHS"; the final network stands on the baseline, a longer training on a shorter."""
    rungs = page_tricks.LADDER.recipes
    common = {"augment": rungs["gpu-data"].augment.model_copy(update={"cutout": CUTOUT}).model_dump(),
              "tta": TTAConfig(mirror=True).model_dump(), "min_epochs": 1.0}
    start = rungs["gpu-data"].changed(**common, epochs=LENGTHS[0], schedule=_schedule(BASELINE, LENGTHS[0]))
    last = rungs["no-cutout"]
    final = {"network": last.network.model_dump(), "optimizer": {**last.optimizer.model_dump(), "lr": RATE},
             "average": last.average and last.average.model_dump(), "label_smoothing": last.label_smoothing}
    found = []
    for before, epochs in zip((None, *LENGTHS), LENGTHS, strict=False):
        if before:
            found.append(Rung(name=_rung(BASELINE, epochs), what=f"{epochs} epochs", on=_rung(BASELINE, before),
                              change={"epochs": epochs, "schedule": _schedule(BASELINE, epochs)}))
        found.append(Rung(name=_rung(FINAL, epochs), what="the final network", on=_rung(BASELINE, epochs),
                          change={**final, "schedule": _schedule(FINAL, epochs)},
                          reported=Reported(accuracy=0.961, n=5) if epochs == 80 else Reported()))
    return Ladder(name=NAME, description="the first and the last network of page-tricks, for 24 to 100 epochs", dataset=DATASET,
                  source=page_tricks.LADDER.source, clock=page_tricks.LADDER.clock, base=start,
                  start=Rung(name=_rung(BASELINE, LENGTHS[0]), what="the baseline"), rungs=tuple(found))


def rungs_of(epochs: str) -> str:
    """The rungs of a comma-separated list of lengths. Raises RecipeError."""
    wanted = [part.strip() for part in epochs.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in map(str, LENGTHS)]
    if unknown or not wanted:
        raise RecipeError(f"--epochs '{epochs}': the lengths of this study are {', '.join(map(str, LENGTHS))}, before --scale.")
    return ",".join(_rung(network, int(part)) for part in wanted for network in (BASELINE, FINAL))


def lengths(result: LadderResult) -> tuple[Length, ...]:
    """The lengths that either network was trained for, the shortest first."""
    found = (Length(epochs, *(tuple(result.runs.get(_rung(network, epochs), ())) for network in (BASELINE, FINAL)))
             for epochs in LENGTHS)
    return tuple(length for length in found if length.baseline or length.final)


def findings(result: LadderResult) -> tuple[Finding, ...]:
    """Whether the final network is ahead at each length, over pairs of seeds."""
    return answer([Question(f"after {length.epochs * result.scale.epochs:g} epochs the final network is ahead of the baseline",
                            "final less baseline, points", tuple(100 * lead for lead in length.leads), digits=2)
                   for length in lengths(result)])


def headline(found: Sequence[Finding]) -> str:
    """Whether the lead lasts, in a sentence. found: what `findings` gave."""
    ahead = [finding for finding in found if finding.verdict == "seen"]
    behind = [finding for finding in found if finding.verdict == "contradicted"]
    if found and len(ahead) == len(found):
        return f"Seen: the final network is ahead at each of the {len(found)} lengths that were trained."
    return (f"The source sees the final network ahead at every length; here it is so at {len(ahead)} of {len(found)}, behind at "
            f"{len(behind)}, and cannot be told at {len(found) - len(ahead) - len(behind)}.")


def plain(runs: Sequence[Run]) -> tuple[float, ...]:
    """Accuracies without views."""
    return tuple(run.record.plain_accuracy for run in runs)


def viewed(runs: Sequence[Run]) -> tuple[float, ...]:
    """Accuracies with views."""
    return tuple(run.record.accuracy for run in runs)


def seconds(result: LadderResult, runs: Sequence[Run]) -> float:
    """Mean seconds of the ladder's clock."""
    own = result.clocks[result.ladder.clock]
    return stats.mean([own.seconds(run.record.ledger) for run in runs])


def show(result: LadderResult, out: Console) -> None:
    """Print one row a length and network, and what was found."""
    from rich.table import Table

    from speedcore.ladders import printing

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("epochs", "network", "with views %", "plain %", "s", "n"):
        table.add_column(heading, justify="left" if heading == "network" else "right", no_wrap=True)
    for length in lengths(result):
        for network, runs in ((BASELINE, length.baseline), (FINAL, length.final)):
            if runs:
                table.add_row(f"{length.epochs * result.scale.epochs:g}", network,
                              *(printing.spread([100 * a for a in of(runs)]) for of in (viewed, plain)),
                              printing.seconds(seconds(result, runs)), str(len(runs)))
    out.print(printing.caption(result).replace("Ladder", "Study"), markup=False, soft_wrap=True)
    out.print(table)
    found = findings(result)
    for sentence in (headline(found), *(finding.sentence for finding in found), f"{RULE}.", *result.left_out):
        out.print(sentence, markup=False, soft_wrap=True)


def _rung(network: str, epochs: int) -> str:
    return f"{network} {epochs}"


def _schedule(network: str, epochs: int) -> dict[str, Any]:
    if network == BASELINE:
        return Schedule(knots=((0.0, 0.0), (5 / epochs, 1.0), (1.0, 0.0))).model_dump()
    return Schedule(knots=((0.0, 0.0), (1 / 5, 1.0), ((epochs - 2) / epochs, 0.1), (1.0, 0.1))).model_dump()
