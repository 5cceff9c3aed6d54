"""python -m reports.build: plan, train what is missing, explain, render. Ends by naming the files it wrote."""

from __future__ import annotations

import math
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from speedcore.checks import count_of, seconds_of
from speedcore.cli.console import complain, console, device_of, live, run_app
from speedcore.errors import DivergedError, UserError

# HTML and JSON were written, the PDF was asked for and could not be made.
PDF_MISSING = 3
# The report was written, but a data set named on the command line is not in it, or a part of one failed.
DATA_MISSING = 4

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def build(
    all_: Annotated[bool, typer.Option("--all", help="MNIST, Fashion-MNIST, CIFAR-10, shapes, "
                                                     "and what --datasets adds.")] = False,
    datasets: Annotated[str | None, typer.Option(help="Comma-separated: mnist, fashion-mnist, cifar10, shapes, "
                                                      "folder:PATH.")] = None,
    recipe: Annotated[str, typer.Option(help="auto, a built-in name, or a TOML file.")] = "auto",
    budget: Annotated[str, typer.Option(help="Seconds of training one run may take.")] = "1000",
    within: Annotated[str, typer.Option(help="Time for the whole build (20m, 1h, 90s), or none.")] = "15m",
    seeds: Annotated[str, typer.Option(help="auto, or the number of paired seeds.")] = "auto",
    data: Annotated[Path | None, typer.Option(help="Where to look for data first (else SPEEDCORE_DATA).")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out"),
    runs: Annotated[Path | None, typer.Option(help="Where runs are kept (else SPEEDCORE_RUNS, else runs/).")] = None,
    formats: Annotated[str, typer.Option(help="html, pdf or both; results.json always comes along.")] = "html,pdf",
    data_mode: Annotated[str | None, typer.Option(help="device: augment while training. precomputed: stream stored "
                                                       "epochs, as the article does.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never touch the network.")] = False,
    replan: Annotated[bool, typer.Option("--replan", help="Measure this machine again instead of continuing the plan "
                                                          "made by an earlier call.")] = False,
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    chapters: Annotated[str | None, typer.Option(help="Ladders and studies to add: comma-separated names, or all.")] = None,
) -> int:
    """Train with and without augmentation, explain, and write report.html, report.pdf and results.json.

    Finished runs are reused; after Ctrl-C or a crash the same command continues.
    """
    from speedcore.__main__ import dataset_names, show_plan
    from speedcore.clock import Stopwatch

    watch = Stopwatch()
    names = [] if chapters and not all_ and datasets is None else dataset_names(all_, datasets)
    wanted = _formats(formats)
    limit, each, count = seconds_of(within, "--within"), seconds_of(budget, "--budget"), count_of(seeds, "--seeds")
    if data_mode not in (None, "device", "precomputed"):
        raise UserError(f"--data-mode '{data_mode}' is not one of device, precomputed.")
    _writable(out)

    from reports import stages
    from reports.faults import Faults
    from reports.inputs import Missing
    from speedcore.machine import provenance
    from speedcore.planning import plan as planning
    from speedcore.planning import planned_runs
    from speedcore.store.runs import RunStore

    for name in names:
        planning.candidates(planning.Request(recipe=recipe, data_mode=data_mode), name)  # a bad recipe fails here, at once
    screen, store = console(), RunStore(runs)
    faults = Faults(lambda line: screen.print(line, markup=False))
    ladders, studies = _chapters(chapters, store)
    request = planning.Request(recipe=recipe, budget=each or math.inf, within=limit, seeds=count,
                               device=device_of(device), data_mode=data_mode)
    loaded, absent = stages.load(names, data, offline, faults, screen.print)
    if names and not loaded:
        raise UserError("no data set is available, so there is nothing to report:\n"
                        + "\n".join(f"{m.dataset}: {m.reason}" for m in (*absent, *faults.missing)))
    if loaded:
        plan = stages.plan(loaded, request, store, watch.seconds() + planning.RENDERING, faults, screen.print, replan)
        screen.print()
        show_plan(plan, request, store, screen)
        screen.print(f"estimate for everything, nothing reused: {planning.duration(plan.estimate)}\n")
    else:
        plan = planned_runs.Plan(request="", courses=())  # a report of chapters alone trains nothing
    explaining = sum(2 * c.seeds * c.explain_seconds for c in plan.courses)

    def left() -> float:
        return math.inf if limit is None else limit - watch.seconds() - planning.RENDERING - explaining

    with live("all runs", 2 * sum(c.seeds for c in plan.courses), screen) as callback:
        outcome = stages.train(plan, request, loaded, store, callback, left, faults)
    for line in outcome.left_out:
        screen.print(line, markup=False)
    trained = {run.record.data.name for run in outcome.runs}
    lost = {name: whys for name, whys in outcome.diverged.items() if name not in trained}
    if lost and not trained and not (ladders or studies):
        raise DivergedError("every run diverged, so there is nothing to report:\n" + "\n".join(why for whys in lost.values()
                                                                                              for why in whys))
    absent += [Missing(name, " ".join(whys), "Choose another --recipe, or a recipe file with a lower rate.")
                for name, whys in lost.items()]
    with screen.status("explaining") as status:
        explanations = stages.explain(outcome.runs, loaded, store, request.device, faults, status.update)

    import reports
    from explain.claim import verdicts
    from explain.studies import shortcuts
    from reports.renderers import rendering

    plan = outcome.plan or plan
    absent += [Missing(name, *_told(why)) for name, why in plan.left_out.items()]
    status = "partial" if outcome.left_out or outcome.diverged or absent or faults.missing else "complete"
    if any(planned.epochs < planned.recipe.min_epochs for planned in plan.courses):
        status = "smoke"
    command = _command(all_, datasets, **{"recipe": recipe, "budget": budget, "within": within, "seeds": seeds,
                                          "data-mode": data_mode, "chapters": chapters,
                                          "device": None if device == "auto" else device,
                                          "formats": None if formats == "html,pdf" else formats})
    inputs = reports.Inputs(
        datasets=loaded, runs=outcome.runs, explanations=explanations, missing=(*absent, *faults.missing), plan=plan.courses,
        notes=(*plan.notes, *outcome.left_out, *store.notices), budget_seconds=each, within_seconds=limit, status=status,
        command=command, ladders=ladders, studies=studies, environment=provenance.collect(request.device),
        shortcuts=stages.load_all(shortcuts.load_all, store, "studies of shortcuts", screen.print) if outcome.runs else (),
        registered=stages.load_all(verdicts.load_all, store, "studies of the claim", screen.print) if outcome.runs else (),
        diverged=outcome.diverged,
        folders={name: folder for name, folder in (("out", out), ("data", data), ("runs", store.root)) if folder is not None})
    screen.print(f"{len(outcome.runs)} runs, {outcome.reused} of them reused; rendering")
    rendered = rendering.rendered(inputs, out, wanted)
    for path in rendered.files.values():
        typer.echo(path)
    exit_status = 0
    if rendered.no_pdf:
        exit_status = complain(str(rendered.no_pdf), PDF_MISSING)
    # With --all a set that is not available is no failure; one that was named, or that failed on the way, is.
    asked = dataset_names(False, datasets) if datasets else []
    named = [m for m in absent if m.dataset in asked]
    if told := [f"{m.title}: {m.reason}" for m in (*named, *faults.missing)] + list(rendered.faults):
        exit_status = exit_status or complain("left out: " + "; ".join(told), DATA_MISSING)
    screen.print(f"done in {planning.duration(watch.seconds())}")
    return exit_status


def _told(why: str) -> tuple[str, str]:
    """A planner's words as a reason and what to do about it, a sentence each."""
    reason, _, remedy = why.rpartition("; ")
    return f"{reason[:1].upper()}{reason[1:]}.", f"{remedy[:1].upper()}{remedy[1:]}"


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


def _chapters(chapters: str | None, store) -> tuple[tuple, tuple]:
    """(climbs, other studies) that are to be chapters, as they are kept beside the runs. Raises UserError for one that is not
    there."""
    from reports.sections.chapters import name as name_of
    from speedcore.ladders.climbing import load_all as climbs
    from speedcore.studies import STUDIES
    from speedcore.studies.stored import load_all as studies

    if chapters is None:
        return (), ()
    climbed, studied = [climb for climb in climbs(store) if climb.rungs], list(studies(store))
    names = [name.strip() for name in chapters.split(",") if name.strip()]
    known = list(dict.fromkeys(name_of(found) for found in (*climbed, *studied)))
    if names == ["all"]:
        names = known
    if not names:
        raise UserError(f"--chapters '{chapters}': no ladder has been climbed and no study has been run yet; do so first, for "
                        f"example python -m speedcore ladder mnist-fast")
    for name in names:
        if name not in known:
            kind, what = ("study", "run") if name in STUDIES else ("ladder", "climbed")
            raise UserError(f"--chapters: the {kind} '{name}' has not been {what} yet (there are: {', '.join(known) or 'none'}); "
                            f"do so first: python -m speedcore {kind} {name}")
    return tuple(tuple(one for name in names for one in found if name_of(one) == name) for found in (climbed, studied))


def _command(all_: bool, datasets: str | None, **options: str | None) -> str:
    """The command that makes this report again, fit for a shell, without where its files lie."""
    words = ["--all"] if all_ else []
    words += ["--datasets", re.sub(r"(?<=folder:)[^,]+", lambda path: _here(path[0]), datasets)] if datasets else []
    for name, value in options.items():
        words += [f"--{name}", _here(value)] if value else []
    return f"python -m reports.build {shlex.join(words)}"


def _here(path: str) -> str:
    """A path from where the command is called; of one that lies elsewhere, its name. Any other word as it is."""
    if not Path(path).is_absolute():
        return path
    place = Path(path)
    return place.relative_to(Path.cwd()).as_posix() if place.is_relative_to(Path.cwd()) else place.name


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
