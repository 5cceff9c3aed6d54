"""results.json: the machine's view of the report. Described in docs/results-json.md."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from explain.claim.preregistration import Outcome
from explain.claim.verdicts import ClaimRecord, ClaimTests, null_differences, verdicts
from explain.studies.shortcuts import LAYERS, ModelRecord, StudyRecord, Tracking, tracking
from reports.findings import Claim, sentence
from reports.sections.context import Context
from speedcore.ladders.changes import Change
from speedcore.ladders.result import LadderResult, RungFinding
from speedcore.stats import Interval, effect_size, superiority
from speedcore.stats.claims import Tested
from speedcore.store.runs import Run
from speedcore.studies.records import StudyRecord as Studied
from speedcore.training.health import constant_prediction

# 2: the accuracy of a run is the one that its recipe is judged by, with TTA where it has one; it was that of plain images.
SCHEMA_VERSION = 2


def content(context: Context) -> dict[str, Any]:
    """Plain data. The same inputs give the same content: nothing of the moment of rendering is in it. A value that is no number
    is null."""
    inputs = context.results.inputs
    return _finite({
        "schema_version": SCHEMA_VERSION,
        "status": inputs.status,
        "budget_seconds": inputs.budget_seconds,
        "within_seconds": inputs.within_seconds,
        "command": inputs.command,
        "runs": [_run(run) for run in context.results.runs],
        "recipes": _recipes(context),
        "claims": [_claim(claim) for claim in context.claims],
        "ladders": [_ladder(climbed) for climbed in inputs.ladders],
        "studies": [_study(study) for study in inputs.studies],
        "shortcuts": [_shortcuts(study) for study in inputs.shortcuts],
        "registered": [_registered(study) for study in inputs.registered],
        "diverged": {name: list(whys) for name, whys in inputs.diverged.items()},
        "missing": [{"dataset": m.dataset, "what": m.what, "reason": m.reason, "remedy": m.remedy} for m in inputs.missing],
        # When and by which command line this process was started says nothing about the numbers.
        "environment": {k: v for k, v in inputs.environment.items() if k not in ("finished", "command")},
    })


def dumps(context: Context) -> str:
    return json.dumps(content(context), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _run(run: Run) -> dict[str, Any]:
    r, constant = run.record, constant_prediction(run)
    return {
        "key": r.key, "dataset": r.data.name, "arm": r.arm, "recipe": r.recipe.name, "recipe_hash": r.recipe_hash,
        "seed": r.seed, "accuracy": r.accuracy, "plain_accuracy": r.plain_accuracy, "constant_answer": constant.share,
        "no_better_than_constant": constant.no_better, "tta_accuracy": r.metrics.tta_accuracy, "epochs": r.epochs,
        "steps": r.steps, "planned_steps": r.planned_steps, "replans": len(r.replans), "final_lr": r.final_lr,
        "parameters": {"trainable": r.parameters["trainable"], "buffers": r.parameters["buffers"],
                       "frozen": r.parameters.get("frozen", 0)},
        "ledger": r.ledger, "clocks": r.clocks, "budget_seconds": r.budget_seconds, "budget_policy": r.budget_policy,
        "peak_memory_bytes": r.peak_memory_bytes, "official_data": r.data.official, "data_sha256": r.data.fingerprint,
        "weights_sha256": r.weights_sha256, "device": r.device,
        "arithmetic": r.provenance.get("arithmetic"), "convolutions": r.provenance.get("convolutions"),
        "finished": r.provenance.get("finished"),
    }


def _recipes(context: Context) -> dict[str, dict[str, Any]]:
    """The whole recipe of every run, those of ladders among them, by its hash."""
    climbed = (run for ladder in context.results.inputs.ladders for runs in ladder.runs.values() for run in runs)
    return {run.record.recipe_hash: run.record.recipe.model_dump(mode="json") for run in (*context.results.runs, *climbed)}


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "kind": claim.kind, "text": claim.text, "dataset": claim.dataset, "n": claim.n, "seeds": list(claim.seeds),
        "difference": claim.difference, "differences": list(claim.differences),
        "interval": _interval(claim.interval),
        "effect_size": effect_size(claim.differences) if claim.n else None,
        "superiority": superiority(claim.differences) if claim.n else None,
        "p": claim.p, "p_holm": claim.p_holm, "bound": claim.bound, "p_equivalence": claim.p_equivalence,
        "verdict": claim.verdict, "sentence": sentence(claim),
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else {"low": interval.low, "high": interval.high, "level": 0.95, "kind": interval.kind}


def _ladder(climbed: LadderResult) -> dict[str, Any]:
    data = next(run for runs in climbed.runs.values() for run in runs).record.data
    return {"name": climbed.ladder.name, "source": climbed.ladder.source, "dataset": data.name, "clock": climbed.ladder.clock,
            "scale": vars(climbed.scale), "left_out": list(climbed.left_out),
            "rungs": [_rung(climbed, finding) for finding in climbed.findings]}


def _rung(climbed: LadderResult, finding: RungFinding) -> dict[str, Any]:
    reported = finding.rung.reported
    return {
        "name": finding.rung.name, "what": finding.rung.what, "against": finding.against, "peeked": finding.peeked,
        "reported": {"accuracy": reported.mean, "sd": reported.spread, "n": reported.count, "at_least": reported.at_least,
                     "seconds": reported.seconds, "seconds_sd": reported.seconds_sd},
        "accuracies": list(finding.accuracies), "accuracy": finding.mean, "sd": finding.sd,
        "interval": _interval(finding.interval), "epochs": finding.epochs, "clocks": finding.clocks,
        "accuracy_change": _change(finding.accuracy), "time_change": _change(finding.time),
        "reproduced": finding.reproduced, "sentence": finding.sentence,
        "recipe_hash": climbed.runs[finding.rung.name][0].record.recipe_hash,
        "runs": [run.record.key for run in climbed.runs[finding.rung.name]],
    }


def _study(record: Studied) -> dict[str, Any]:
    """The whole result, with the answers to the source's findings."""
    content = record.model_dump(mode="json", exclude={"recipe", "provenance", "version"})
    return {**content, "recipe": record.recipe.name, "recipe_hash": record.recipe.hash,
            "finished": record.provenance.get("finished"),
            "findings": [{"says": finding.question.says, "measure": finding.question.measure,
                          "verdict": finding.verdict, "bound": finding.question.bound,
                          "numbers": list(finding.question.numbers), "interval": _interval(finding.tested.interval),
                          "p_holm": finding.tested.p_holm, "p_equivalence_holm": finding.tested.p_equivalence_holm}
                         for finding in record.findings]}


