"""Results to ReportModel: the order of the sections, their numbers, and what stands on the title page."""

from __future__ import annotations

import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from reports.faults import ReportWarning, reason, without_culprits
from reports.labels import slug
from reports.model import Prose, ReportModel, Section
from reports.renderers import results_json
from reports.results import Results
from reports.sections import attention, chapters, claim, mistakes, network, outcome, pictures, summary, training, trust
from reports.sections.context import Context
from reports.sections.studies import shortcuts

_ALWAYS = (("summary", "Summary", summary.section),)
_OF_RUNS = (("results", "Results", outcome.results), ("effects", "Paired effects", outcome.effects),
            ("model", "Model", network.section), ("data", "Data", pictures.data),
            ("augmentation", "Augmentation", pictures.augmentation),
            ("learning-rate", "Learning rate, planned and logged", training.schedule),
            ("curves", "Accuracy and loss while training", training.curves), ("confusion", "Mistakes", mistakes.section),
            ("heatmaps", "Where the networks look", attention.section))
_LAST = (("limitations", "Limitations", trust.limitations), ("provenance", "Provenance", trust.provenance),
         ("regenerate", "How to make it again", trust.regenerate))
_APPENDIX = ("appendix", "Appendix", trust.appendix)
_OF_STUDIES = (("claim", "The claim, as it was preregistered", claim.section, "registered"),
               ("shortcuts", "Can the maps be believed?", shortcuts.section, "shortcuts"))


def compose(results: Results) -> ReportModel:
    """The whole report as strings and drawings. Without runs only what can be said without them.

    A section that cannot be made of a data set is made of the others, and says so.
    """
    context = Context(results)
    faults: list[str] = []
    sections: list[Section] = []
    for id, title, make in (*_ALWAYS, *(_OF_RUNS if results.sets else ()), *_LAST):
        if id == "heatmaps":
            # What was claimed of heatmaps comes before the evidence: whether they can be believed at all, then what they show.
            sections += [_made(name, heading, of, context, faults) for name, heading, of, field in _OF_STUDIES
                         if getattr(results.inputs, field)]
        sections.append(_made(id, title, make, context, faults))
    earlier: Counter[str] = Counter()
    for found in results.chapters:
        name = chapters.name(found)
        chapter = partial(_by_itself, partial(chapters.of(found).section, found, earlier[name]))
        sections.append(_made(f"chapter-{slug(name)}-{earlier[name]}", name, chapter, context, faults))
        earlier[name] += 1
    sections.append(_made(*_APPENDIX, context, faults))
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
