"""Of the appendix: the methods that the recipes of this report are made of, and where their cards are."""

from __future__ import annotations

from reports.model import Cell, Column, Table
from reports.sections.context import Context
from speedcore.methods import methods
from speedcore.recipe import Recipe


def table(context: Context) -> Table | None:
    """A row a method, with who uses it and the path of its card; None where the report has no recipes."""
    recipes = _recipes(context)
    if not recipes:
        return None
    rows = []
    for name, method in sorted(methods().items(), key=lambda item: item[1].title.casefold()):
        users = [user for user, used in recipes.items() if any(method.used_by(recipe) for recipe in used)]
        if users:
            rows.append((Cell(method.title), Cell(method.summary), Cell(", ".join(users)), Cell(f"{name}.md")))
    columns = (Column("Method"), Column("In a line"), Column("Used by"), Column("Card in docs/methods"))
    return Table("methods", "Methods that the recipes of this report use", columns, tuple(rows),
                 note="A card says what a method is, why it works, what it costs, how a recipe asks for it, and what effect was "
                      "measured; `docs/methods/README.md` in the project's checkout lists all of them. What ladders of this "
                      "report measured stands in their chapters.")


def _recipes(context: Context) -> dict[str, list[Recipe]]:
    """Recipes by who trained with them: the name of a recipe, or a ladder with those of the rungs that were climbed."""
    found: dict[str, list[Recipe]] = {}
    for run in context.results.runs:
        found.setdefault(run.record.recipe.name, []).append(run.record.recipe)
    for climb in context.results.inputs.ladders:
        rungs = climb.ladder.recipes
        found.setdefault(f"ladder {climb.ladder.name}", []).extend(rungs[rung.name] for rung in climb.rungs)
    return {user: list({recipe.hash: recipe for recipe in used}.values()) for user, used in found.items()}
