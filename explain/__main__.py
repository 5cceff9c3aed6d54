"""`python -m explain RUN [RUN] --out x.html`: heatmaps of one run, or of two side by side, from a shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from speedcore.console import run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def explain(
    run: Annotated[str, typer.Argument(help="A run's folder, or its name in the folder of runs.")],
    other: Annotated[str | None, typer.Argument(help="A second run of the same data set, shown beside it.")] = None,
    out: Annotated[Path, typer.Option(help="File to write: .html, .png or .svg.")] = Path("heatmaps.html"),
    layer: Annotated[str, typer.Option(help="middle (14-16 cells a side) or last.")] = "middle",
    target: Annotated[str, typer.Option(help="Class that is explained: true or predicted.")] = "true",
    cls: Annotated[str | None, typer.Option("--class", help="Show this class only.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Show only images that a run gets wrong.")] = False,
    data: Annotated[str | None, typer.Option(help="Folder or archive to look for the data set in first.")] = None,
) -> None:
    """Show where trained networks look: Grad-CAM on test images, beside the images and the answers."""
    from explain.inspector import compare, inspect, opened
    from speedcore.data import load

    first = opened(run)
    dataset = load(first.record.data.name, data)
    shown = (inspect(first, dataset, layer=layer, target=target) if other is None
             else compare(first, other, dataset, layer=layer, target=target))
    if cls is not None:
        shown = shown.only(cls=int(cls) if cls.isdigit() and cls not in dataset.classes else cls)
    if wrong:
        shown = shown.only(wrong=True)
    print(shown.save(out))


def main() -> None:
    sys.exit(run_app(app))


if __name__ == "__main__":
    main()