def _finite(value: Any) -> Any:
    """JSON knows no infinity, and nothing that is no number: the loss of a training that failed is null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shortcuts(study: StudyRecord) -> dict[str, Any]:
    kinds = dict.fromkeys(m.shortcut for m in study.models)
    return {"recipe": study.recipe.name, "recipe_hash": study.recipe.hash, "method": study.method,
            "train_images": study.train_images, "test_images": study.test_images, "device": study.device,
            "models": [_model(m) for m in study.models],
            "tracking": [_tracking(tracking(study.models, kind, layer)) for kind in kinds for layer in LAYERS]}


def _model(m: ModelRecord) -> dict[str, Any]:
    return {"shortcut": m.shortcut, "correlation": m.correlation, "arm": m.arm, "seed": m.seed, "run": m.run,
            "accuracy_right": m.accuracy_right, "accuracy_swapped": m.accuracy_swapped, "reliance": m.reliance,
            "mass": {layer: m.mass(layer) for layer in LAYERS}}


def _tracking(t: Tracking) -> dict[str, Any]:
    return {"shortcut": t.shortcut, "layer": t.layer, "n": t.n, "rank_correlation": t.correlation,
            "interval": _interval(t.interval), "verdict": t.verdict}


def _registered(study: ClaimRecord) -> dict[str, Any]:
    plan = study.preregistration
    return {"version": plan.version, "registered": plan.registered.isoformat(), "planned": plan.pairs.planned,
            "as_planned": study.planned, "images_per_class": study.images_per_class, "device": study.device,
            "datasets": [{"dataset": name, "recipe": one.recipe.name, "recipe_hash": one.recipe.hash, "epochs": one.recipe.epochs,
                          "runs": one.runs, "accuracies": one.accuracies} for name, one in study.datasets.items()],
            "tests": [test for found in verdicts(study) for test in _tests(study, found)]}


def _tests(study: ClaimRecord, found: ClaimTests) -> Iterator[dict[str, Any]]:
    claim, outcomes = found.claim, {o.name: o for o in (found.claim.primary, *found.claim.secondary)}
    entries: list[tuple[str, str, Outcome, str | None, Tested]] = [
        ("primary", name, claim.primary, None, test) for name, test in found.primary.items()]
    entries += [("secondary", name, outcomes[outcome], None, test) for name, tests in found.secondary.items()
                for outcome, test in tests.items()]
    entries += [("part", name, claim.primary, part, test) for key, test in found.parts.items()
                for name, part in [key.split(": ", 1)]]
    for which, dataset, outcome, part, test in entries:
        nulls = {} if part else null_differences(study.datasets[dataset], outcome)
        yield {"test": which, "kind": found.kind, "text": claim.text, "dataset": dataset, "outcome": outcome.name,
               "measure": outcome.measure, "better": outcome.better, "part": part, "n": test.n, "difference": test.difference,
               "differences": list(test.differences), "interval": _interval(test.interval), "effect_size": test.effect_size,
               "superiority": test.superiority, "p": test.p, "p_holm": test.p_holm, "bound": test.bound,
               "p_equivalence": test.p_equivalence_holm, "verdict": test.verdict, "opposite": test.opposite,
               "null_controls": nulls}


def _change(change: Change | None) -> dict[str, Any] | None:
    return None if change is None else {"value": change.value, "interval": _interval(change.interval),
                                        "pairs": change.pairs, "verdict": change.verdict}
