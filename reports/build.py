"""python -m reports.build: plan, train what is missing, explain, render. Ends by naming the files it wrote."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from speedcore.console import complain, console, count_of, device_of, live, run_app, seconds_of
from speedcore.errors import DataError, UserError

# HTML and JSON were written, the PDF was asked for and could not be made.
PDF_MISSING = 3
# The report was written, but a data set named on the command line is not in it.
DATA_MISSING = 4

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def build(
    all_: Annotated[bool, typer.Option("--all", help="MNIST, Fashion-MNIST, CIFAR-10 and shapes.")] = False,
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
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
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

    from speedcore import executors, planning, provenance
    from speedcore.runs import RunStore

    for name in names:
        planning.candidates(planning.Request(recipe=recipe, data_mode=data_mode), name)  # a bad recipe fails here, at once
    screen, store = console(), RunStore(runs)
    ladders, studies = _chapters(chapters, store)
    request = planning.Request(recipe=recipe, budget=each or math.inf, within=limit, seeds=count,
                               device=device_of(device), data_mode=data_mode)
    loaded, missing = _load(names, data, offline, screen)
    if names and not loaded:
        raise UserError("no data set can be had, so there is nothing to report:\n"
                        + "\n".join(f"{m.dataset}: {m.reason}" for m in missing))
    if loaded:
        spent = watch.seconds() + planning.RENDERING
        plan = planning.make_plan(list(loaded.values()), request, store, spent, screen.print, replan)
        screen.print()
        show_plan(plan, request, store, screen)
        screen.print(f"estimate for everything, nothing reused: {planning.duration(plan.estimate)}\n")
    else:
        plan = planning.Plan(request="", courses=())  # a report of chapters alone trains nothing
    explaining = sum(2 * c.seeds * c.explain_seconds for c in plan.courses)

    def left() -> float:
        return math.inf if limit is None else limit - watch.seconds() - planning.RENDERING - explaining

    with live("all runs", 2 * sum(c.seeds for c in plan.courses), screen) as watcher:
        outcome = executors.execute(plan, request, loaded, store, watcher, left)
    for line in outcome.left_out:
        screen.print(line, markup=False)
    explanations = _explain(outcome.runs, loaded, store, request.device, screen)

    import reports
    from explain.studies import shortcuts, verdicts

    status = "partial" if outcome.left_out or missing else "complete"
    if any(course.epochs < course.recipe.min_epochs for course in plan.courses):
        status = "smoke"
    inputs = reports.Inputs(
        datasets=loaded, runs=outcome.runs, explanations=explanations, missing=tuple(missing), plan=plan.courses,
        notes=(*plan.notes, *outcome.left_out), budget_seconds=each, within_seconds=limit, status=status,
        command=_command(all_, datasets, recipe, budget, within, seeds, data_mode, chapters), ladders=ladders, studies=studies,
        environment=provenance.collect(request.device), shortcuts=tuple(shortcuts.kept(store)) if outcome.runs else (),
        registered=tuple(verdicts.kept(store)) if outcome.runs else ())
    screen.print(f"{len(outcome.runs)} runs, {outcome.reused} of them reused; rendering")
    exit_status = 0
    try:
        files = reports.render(inputs, out, wanted)
    except reports.PdfUnavailable as error:
        files = reports.render(inputs, out, tuple(f for f in wanted if f != "pdf"))
        exit_status = complain(str(error), PDF_MISSING)
    for path in files.values():
        typer.echo(path)
    if missing and not all_:
        exit_status = exit_status or complain("left out: " + "; ".join(f"{m.dataset}: {m.reason}" for m in missing),
                                              DATA_MISSING)
    screen.print(f"done in {planning.duration(watch.seconds())}")
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


def _load(names: list[str], data: Path | None, offline: bool, screen) -> tuple[dict, list]:
    """(data sets by name, those that cannot be had). Says where each comes from."""
    from speedcore.data import load

    loaded, missing = {}, []
    for name in names:
        try:
            made = load(name, data, offline)
        except DataError as error:
            missing.append(_missing(name, str(error)))
            screen.print(f"{name}: left out. {error}", markup=False)
        else:
            loaded[made.name] = made
            screen.print(made.summary, markup=False, soft_wrap=True)
    return loaded, missing


def _missing(name: str, message: str):
    """The loader's message as two sentences for the report: what was tried, and what to do."""
    from reports.results import Missing

    tried, _, remedy = message.replace(str(Path.home()), "~").partition("\nWhat to do: ")
    places = [line.strip().removeprefix("- ") for line in tried.splitlines()[1:]]
    reason = f"Tried {'; '.join(places)}." if places else tried
    return Missing(name, reason, f"{remedy[:1].upper()}{remedy[1:]}" or "See `python -m speedcore data`.")


def _explain(runs: tuple, datasets: Mapping, store, device: str, screen) -> tuple:
    """Explanations of all runs, data set by data set, so that both arms show the same images."""
    from explain import explain_runs

    found: list = []
    total = len(runs)
    with screen.status("explaining") as status:
        for name, dataset in datasets.items():
            arms = {arm: [r for r in runs if r.record.data.name == name and r.record.arm == arm]
                    for arm in ("with", "without")}
            if any(arms.values()):
                status.update(f"explaining {name}: {len(found)} of {total} runs done")
                for arm in explain_runs(arms["with"], arms["without"], dataset, store.root, device=device):
                    found += arm
    return tuple(found)


def _chapters(chapters: str | None, store) -> tuple[tuple, tuple]:
    """(climbs, other studies) that are to be chapters, as they are kept beside the runs. Raises UserError for one that is not
    there."""
    from reports.sections.chapters import name as name_of
    from speedcore.ladders.climbing import kept as climbs
    from speedcore.studies import STUDIES
    from speedcore.studies.kept import kept as studies

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


def _command(all_: bool, datasets: str | None, recipe: str, budget: str, within: str, seeds: str,
             data_mode: str | None, chapters: str | None) -> str:
    """The command that makes this report again, without where its files lie."""
    sets = ["--all"] if all_ else [f"--datasets {datasets}"] if datasets else []
    words = ["python -m reports.build", *sets, f"--recipe {recipe}",
             f"--budget {budget}", f"--within {within}", f"--seeds {seeds}"]
    more = {"--data-mode": data_mode, "--chapters": chapters}
    return " ".join([*words, *(f"{option} {value}" for option, value in more.items() if value)])


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
