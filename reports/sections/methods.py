"""Of the appendix: the methods that the recipes of this report are made of, and where their cards are."""

from __future__ import annotations

from reports.model import Cell, Column, Table
from reports.sections.context import Context
from speedcore.recipe import Recipe
from speedcore.techniques import methods


def table(context: Context) -> Table | None:
    """A row a method that ran, with who used it and the path of its card; None where the report has no recipes."""
    trained = _trained(context)
    if not trained:
        return None
    rows = []
    for name, method in sorted(methods().items(), key=lambda item: item[1].title.casefold()):
        users = [user for user, used in trained.items() if any(method.used_by(recipe, run) for recipe, run in used)]
        if users:
            rows.append((Cell(method.title), Cell(method.summary), Cell(", ".join(users)), Cell(f"{name}.md")))
    columns = (Column("Method"), Column("In a line"), Column("Used by"), Column("Card in docs/methods"))
    return Table("methods", "Methods that trained the networks of this report", columns, tuple(rows),
                 note="A card says what a method is, why it works, what it costs, how a recipe asks for it, and what effect was "
                      "measured; `docs/methods/README.md` in the project's checkout lists all of them. What ladders of this "
                      "report measured stands in their chapters.")


def _trained(context: Context) -> dict[str, list[tuple[Recipe, dict[str, float | None]]]]:
    """What trained, as it went, and with what budget, by who used it: the name of a recipe, or a ladder with all of its rungs."""
    found: dict[str, list[tuple[Recipe, dict[str, float | None]]]] = {}
    runs = [(run.record.recipe.name, run) for run in context.results.runs]
    runs += [(f"ladder {climb.ladder.name}", run) for climb in context.results.inputs.ladders
             for of_rung in climb.runs.values() for run in of_rung]
    for user, run in runs:
        record = run.record
        one = (record.recipe.as_run(record.provenance), {"budget_seconds": record.budget_seconds})
        if one not in (known := found.setdefault(user, [])):
            known.append(one)
    return found
