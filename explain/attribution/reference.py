"""docs/metrics.md, written from the tables of methods, metrics and controls:

    python -m explain.attribution.reference > docs/metrics.md
"""

from __future__ import annotations

from explain.attribution.methods import METHODS
from explain.metrics import CONTROLS, METRICS


def document() -> str:
    """The whole document, Markdown."""
    parts = [_HEAD, "## Methods\n", _METHODS,
             _table(("method", "explains", "maps of", "forward", "backward", "shared"),
                    [(f"`{m.name}`", "layers" if m.layers else "the image", f"the {m.grid}'s resolution", str(m.forward),
                      str(m.backward), "yes" if m.shared else "no") for m in METHODS.values()]),
             *(f"**{m.title[0].upper() + m.title[1:]}** (`{m.name}`): {m.definition}. Criticism: {m.criticism}. "
               f"Source: {m.source}.\n" for m in METHODS.values()),
             "## Metrics\n", _METRICS,
             _table(("metric", "range", "better", "cost an image", "empty maps", "empty masks", "a control takes the place of"),
                    [(m.title, m.range, m.better, m.cost, m.dead, m.empty, f"the {m.controlled}") for m in METRICS.values()]),
             *(f"**{m.title}** (`explain.metrics.{m.name}`): {m.definition}. Null controls: {m.nulls}. Criticism: "
               f"{m.criticism}. Source: {m.source}.\n" for m in METRICS.values()),
             "## Null controls\n", _CONTROLS, _table(("control", "map"), [(f"`{k}`", said) for k, said in CONTROLS.items()])]
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


_HEAD = """# Maps and metrics

Written by `python -m explain.attribution.reference > docs/metrics.md` from `explain.METHODS`, `explain.metrics.METRICS` and
`explain.metrics.CONTROLS`; a test holds it to them.
"""
_METHODS = """`explain.heatmaps(model, images, targets, layers, method)` runs any of them. Passes are counted an image
and target, on images of 32×32; shared: more targets share the forward passes. Maps are signed and fp32.

Which axes of a layer are rows and columns is derived from the network (channels may come last, as in Swin), never guessed from a
shape; where it cannot be told, the layer is refused. Images keep the layout in memory that they are given in. Targets are
classes, one or T an image; one-hot rows are refused, for they can be read as classes too (`targets.argmax(1)`). A model with one
logit has two classes: 1 is the logit, 0 its negative, and metrics that take a probability take sigmoid. Refused in a sentence are
outputs other than (N, classes), batch statistics in eval mode, TorchScript, and layers that the scores depend on without
autograd's knowledge (quantised, detached, under `torch.no_grad`). `torch.compile` and `DataParallel` are seen through.
"""
_METRICS = """A map is empty if no value is positive or any is not finite: nothing speaks for the class, or nothing can be
believed. No metric makes a hit or a miss of an empty map or an empty mask; `explain.metrics.measured` gives the mean over the
others and counts what was left out.
"""
_CONTROLS = """`explain.metrics.control_maps` makes them for any model and method, `null_maps` those that need no network,
`control_explainers` ways of making them, and `measured` takes a metric of all. A number that its controls reach as well
shows nothing.
"""

if __name__ == "__main__":
    print(document(), end="")
