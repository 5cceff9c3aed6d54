"""README's tables, from benchmarks/results/, and its picture, from a folder of finished runs.

python -m benchmarks.readme                                    the tables, and the picture's caption
python -m benchmarks.readme --runs DIR --dataset mnist         the picture too; trains nothing

Between `<!-- NAME -->` and `<!-- /NAME -->` README.md is generated; the rest is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from speedcore import stats
from speedcore.cli.console import run_app
from speedcore.errors import UserError
from speedcore.stats.claims import judge

CHECKOUT = Path(__file__).parents[1]
README = CHECKOUT / "README.md"
PICTURE = CHECKOUT / "docs" / "images" / "overview.png"
RESULTS = CHECKOUT / "benchmarks" / "results"
_PICTURED = "readme-picture"  # the result file that says what the picture shows
_NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "shapes": "shapes"}
_MARKS = "¹²³⁴⁵"


def result(name: str) -> dict:
    """The content of results/NAME.json."""
    return _read(RESULTS / f"{name}.json")


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


class Footnotes:
    """Processors by their marks, in the order in which tables name them."""

    def __init__(self) -> None:
        self.processors: list[str] = []

    def mark(self, content: dict) -> str:
        """The mark of the machine that made a result file."""
        made = content["provenance"]
        name = re.sub(r"\(R\)| Processor", "", made["processor"]) + f", {made['cores']} cores"
        name += ", AVX2 without bf16" if content["name"].endswith("-avx2") else ""
        if name not in self.processors:
            self.processors.append(name)
        return _MARKS[self.processors.index(name)]

    def line(self, marks: str, clock: str) -> str:
        """The footnote of a table that uses `marks`."""
        told = "; ".join(f"{mark} {name}" for mark, name in zip(_MARKS, self.processors, strict=False) if mark in marks)
        return f"{told}. {clock}"


# --- tables ------------------------------------------------------------------------------------------------------------

def how_fast(notes: Footnotes) -> list[str]:
    """Of each data set the lowest and the highest accuracy that was asked for, on each machine."""
    found: dict[str, list[dict]] = {}
    for path in sorted(RESULTS.glob("time-to-accuracy-*.json")):
        content = _read(path)
        found.setdefault(content["dataset"].split()[0], []).append(content)
    rows = []
    for name in sorted(found, key=list(_NAMES).index):
        asked = [content["target"] for content in found[name]]
        for content in sorted(found[name], key=lambda c: (c["target"], c["name"])):
            if content["target"] in (min(asked), max(asked)):
                rows.append(_reached(content, notes))
    return _table(("data set", "asked", "reached by", "accuracy %, ± sd", "seconds", "recipe"), rows,
                  notes, "Medians of the clock “dawnbench”.")


def _reached(content: dict, notes: Footnotes) -> tuple[str, ...]:
    ours = next(row for row in content["rows"] if row["who"] == "ours")
    hits = round(ours["n"] * ours["reached % of runs"] / 100)
    return (_data_set(content), f"{content['target']:g} %", f"{hits} of {ours['n']}",
            f"{ours['accuracy % mean']:.2f} ± {ours['sd']:.2f}", _number(ours["median s"]) + notes.mark(content),
            f"{ours['recipe']}, {ours['epochs']:.2g} epochs")


def augmentation(notes: Footnotes) -> list[str]:
    """Accuracy without and with augmentation, and the preregistered claim about maps, over the same pairs of runs."""
    path, = RESULTS.glob("claim-shapes-*.json")
    content = _read(path)
    accuracies = {name: one["accuracies"] for name, one in content["per_seed"].items()}
    tested = judge({name: [b - a for a, b in zip(arms["none"], arms["with"], strict=True)] for name, arms in accuracies.items()})
    primary = {row["data set"]: row["verdict"] for row in content["rows"] if row["test"] == "primary"}
    copies = {asked["dataset"].split()[0] for asked in map(_read, RESULTS.glob("time-to-accuracy-*.json"))
              if _copied(asked)}  # the result file of the claim does not say so itself
    pairs, = {test.n for test in tested.values()}
    recipe, = {one["name"] for one in content["recipes"].values()}
    rows = []
    for name in sorted(tested, key=list(_NAMES).index):
        test, arms = tested[name], accuracies[name]
        rows.append((_NAMES[name] + ("*" if name in copies else ""), f"{content['recipes'][name]['epochs']:g}",
                     f"{stats.mean(arms['none']):.2f}", f"{stats.mean(arms['with']):.2f}",
                     f"{_signed(test.difference)} ({_bounds(test.interval)})",
                     _verdict(test), primary[name]))
    return _table(("data set", "epochs", "without", "with", "points (95 %)", "accuracy higher?", "maps more logical?"), rows,
                  notes, f"Recipe {recipe}, {pairs} pairs of seeds; verdicts by exact sign-flip tests.", content)


def _verdict(test) -> str:
    return "no: **lower**" if test.opposite else test.verdict


def peers(notes: Footnotes) -> list[str]:
    """Time to an accuracy, making batches and heatmaps beside others' code; above 1 ours is faster."""
    rows = []
    for name in ("mnist-99", "mnist-99-avx2", "fashion-peer", "cifar10-peer"):
        content = result(f"time-to-accuracy-{name}")
        ours, theirs = content["rows"]
        interval = ours["ratio interval"]
        bounds = f" ({1 / interval[1]:.1f} to {1 / interval[0]:.1f})" if interval else f" (their n = {theirs['n']})"
        rows.append((f"{_data_set(content)} to {content['target']:g} %", theirs["recipe"],
                     f"{1 / ours['ours / peer']:.1f}{bounds}{notes.mark(content)}"))
    batches = result("data-path")
    for who, named in (("torchvision v2, DataLoader", "torchvision + DataLoader"), ("kornia", "kornia"),
                       ("airbench's own loader", "airbench’s loader")):
        rows.append(("augmented batches", named, _range(batches, who) + notes.mark(batches)))
    maps = result("explain-speed")
    for who in ("pytorch-grad-cam", "captum in a plain loop"):
        rows.append(("Grad-CAM", who, _range(maps, who) + notes.mark(maps)))
    stored = result("data-path-stored")
    row = next(row for row in stored["rows"] if row["batches"] == "stored, warm cache")
    rows.append(("training, stored epochs", "augmenting live",
                 f"{row['in training, speed / augmenting']:.2f} ({row['in training, min']:.2f} to {row['in training, max']:.2f})"
                 f"{notes.mark(stored)}"))
    return _table(("task", "beside", "times as fast"), rows, notes,
                  "Ranges over settings and rounds; below 1 ours lost.")


