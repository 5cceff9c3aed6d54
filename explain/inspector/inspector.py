"""Look at heatmaps: `inspect` one run, `compare` two. What they return shows itself in any notebook.

    import explain
    pair = explain.compare("runs/shapes-with-…", "runs/shapes-without-…")
    pair                                 # in a notebook: filters, sorting, switches, by mouse and keyboard
    pair.only(cls="circle", wrong=True)  # the same, narrowed; colours keep their meaning
    pair.at(layer="last").figure()       # a matplotlib figure
    pair.save("pair.html")               # or .png, .svg
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explain.artefact import Target
from explain.attribution.explaining import Observer, explain_run, gallery_of
from explain.attribution.methods import method_of
from explain.inspector.inspection import Inspection
from explain.inspector.words import public
from explain.models import ExplainError
from speedcore import data as datasets
from speedcore.data.dataset import Dataset
from speedcore.errors import RunError
from speedcore.store import names
from speedcore.store.runs import Run, RunStore

DEFAULT_METHODS = ("grad-cam", "hirescam", "saliency")  # a forward and a backward pass a map each


def inspect(run: Run | Path | str, dataset: Dataset | None = None, *, method: str | Sequence[str] = DEFAULT_METHODS,
            layer: str | None = None, target: Target = "true", per_class: int = 10, mistakes: int = 20,
            root: Path | str | None = None, images_per_class: int | None = None, data: Path | str | None = None,
            device: str = "auto", observer: Observer | None = None) -> Inspection:
    """Heatmaps of one run: the first `per_class` test images of each class, and up to `mistakes` further wrong ones.

    run: a run, its folder, or its name in the store of runs. dataset: None loads the run's own, from `data` first if that
    is given. method: names in `explain.METHODS`, one or several, the first shown first. layer: "middle" (14-16 cells a
    side), "last", or "image" for a method that explains no layer; None takes the first of these that there is. target:
    maps for the "true" or the "predicted" class. Maps are made once and kept in `root`/explanations (None: beside the
    run), with measures and null controls on the first `images_per_class` test images of each class. device: "auto", "cuda",
    "cuda:1", "mps" or "cpu". observer: told of progress. Raises UserError.
    """
    return _shown((opened(run),), dataset, method, layer, target, per_class, mistakes, root, images_per_class, data, device,
                  observer)


def compare(first: Run | Path | str, second: Run | Path | str, dataset: Dataset | None = None, *,
            method: str | Sequence[str] = DEFAULT_METHODS, layer: str | None = None, target: Target = "true",
            per_class: int = 10, mistakes: int = 20, root: Path | str | None = None, images_per_class: int | None = None,
            data: Path | str | None = None, device: str = "auto", observer: Observer | None = None) -> Inspection:
    """Heatmaps of two runs of one data set side by side, on the same images and one scale. Otherwise as `inspect`.

    Shown are the first `per_class` test images of each class, and for each run up to `mistakes` that it alone gets wrong.
    """
    return _shown((opened(first), opened(second)), dataset, method, layer, target, per_class, mistakes, root,
                  images_per_class, data, device, observer)


def _shown(runs: tuple[Run, ...], dataset: Dataset | None, method: str | Sequence[str], layer: str | None, target: Target,
           per_class: int, mistakes: int, root: Path | str | None, images_per_class: int | None, data: Path | str | None,
           device: str, observer: Observer | None) -> Inspection:
    names = (method,) if isinstance(method, str) else tuple(dict.fromkeys(method))
    if not names:
        raise ExplainError("no method was named; give one or several of explain.METHODS.")
    for name in names:
        method_of(name)
    settings = {"method": list(names), "per_class": per_class, "mistakes": mistakes}
    settings |= {} if images_per_class is None else {"images_per_class": images_per_class}
    code = _code(runs, dataset, settings, data)
    dataset = dataset or datasets.load(runs[0].record.data.name, data)
    gallery = gallery_of(runs[0], runs[1] if len(runs) == 2 else None, dataset, per_class, mistakes)
    made = tuple(explain_run(run, dataset, root, gallery, images_per_class, device, observer, name)
                 for name in names for run in runs)
    return Inspection(dataset, made, code=code).at(layer=layer, target=target, method=names[0])


def _code(runs: tuple[Run, ...], dataset: Dataset | None, settings: dict[str, Any], data: Path | str | None) -> str:
    """Python that makes the same inspection again, as `shown`, on any machine that has the runs.

    It names runs and no place where they lie: a page may be read by anyone, and paths of whoever made it are nobody's business.
    """
    lines, words = ["import explain"], [repr(run.record.key) for run in runs]
    if len(set(words)) < len(words):
        lines.append(f"# first, second: the folders of the two runs that are called {words[0]}")
        words = ["first", "second"]
    else:
        lines.append("# runs by name: in the folder runs, or in the one that SPEEDCORE_RUNS names")
    if dataset is not None:
        lines.append(f"# dataset: the Dataset that was passed, {public(dataset.name)!r}, content {dataset.fingerprint[:12]}")
        words.append("dataset")
    elif data is not None:
        lines.append(f"# data: the folder or archive that holds {public(runs[0].record.data.name)!r}")
        settings = settings | {"data": None}
    words += [f"{name}={name if value is None else repr(value)}" for name, value in settings.items()]
    indent = f"shown = explain.{'compare' if len(runs) == 2 else 'inspect'}("
    return "\n".join([*lines, indent + (",\n" + " " * len(indent)).join(words) + ")"])


def opened(run: Run | Path | str) -> Run:
    """The run in that folder, or of that name in the store of runs. Raises RunError."""
    if isinstance(run, Run):
        return run
    if Path(run).is_dir():
        return Run.open(run)
    store = RunStore()
    if names.valid(str(run)) and (path := store.path_of(str(run))).is_dir():
        return Run.open(path)
    known = [entry.name for entry in store][:8]
    raise RunError(f"there is no run '{run}': neither a folder nor a name in {store.root}. "
                   + (f"There: {', '.join(known)}." if known else "No run is there; name the folder of one."))
