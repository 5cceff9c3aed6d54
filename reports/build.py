"""python -m reports.build: plan, train what is missing, explain, render. Ends by naming the files it wrote."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speedcore.checks import DATA_MODES, count_of, one_of, seconds_of
from speedcore.cli.console import complain, console, device_of, run_app
from speedcore.cli.datasets import dataset_names
from speedcore.cli.options import (
    SETTINGS,
    AllDatasets,
    BudgetText,
    DataDir,
    DataMode,
    DatasetNames,
    DeviceName,
    Offline,
    OutPath,
    RecipeName,
    RunsDir,
    SeedsText,
    Version,
    WithinText,
)
from speedcore.cli.plan import show_plan
from speedcore.cli.progress import live
from speedcore.errors import DivergedError, UserError

if TYPE_CHECKING:
    from reports.inputs import Inputs, Missing

# HTML and JSON were written, the PDF was asked for and could not be made.
PDF_MISSING = 3
# The report was written, but a data set named on the command line is not in it, or a part of one failed.
DATA_MISSING = 4

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings=SETTINGS)
def build(
    all_: AllDatasets = False, dataset: DatasetNames = None, recipe: RecipeName = "auto", budget: BudgetText = "1000",
    within: WithinText = "15m", seeds: SeedsText = "auto", data: DataDir = None, out: OutPath = Path("out"),
    runs: RunsDir = None,
    formats: Annotated[str, typer.Option(help="html, pdf or both; results.json always comes along.")] = "html,pdf",
    data_mode: DataMode = None, offline: Offline = False,
    replan: Annotated[bool, typer.Option("--replan", help="Measure this machine again instead of continuing the plan "
                                                          "made by an earlier call.")] = False,
    device: DeviceName = "auto",
    chapters: Annotated[str | None, typer.Option(help="Ladders and studies to add: comma-separated names, or all.")] = None,
    version: Version = False,
) -> int:
    """Train with and without augmentation, explain, and write report.html, report.pdf and results.json.

    Finished runs are reused; after Ctrl-C or a crash the same command continues.
    """
    from speedcore.clock import Stopwatch

    watch = Stopwatch()
    names = [] if chapters and not all_ and dataset is None else dataset_names(all_, dataset)
    formats_wanted = _formats(formats)
    limit, each, count = seconds_of(within, "--within"), seconds_of(budget, "--budget"), count_of(seeds, "--seeds")
    one_of("--data-mode", "device" if data_mode is None else data_mode, DATA_MODES)
    _writable(out)

    from reports import regenerate, stages
    from reports.faults import Faults
    from reports.inputs import Inputs
    from speedcore.machine import provenance
    from speedcore.planning.costs import duration
    from speedcore.planning.plan import RENDERING
    from speedcore.planning.planned_runs import Plan
    from speedcore.planning.request import Request, recipes_for
    from speedcore.store.runs import RunStore

    for name in names:
        recipes_for(recipe, name, data_mode)  # a bad recipe fails here, at once
    screen, store = console(), RunStore(runs)
    faults = Faults(lambda line: screen.print(line, markup=False))
    ladders, studies = stages.chapters(chapters, store)
    request = Request(recipe=recipe, budget=each or math.inf, within=limit, seeds=count, device=device_of(device),
                      data_mode=data_mode)
    loaded, absent = stages.load(names, data, offline, faults, screen.print)
    if names and not loaded:
        raise UserError("no data set is available, so there is nothing to report:\n"
                        + "\n".join(f"{m.dataset}: {m.reason}" for m in (*absent, *faults.missing)))
    if loaded:
        plan = stages.plan(loaded, request, store, watch.seconds() + RENDERING, faults, screen.print, replan)
        screen.print()
        show_plan(plan, request, store, screen)
        screen.print(f"estimate for everything, nothing reused: {duration(plan.estimate)}\n")
    else:
        plan = Plan(request="", planned=())  # a report of chapters alone trains nothing
    explaining = sum(2 * planned.seeds * planned.explain_seconds for planned in plan.planned)

    def left() -> float:
        return math.inf if limit is None else limit - watch.seconds() - RENDERING - explaining

    with live("all runs", 2 * sum(planned.seeds for planned in plan.planned), screen) as callback:
        outcome = stages.train(plan, request, loaded, store, callback, left, faults)
    for line in outcome.left_out:
        screen.print(line, markup=False)
    lost = stages.lost(outcome)
    if lost and not outcome.runs and not (ladders or studies):
        raise DivergedError("every run diverged, so there is nothing to report:\n" + "\n".join(m.reason for m in lost))
    with screen.status("explaining") as status:
        explanations = stages.explain(outcome.runs, loaded, store, request.device, faults, status.update)

    plan = outcome.plan or plan
    absent += [*lost, *stages.left_out(plan)]
    inputs = Inputs(
        datasets=loaded, runs=outcome.runs, explanations=explanations, missing=(*absent, *faults.missing), plan=plan.planned,
        notes=(*plan.notes, *outcome.left_out, *store.notices), budget_seconds=each, within_seconds=limit,
        status=stages.status(plan, outcome, (*absent, *faults.missing)),
        command=regenerate.command(all_, dataset, **{
            "recipe": recipe, "budget": budget, "within": within, "seeds": seeds, "data-mode": data_mode, "chapters": chapters,
            "device": None if device == "auto" else device, "formats": None if formats == "html,pdf" else formats}),
        ladders=ladders, studies=studies, environment=provenance.collect(request.device),
        **(stages.studies_of_maps(store, screen.print) if outcome.runs else {}), diverged=outcome.diverged,
        folders={name: folder for name, folder in (("out", out), ("data", data), ("runs", store.root)) if folder is not None})
    screen.print(f"{len(outcome.runs)} runs, {outcome.reused} of them reused; rendering")
    # With --all a set that is not available is no failure; one that was named, or that failed on the way, is.
    asked = dataset_names(False, dataset) if dataset else []
    exit_status = _render(inputs, out, formats_wanted, [m for m in absent if m.dataset in asked] + list(faults.missing))
    screen.print(f"done in {duration(watch.seconds())}")
    return exit_status


def _render(inputs: Inputs, out: Path, formats: tuple[str, ...], missing: list[Missing]) -> int:
    """Write the report and name its files. missing: what was asked for and is not in it. Returns the exit status."""
    from reports.renderers import rendering

    rendered = rendering.rendered(inputs, out, formats)
    for path in rendered.files.values():
        typer.echo(path)
    exit_status = complain(str(rendered.no_pdf), PDF_MISSING) if rendered.no_pdf else 0
    if told := [f"{m.title}: {m.reason}" for m in missing] + list(rendered.faults):
        exit_status = exit_status or complain("left out: " + "; ".join(told), DATA_MISSING)
    return exit_status


def _formats(text: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [part for part in wanted if part not in ("html", "pdf")]
    if wrong or not wanted:
        raise UserError(f"--formats '{text}': write html, pdf or html,pdf.")
    return wanted


def _writable(out: Path) -> None:
    """Find out before hours of training, not after, that the report cannot be written."""
    import tempfile

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"--out {out}: the folder cannot be written ({error.strerror or error}); choose another.") from None


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