def _range(content: dict, who: str) -> str:
    """From the lowest to the highest ratio of single rounds beside a contestant."""
    rows = [row for row in content["rows"] if row["who"].startswith(who)]
    return f"{_number(min(row['min'] for row in rows))} to {_number(max(row['max'] for row in rows))}"


def _data_set(content: dict) -> str:
    """Its name, starred where the bytes are not the official ones."""
    return _NAMES[content["dataset"].split()[0]] + ("*" if _copied(content) else "")


def _copied(content: dict) -> bool:
    return "not the official" in content["dataset"]


def _bounds(interval) -> str:
    return f"{_signed(interval.low)} to {_signed(interval.high)}"


def _signed(points: float) -> str:
    return f"{points:+.2f}".replace("-", "−")


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2g}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], notes: Footnotes, clock: str,
           content: dict | None = None) -> list[str]:
    """Rows as Markdown, and the footnote: the machines that they name (or that of `content`, for all rows), and the star."""
    lines = ["|" + "|".join(cells) + "|" for cells in (headings, ["---"] * len(headings), *rows)]
    text = "\n".join(lines)
    marks = notes.mark(content) if content else "".join(mark for mark in _MARKS if mark in text)
    star = " \\* JPEG copies, not the official files." if "*|" in text or "* to" in text else ""
    return [*lines, "", notes.line(marks, clock) + star]


# --- picture -----------------------------------------------------------------------------------------------------------

def picture(runs: Path | None, dataset: str, data: Path | None) -> Path:
    """Draw the picture, and keep in a result file what it shows."""
    from benchmarks import picture as drawing
    from benchmarks import record
    from speedcore.data import load
    from speedcore.store.runs import RunStore

    shown = drawing.content(RunStore(runs), load(dataset, data))
    rows = [{"arm": arm, "runs": curve.runs, "seconds": seconds, "accuracy %": 100 * accuracy, "images": images}
            for arm, curve in shown.curves.items()
            for images, points in (("validation", zip(curve.seconds, curve.validation, strict=True)), ("test", [curve.end]))
            for seconds, accuracy in points]
    newest = max((run.record.provenance for run in shown.runs), key=lambda made: str(made.get("finished", "")))
    record.write(_PICTURED, f"What README's picture shows: accuracy on {shown.title} against seconds of training (clock "
                            f"article), means over seeds.", rows, made=newest, recipe=shown.runs[0].record.recipe.name,
                 epochs=stats.mean([run.record.epochs for run in shown.runs]), claim=shown.claim, verdict=shown.verdict,
                 published=list(shown.sources), title=shown.title)
    return drawing.draw(shown, PICTURE)


def caption(notes: Footnotes) -> list[str]:
    """The picture as Markdown, with what it shows in words."""
    shown = result(_PICTURED)
    made, ends = shown["provenance"], {row["arm"]: row for row in shown["rows"] if row["images"] == "test"}
    command = re.sub(r" --(?:runs|out|data) \S+| --offline", "", made["command"])  # where files lay on that machine
    machine = f"{made['threads']} thread{'s' if made['threads'] != 1 else ''} of {made['processor']}"
    published = f" Published: {'; '.join(shown['published'])}." if shown["published"] else ""
    without, augmented = (f"{ends[arm]['accuracy %']:.2f} %" for arm in ("without", "with"))
    words = (f"`{command}`, {machine}: {shown['epochs']:.2g} epochs of {shown['recipe']}. Lines: validation; large marks: test, "
             f"{without} without and {augmented} with augmentation; ×: wrong; grey: empty maps.{published}")
    return [f"![{shown['title']}: accuracy against seconds, and heatmaps of both arms]"
            f"({PICTURE.relative_to(README.parent).as_posix()})", "", *textwrap.wrap(words, 120, break_on_hyphens=False)]


# --- README ------------------------------------------------------------------------------------------------------------

def written(text: str) -> str:
    """README with its generated parts made anew. Raises UserError for one that is not marked in it."""
    notes = Footnotes()
    for name, make in {"how-fast": how_fast, "augmentation": augmentation, "peers": peers, "picture": caption}.items():
        part = re.compile(f"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.S)
        if not part.search(text):
            raise UserError(f"README.md has no part between <!-- {name} --> and <!-- /{name} -->.")
        made = "\n".join(make(notes))
        text = part.sub(lambda found, made=made: found[1] + made + found[2], text)
    return text


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=Path, help="draw the picture of the runs in this folder")
    options.add_argument("--dataset", default="mnist")
    options.add_argument("--data", type=Path)
    chosen = options.parse_args()
    if chosen.runs:
        print(picture(chosen.runs, chosen.dataset, chosen.data))
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(README)


if __name__ == "__main__":
    raise SystemExit(run_app(lambda standalone_mode: main()))
