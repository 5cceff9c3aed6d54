"""What the chapters of studies share: their name, what they were made of, the command that continues them."""

from __future__ import annotations

from reports.labels import slug, title_of
from reports.model import Block, Bullets, Code, Prose
from reports.renderers import formats as f
from speedcore.ladders.result import LadderResult
from speedcore.ladders.scale import Scale
from speedcore.store.run_record import RunRecord
from speedcore.studies.findings import RULE, Finding
from speedcore.studies.records import StudyRecord


def name_of(study: str, number: int) -> str:
    """The section's id; `number` tells several results of one study apart."""
    return slug(f"study-{study}") + (f"-{number}" if number else "")


def titled(words: str, scale: Scale) -> str:
    return words + ("" if scale.whole else ", at a reduced scale")


def of_what(record: StudyRecord, source: str) -> Prose:
    """On which data and device, from which recipe, at which scale, after whom."""
    files = "" if record.official else ", not the official files"
    return Prose(unbroken(
        f"Trained on {title_of(record.dataset)} ({f.count(record.train_images)} training images{files}), on "
        f"{'a GPU' if record.device == 'cuda' else 'a CPU'}, with recipe `{record.recipe.name}`, {record.scaled.text}. "
        f"Source: {source}."))


def said(findings: tuple[Finding, ...], readings: tuple[str, ...] = (), left_out: tuple[str, ...] = ()) -> tuple[Block, ...]:
    """Findings and readings as bullets, the rule of the verdicts, what had to wait."""
    blocks: list[Block] = [Bullets((*(strong(finding) for finding in findings), *map(unbroken, readings)))]
    if findings:
        blocks.append(Prose(f"{RULE[:1].upper()}{RULE[1:]}.", "quiet"))
    if left_out:
        blocks.append(Bullets(tuple(f"{text[:1].upper()}{text[1:]}" for text in left_out)))
    return tuple(blocks)


def strong(finding: Finding) -> str:
    """The finding's sentence, its verdict in strong words."""
    verdict, rest = finding.sentence.split(":", 1) if ":" in finding.sentence[:14] else ("", finding.sentence)
    text = unbroken(rest)
    return f"**{verdict}:**{text}" if verdict else text


def unbroken(text: str) -> str:
    """Per cent signs stay on the line of their number."""
    return text.replace(" %", f"{f.NBSP}%")


def command(study: str, dataset: str, usual: str, seeds: int, scale: Scale, more: str = "") -> Code:
    """usual: the study's own data set. seeds: 0 where the study takes none."""
    words = [f"python -m speedcore study {study}"]
    if dataset != usual:
        words.append(f"--dataset {dataset}")
    if more:
        words.append(more)
    if seeds:
        words.append(f"--seeds {seeds}")
    if not scale.whole:
        words.append("--scale " + ",".join(f"{part}={share:g}" for part, share in vars(scale).items()))
    return Code(" ".join(words), "Command that continues this study")


def recipe_option(record: StudyRecord, usual: str) -> str:
    return "" if record.recipe.name == usual else f"--recipe {record.recipe.name}"


def first_record(climbed: LadderResult) -> RunRecord:
    """The record of any run."""
    return next(run for runs in climbed.runs.values() for run in runs).record
