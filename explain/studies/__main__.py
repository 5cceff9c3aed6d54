"""python -m explain.studies shortcuts | claim: experiments that question heatmaps."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import console, device_of, run_app
from speedcore.cli.options import (
    SETTINGS,
    ArmName,
    DataDir,
    DatasetNames,
    DeviceName,
    EpochsText,
    ImagesPerClass,
    Offline,
    RecipeName,
    RunsDir,
    SeedsText,
    Version,
    WithinText,
)
from speedcore.cli.progress import live
from speedcore.errors import UserError
from speedcore.stats.numbers import signed

if TYPE_CHECKING:
    from rich.console import Console

    from explain.studies.shortcuts import StudyRecord

NETWORKS = 2  # of each shortcut, correlation and arm, where --seeds is auto

app = typer.Typer(help="Experiments that train networks in order to question their heatmaps.", context_settings=SETTINGS,
                  add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def studies(version: Version = False) -> None:
    """Experiments that train networks in order to question their heatmaps."""


@app.command()
def shortcuts(
    recipe: RecipeName = "sprint", seeds: SeedsText = "auto",
    shortcut: Annotated[str, typer.Option(help="corner, hue or both, with a comma.")] = "corner,hue",
    correlations: Annotated[str, typer.Option(help="Shares of the training images that it betrays.")] = "0,0.5,0.9,1",
    arm: ArmName = "without,with", epochs: EpochsText = None,
    train: Annotated[int | None, typer.Option(min=100, help="Training images; 10,000 without it.")] = None,
    test: Annotated[int | None, typer.Option(min=10, help="Test images; 2,000 without it.")] = None,
    images_per_class: ImagesPerClass = 100, within: WithinText = "none", runs: RunsDir = None, device: DeviceName = "auto",
) -> None:
    """Plant a shortcut, measure how far networks rely on it, and see whether their heatmaps show that much.

    Seeds auto: two networks of each shortcut, correlation and arm. Finished networks are reused; after Ctrl-C, or when the time
    ran out, the same command continues.
    """
    left, count = _time_left(within), count_of(seeds, "--seeds") or NETWORKS

    from explain.studies import shortcuts as planted
    from speedcore import recipes
    from speedcore.data.shapes import TEST, TRAIN
    from speedcore.store.runs import RunStore

    chosen, other = recipes.get(recipe, "shapes"), _epochs(epochs, ("shapes",))
    if other is not None:
        length = other if isinstance(other, float) else other["shapes"]
        chosen = chosen.changed(epochs=length, min_epochs=min(length, chosen.min_epochs))
    kinds, arms, shares = _names(shortcut), _names(arm), _shares(correlations)
    with live("shortcuts", len(kinds) * len(set(shares)) * len(arms) * count, console()) as callback:
        found = planted.study(chosen, RunStore(runs), device_of(device), kinds, shares, count, arms, train or TRAIN,
                              test or TEST, images_per_class, callback, left)
    out = console(stderr=False)
    _show(found.record, out)
    _end(found, out)


@app.command()
def claim(
    dataset: DatasetNames = "shapes,mnist", recipe: RecipeName = "sprint", seeds: SeedsText = "auto", epochs: EpochsText = None,
    parts: Annotated[str, typer.Option(help="Parts of the augmentation by themselves, done last: all, none, or names with "
                                            "commas.")] = "all",
    match: Annotated[bool, typer.Option("--match/--no-match", help="Also checkpoints of equal accuracy.")] = True,
    within: WithinText = "none", images_per_class: ImagesPerClass = 100, data: DataDir = None, runs: RunsDir = None,
    device: DeviceName = "auto", offline: Offline = False,
) -> None:
    """Run the preregistered claim: arms paired by seed, every registered outcome, and the verdicts.

    First the pairs that decide it, a seed of every data set before the next seed (as many as are registered, where --seeds is
    auto); then checkpoints of equal accuracy; then the parts of the augmentation. --recipe may also be DATASET=RECIPE with
    commas. Finished runs are reused; after Ctrl-C, or when the time ran out, the same command continues.
    """
    left = _time_left(within)

    from explain.claim import claim as registered
    from explain.claim.preregistration import preregistration
    from explain.claim.verdicts import verdicts
    from speedcore.data import load
    from speedcore.store.runs import RunStore

    plan, names = preregistration(), _names(dataset or "")
    if wrong := [name for name in names if name not in plan.datasets]:
        raise UserError(f"--dataset: {', '.join(wrong)} is not in the preregistration, which has {', '.join(plan.datasets)}.")
    chosen: bool | tuple[str, ...] = parts == "all" if parts in ("all", "none") else _names(parts)
    wanted: dict[str, Any] = {"recipe": _by_dataset(recipe, names, "--recipe"), "epochs": _epochs(epochs, names), "parts": chosen}
    count = count_of(seeds, "--seeds") or plan.pairs.planned
    loaded = [load(name, data, offline) for name in names]
    bases = registered.bases(plan, loaded, wanted["recipe"], wanted["epochs"])
    arms = sum(len(registered.arms(plan, name, base, chosen)) for name, base in bases.items())
    most = count * (arms + (registered.TRIALS * len(names) if match else 0))
    with live("claim", most, console()) as callback:
        found = registered.study(plan, loaded, RunStore(runs), **wanted, seeds=count, match=match, device=device_of(device),
                                 images_per_class=images_per_class, callback=callback, seconds_left=left)
    out = console(stderr=False)
    _show_claim(verdicts(found.record), found.record.planned, plan.pairs.planned, out)
    _end(found, out)


def _end(found: Any, out: Console) -> None:
    """What was left out, and where the result lies."""
    for line in found.left_out:
        out.print(line, markup=False, soft_wrap=True)
    typer.echo(found.path)


def _time_left(within: str) -> Callable[[], float]:
    """Seconds left of the time given, from now on."""
    from speedcore.clock import Stopwatch

    limit, watch = seconds_of(within, "--within"), Stopwatch()
    return lambda: math.inf if limit is None else limit - watch.seconds()


def _by_dataset(text: str, names: Sequence[str], option: str) -> str | dict[str, str]:
    """One for all ("sprint"), or by data set ("shapes=sprint,mnist=dash"). Raises UserError naming `option`."""
    if "=" not in text:
        return text
    pairs = [part.partition("=") for part in _names(text)]
    if wrong := [name for name, sign, _ in pairs if name not in names or not sign]:
        raise UserError(f"{option}: '{wrong[0]}' is none of the data sets {', '.join(names)}; write DATASET=VALUE with commas.")
    return {name: value for name, _, value in pairs}


def _epochs(text: str | None, names: Sequence[str]) -> float | dict[str, float] | None:
    if text is None:
        return None
    given = _by_dataset(text, names, "--epochs")
    try:
        found = {name: float(value) for name, value in ({"": given} if isinstance(given, str) else given).items()}
    except ValueError:
        found = {"": math.nan}
    if not all(0.01 <= value < math.inf for value in found.values()):
        raise UserError(f"--epochs '{text}': write a number of epochs from 0.01 on, or DATASET=NUMBER with commas.")
    return found.get("", found) if isinstance(given, str) else found


def _show_claim(found: Any, planned: bool, count: int, out: Console) -> None:
    from rich.table import Table

    from explain.claim.verdicts import rows

    made: list[dict[str, Any]] = rows(found)
    table = Table(*made[0], box=None, header_style="bold", pad_edge=False)
    for row in made:
        between = row["interval"]
        cells = row | {"interval": None if between is None else f"{signed(between.low, 3)} to {signed(between.high, 3)}"}
        table.add_row(*("–" if v is None else signed(v, 3) if k in ("difference", "d") else f"{v:.3f}" if isinstance(v, float)
                        else str(v) for k, v in cells.items()))
    out.print(table)
    for one in found:
        for name, tested in one.primary.items():
            more = ", and the opposite was shown" if tested.opposite else ""
            out.print(f"{name}: “{one.claim.text}”: {tested.verdict}{more}", markup=False, soft_wrap=True)
    if not planned:
        out.print(f"{count} pairs are registered for every data set; with other numbers the verdicts are exploratory.",
                  markup=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _names(text))
    except ValueError:
        raise UserError(f"--correlations '{text}': write shares with commas between them, as 0,0.5,0.9,1.") from None


def _show(found: StudyRecord, out: Console) -> None:
    from rich.table import Table

    from explain.studies.shortcuts import LAYERS, tracking

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("shortcut", "correlation", "augmentation", "seed", "right %", "swapped %", "reliance",
                    *(f"mass, {layer}" for layer in LAYERS)):
        table.add_column(heading, justify="left" if heading in ("shortcut", "augmentation") else "right")
    for m in found.models:
        masses = ["–" if (mass := m.mass(layer)) is None else f"{mass:.3f}" for layer in LAYERS]
        table.add_row(m.shortcut, f"{m.correlation:g}", m.arm, str(m.seed), f"{100 * m.accuracy_right:.1f}",
                      f"{100 * m.accuracy_swapped:.1f}", f"{100 * m.reliance:.1f}", *masses)
    out.print(table)
    for shortcut in dict.fromkeys(m.shortcut for m in found.models):
        for layer in LAYERS:
            t = tracking(found.models, shortcut, layer)
            said = "none" if t.correlation is None else f"{t.correlation:.2f}"
            between = "" if t.interval is None else f", 95 % interval {t.interval.low:.2f} to {t.interval.high:.2f}"
            out.print(f"{shortcut}, {layer} layer: rank correlation of mass with reliance over {t.n} networks {said}{between}: "
                      f"{t.verdict}", markup=False)


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
