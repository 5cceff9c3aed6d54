"""Results to ReportModel: the order of the sections, their numbers, and what stands on the title page."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial

from reports.faults import ReportWarning, reason, without_culprits
from reports.labels import slug
from reports.model import Prose, ReportModel, Section
from reports.renderers import results_json
from reports.results import Results
from reports.sections import chapters, registry, summary
from reports.sections.context import Context
from reports.sections.registry import CHAPTERS, SectionSpec


def compose(results: Results) -> ReportModel:
    """The whole report as strings and drawings. Without runs only what can be said without them.

    A section that cannot be made of a data set is made of the others, and says so.
    """
    context, specs = Context(results), registry.of(results)
    faults: list[str] = []

    def made(wanted: Iterable[SectionSpec]) -> list[Section]:
        return [_made(spec.id, spec.title, spec.make, context, faults) for spec in wanted]

    sections = made(spec for spec in specs if spec.place < CHAPTERS)
    earlier: Counter[str] = Counter()
    for found in results.chapters:
        name = chapters.name(found)
        chapter = partial(_by_itself, partial(chapters.of(found).section, found, earlier[name]))
        sections.append(_made(f"chapter-{slug(name)}-{earlier[name]}", name, chapter, context, faults))
        earlier[name] += 1
    sections += made(spec for spec in specs if spec.place >= CHAPTERS)
    numbered = tuple(replace(section, number=str(i)) for i, section in enumerate(sections, 1))
    day = datetime.fromisoformat(results.finished)
    return ReportModel(
        title=summary.title(context), subtitle=summary.subtitle(context),
        description=summary.subtitle(context), status=results.inputs.status, status_text=summary.status_text(context),
        date=f"{day.day} {day:%B %Y}", finished=results.finished, sections=numbered, data=results_json.dumps(context),
        faults=tuple(faults))


def _by_itself(make: Callable[[], Section], context: Context) -> Section:
    """A section that needs nothing of the rest."""
    return make()


def _made(id: str, title: str, make: Callable[[Context], Section], context: Context, faults: list[str]) -> Section:
    """The section; of the data sets that it can be made of where it fails, with a word on the others."""
    sets = {one.name: one for one in context.sets}

    def of(names: list[str]) -> Section:
        whole = names == list(sets)
        return make(context if whole else Context(replace(context.results, sets=tuple(sets[name] for name in names))))

    try:
        section, wrong = without_culprits(list(sets), of)
    except Exception as error:
        section, wrong = Section(id, "", title, "", ()), {"": error}
    told = [f"{title}: {f'{sets[name].title} is missing from this section' if name else 'this section could not be made'}. "
            f"{reason(why)}" for name, why in wrong.items()]
    for line, why in zip(told, wrong.values(), strict=True):
        warnings.warn(f"{line}\n{''.join(traceback.format_exception(why))}", ReportWarning, stacklevel=2)
    faults += told
    return replace(section, blocks=(*(Prose(line, "note") for line in told), *section.blocks)) if told else section
