"""Results to ReportModel: the order of the sections, their numbers, and what stands on the title page."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime

from reports import results_json
from reports.model import ReportModel
from reports.results import Results
from reports.sections import attention, chapters, claim, mistakes, network, outcome, pictures, shortcuts, summary, training, trust
from reports.sections.context import Context

_ALWAYS = (summary.section,)
_OF_RUNS = (outcome.results, outcome.effects, network.section, pictures.data, pictures.augmentation, training.schedule,
            training.curves, mistakes.section, attention.section)
_LAST = (trust.limitations, trust.provenance, trust.regenerate)


def compose(results: Results) -> ReportModel:
    """The whole report as strings and drawings. Without runs only what can be said without them."""
    context = Context(results)
    made = [make(context) for make in (*_ALWAYS, *(_OF_RUNS if results.sets else ()), *_LAST)]
    if results.sets:
        # What was claimed of heatmaps comes before the evidence: whether they can be believed at all, then what they show.
        place = next(i for i, section in enumerate(made) if section.id == "heatmaps")
        studies = ((claim, results.inputs.registered), (shortcuts, results.inputs.shortcuts))
        made[place:place] = [chapter.section(context) for chapter, there in studies if there]
    earlier: Counter[str] = Counter()
    for found in results.chapters:
        made.append(chapters.of(found).section(found, earlier[chapters.name(found)]))
        earlier[chapters.name(found)] += 1
    made.append(trust.appendix(context))
    sections = tuple(replace(section, number=str(i)) for i, section in enumerate(made, 1))
    day = datetime.fromisoformat(results.finished)
    return ReportModel(
        title=summary.title(context), subtitle=summary.subtitle(context),
        description=summary.subtitle(context), status=results.inputs.status, status_text=summary.status_text(context),
        date=f"{day.day} {day:%B %Y}", finished=results.finished, sections=sections, data=results_json.dumps(context))
