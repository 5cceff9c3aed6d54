"""4 Model: the networks layer by layer, their parameters counted, and the recipes that trained them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from reports.model import Cell, Column, Section, Table
from reports.renderers import formats as f
from reports.results import DatasetResults
from reports.sections.context import Context
from reports.sections.registry import report_section
from speedcore.networks import build, parameter_counts
from speedcore.recipe import Recipe
from speedcore.store.runs import Run

# (channels, classes, width) of DavidNet -> (trainable, running statistics) as derived by hand from its definition.
_DAVIDNET = {(3, 10, 1.0): (6_573_120, 4_480), (1, 10, 1.0): (6_571_968, 4_480)}


@report_section("model", "Model", 30)
def section(context: Context) -> Section:
    networks = {one.name: _network(one) for one in context.sets}
    counts = {name: parameter_counts(network) for name, network in networks.items()}
    largest: dict[str, DatasetResults] = {}
    for one in sorted(context.sets, key=lambda one: -counts[one.name]["trainable"]):
        largest.setdefault(_recipe(one).network.kind, one)
    tables = (_totals(context, counts), *(_layers(one, networks[one.name]) for one in largest.values()),
              _recipes(context))
    return Section("model", "", "Model", "What was trained, and how. Parameters are counted in the network that the "
                                         "recipe builds and compared with what each run recorded.", tables)


def _recipe(one: DatasetResults) -> Recipe:
    """The recipe of the arm with augmentation where there is one: the other is the same without it."""
    return (one.arms.get("with") or one.runs)[0].record.recipe


def _network(one: DatasetResults) -> nn.Module:
    record = one.record
    with torch.random.fork_rng(devices=[]):
        return build(_recipe(one).network, record.channels, (record.height, record.width), len(record.classes)).eval()


def _totals(context: Context, counts: dict[str, dict[str, int]]) -> Table:
    rows = []
    for one in context.sets:
        record, spec, own = one.record, _recipe(one).network, counts[one.name]
        agree = all(run.record.parameters == own for run in one.runs)
        check = f"agrees with {f.plural(len(one.runs), 'run')}" if agree else "runs recorded other numbers"
        known = _DAVIDNET.get((record.channels, len(record.classes), spec.width)) if spec.kind == "davidnet" else None
        if known:
            same = known == (own["trainable"], own["buffers"])
            check += f"; by hand {f.count(known[0])} + {f.count(known[1])} = {f.count(sum(known))}"
            check += "" if same else ", which differs"
        rows.append((Cell(one.title), Cell(spec.title),
                     Cell(f"{record.channels}×{record.height}×{record.width}"),
                     *(Cell(f.count(own[k])) for k in ("trainable", "frozen", "buffers")),
                     Cell(check, mark="" if agree else "warn")))
    columns = (Column("Data set"), Column("Network"), Column("Input"), Column("Trainable", True),
               Column("Frozen", True),
               Column("Running statistics", True), Column("Check"))
    return Table("parameters", "Numbers of values in each network", columns, tuple(rows))


def _layers(one: DatasetResults, network: nn.Module) -> Table:
    """Leaf modules in the order of a forward pass, with output shapes; activations, which change neither, are left out."""
    rows: list[tuple[Cell, ...]] = []

    def note(name: str, module: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            own = list(module.parameters(recurse=False))
            if not own and output.shape == inputs[0].shape:
                return
            trained, frozen = (sum(p.numel() for p in own if p.requires_grad is t) for t in (True, False))
            rows.append((Cell(name), Cell(_operation(module)), Cell("×".join(map(str, output.shape[1:]))),
                         Cell(f.count(trained) if trained else f.NONE), Cell(f.count(frozen) if frozen else f.NONE)))
        return hook

    hooks = [m.register_forward_hook(note(name, m)) for name, m in network.named_modules() if not list(m.children())]
    try:
        with torch.no_grad():
            network(torch.zeros(1, one.record.channels, one.record.height, one.record.width))
    finally:
        for hook in hooks:
            hook.remove()
    columns = (Column("Layer"), Column("Operation"), Column("Output", True), Column("Trainable", True),
               Column("Frozen", True))
    caption = f"{_recipe(one).network.title}, layer by layer, as built for {one.title}"
    return Table(f"layers-{one.slug}", caption, columns, tuple(rows),
                 note="Output: channels × height × width. Activations and the final global max-pool have no values and "
                      "are left out.")


def _operation(module: nn.Module) -> str:
    if isinstance(module, nn.Conv2d):
        return f"convolution {module.kernel_size[0]}×{module.kernel_size[1]}"
    if isinstance(module, nn.MaxPool2d):
        return f"max-pool {module.kernel_size}×{module.kernel_size}"
    names = {nn.BatchNorm2d: "batch-norm", nn.Linear: "linear"}
    return next((name for kind, name in names.items() if isinstance(module, kind)), type(module).__name__)


def _recipes(context: Context) -> Table:
    """A column a recipe as its runs went by it, a row a setting; data sets that share all of that share a column."""
    columns: dict[str, tuple[dict[str, str], list[str]]] = {}
    for one in context.sets:
        told = _told(one.arms.get("with") or one.runs)
        columns.setdefault(repr(told), (told, []))[1].append(one.title)
    terms = list(dict.fromkeys(term for told, _ in columns.values() for term in told))
    rows = tuple((Cell(term), *(Cell(told.get(term, f.NONE)) for told, _ in columns.values())) for term in terms)
    heads = (Column("Setting"), *(Column(f.listing(titles)) for _, titles in columns.values()))
    return Table("settings", "Recipes of the arm with augmentation; the other arm has neither augmentation nor views",
                 heads, rows)


def _told(runs: Sequence[Run]) -> dict[str, str]:
    """The recipe of these runs in words; what differs from run to run in all its values."""
    recipe = runs[0].record.recipe
    ways = [recipe.describe(run.record.provenance) for run in runs]
    return {"Recipe": f"{recipe.name} ({recipe.hash})",
            **{term: f.listing(list(dict.fromkeys(way[term] for way in ways)), "or") for term in ways[0]}}
