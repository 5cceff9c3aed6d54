"""`python -m explain RUN [RUN] --out x.html`: heatmaps of one run, or of two side by side, from a shell."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speedcore.cli.console import console, device_of, run_app
from speedcore.cli.options import SETTINGS, DataDir, DeviceName, OutPath, Version

if TYPE_CHECKING:
    from rich.progress import TaskID

    from explain.attribution.explaining import Observer, Progress

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings=SETTINGS)
def explain(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in the folder of runs.")],
    other: Annotated[str | None, typer.Argument(help="A second run of the same data set, shown beside it.")] = None,
    out: OutPath = Path("heatmaps.html"),
    method: Annotated[list[str] | None, typer.Option(help="grad-cam, hirescam, guided-grad-cam; or, of the image instead of "
                                                          "a layer: saliency, smoothgrad, integrated-gradients, occlusion. "
                                                          "May be given several times; the first is shown first. "
                                                          "[default: grad-cam, hirescam, saliency]")] = None,
    layer: Annotated[str | None, typer.Option(help="middle (14-16 cells a side) or last; middle unless the method explains "
                                                   "no layer.")] = None,
    target: Annotated[str, typer.Option(help="Class that is explained: true or predicted.")] = "true",
    per_class: Annotated[int, typer.Option(help="Images of each class, the first in the test split.")] = 10,
    mistakes: Annotated[int, typer.Option(help="Further images, at most, that a run (of two, it alone) gets wrong.")] = 20,
    cls: Annotated[str | None, typer.Option("--class", help="Show this class only.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Show only images that a run gets wrong.")] = False,
    data: DataDir = None, device: DeviceName = "auto", version: Version = False,
) -> None:
    """Show where trained networks look: maps of test images, beside the images and the predictions, as .html, .png or .svg."""
    from explain.attribution.methods import method_of
    from explain.inspector.inspector import DEFAULT_METHODS, compare, inspect

    for name in method or ():
        method_of(name)  # before anything is loaded
    chosen: dict[str, Any] = {
        "method": tuple(method or DEFAULT_METHODS), "layer": layer, "target": target, "per_class": per_class,
        "mistakes": mistakes, "data": data, "device": device_of(device)}
    with _progress() as observer:
        chosen["observer"] = observer
        shown = inspect(run, **chosen) if other is None else compare(run, other, **chosen)
    if cls is not None:
        classes = shown.dataset.classes
        shown = shown.only(cls=int(cls) if cls.isdigit() and cls not in classes else cls)
    if wrong:
        shown = shown.only(wrong=True)
    print(shown.save(out))


@contextmanager
def _progress() -> Iterator[Observer]:
    """One bar a run on a terminal, on stderr; nothing elsewhere."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    out = console()
    with Bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"),
              TimeRemainingColumn(), console=out, transient=True, disable=not out.is_terminal) as bars:
        tasks: dict[tuple[str, str], TaskID] = {}

        def tell(event: Progress) -> None:
            key = (event.run, event.method)
            if key not in tasks:
                tasks[key] = bars.add_task(f"{event.run}, {event.method}")
            bars.update(tasks[key], completed=event.done, total=event.total)

        yield tell


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
