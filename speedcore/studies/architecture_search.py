"""The search of the series' fourth part: fifteen networks, each trained for 20 and for 22 epochs, to see whether a deeper network
or a longer training buys more accuracy for its time.

    python -m speedcore study architecture-search --data DIR --seeds 10

The backbone, and each set of its three stages with one more block or with a residual branch. It is climbed like a ladder: its
runs are found or trained, seed by seed, and kept. The source trained each ten times; its rates for 22 epochs are not
published, here they rise over a fifth of the epochs, as they do for 20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from speedcore import stats
from speedcore.errors import RecipeError
from speedcore.ladders.result import LadderResult
from speedcore.recipe.ladder import Ladder, Rung
from speedcore.recipes import page_architecture

if TYPE_CHECKING:
    from rich.console import Console

NAME, SHORT, LONG = "architecture-search", 20, 22


@dataclass(frozen=True)
class Line:
    """One network: accuracies (shares of 1) of its runs and mean seconds, after 20 epochs and after 22."""

    network: str
    short: tuple[float, ...]
    long: tuple[float, ...]
    short_seconds: float
    long_seconds: float

    @property
    def gain(self) -> float:
        """What the two epochs more bring, in points of accuracy (as a share)."""
        return stats.mean(self.long) - stats.mean(self.short)


def ladder() -> Ladder:
    """The thirty runs of a seed. A rung is "NETWORK EPOCHS"; the longer one stands on the shorter."""
    base = page_architecture.LADDER.recipes["scale-init"]
    rungs = []
    for name, network in page_architecture.NETWORKS.items():
        if name != "backbone":
            rungs.append(Rung(name=_rung(name, SHORT), what="another network", on=_rung("backbone", SHORT),
                              change={"network": network.model_dump()}))
        rungs.append(Rung(name=_rung(name, LONG), what=f"{LONG} epochs", on=_rung(name, SHORT), change={"epochs": LONG}))
    return Ladder(name=NAME, description="fifteen networks, 20 and 22 epochs each", dataset="cifar10",
                  source=page_architecture.LADDER.source, clock=page_architecture.LADDER.clock, base=base,
                  start=Rung(name=_rung("backbone", SHORT), what="the backbone"), rungs=tuple(rungs))


def rungs_of(networks: str) -> str:
    """The rungs of a comma-separated list of networks. Raises RecipeError."""
    wanted = [name.strip() for name in networks.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in page_architecture.NETWORKS]
    if unknown or not wanted:
        raise RecipeError(f"there is no network '{', '.join(unknown)}'; there are {', '.join(page_architecture.NETWORKS)}.")
    return ",".join(_rung(name, epochs) for name in wanted for epochs in (SHORT, LONG))


def lines(result: LadderResult) -> tuple[Line, ...]:
    """The networks that were trained for both, the best after 20 epochs first."""
    own, found = result.clocks[result.ladder.clock], []
    for name in page_architecture.NETWORKS:
        short, long = (result.runs.get(_rung(name, epochs), ()) for epochs in (SHORT, LONG))
        if short and long:
            spent, longer = (stats.mean([own.seconds(run.record.ledger) for run in runs]) for runs in (short, long))
            found.append(Line(name, tuple(run.record.accuracy for run in short), tuple(run.record.accuracy for run in long),
                              spent, longer))
    return tuple(sorted(found, key=lambda line: -stats.mean(line.short)))


def show(result: LadderResult, out: Console) -> None:
    """Print one row a network, and what was left out."""
    from rich.table import Table

    from speedcore.ladders.printing import caption, seconds, spread

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("network", no_wrap=True)
    for heading in (f"{SHORT} epochs %", "s", f"{LONG} epochs %", "s", "points for the longer training", "n"):
        table.add_column(heading, justify="right")
    for line in lines(result):
        cells = []
        for accuracies, spent in ((line.short, line.short_seconds), (line.long, line.long_seconds)):
            cells += [spread([100 * accuracy for accuracy in accuracies]), seconds(spent)]
        table.add_row(line.network, *cells, f"{100 * line.gain:+.2f}", str(len(line.short)))
    out.print(caption(result), markup=False, soft_wrap=True)
    if not result.scale.whole:
        out.print(f"At this scale {SHORT} and {LONG} epochs are {SHORT * result.scale.epochs:g} and "
                  f"{LONG * result.scale.epochs:g}.", markup=False, soft_wrap=True)
    out.print(table)
    for sentence in result.left_out:
        out.print(sentence, markup=False, soft_wrap=True)


def _rung(network: str, epochs: int) -> str:
    return f"{network} {epochs}"
