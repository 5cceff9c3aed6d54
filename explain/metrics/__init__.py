"""Metrics of maps, ours unless captum has them, and their null controls. `METRICS` says what each is worth."""

from __future__ import annotations

from explain.metrics.basics import Summary, correlation, is_dead, is_empty, mean_of, measured, rank_correlation
from explain.metrics.concentration import entropy, gini
from explain.metrics.controls import CONTROLS, another_image, control_explainers, control_maps, null_maps, wrong_class
from explain.metrics.faithfulness import deletion, infidelity, insertion
from explain.metrics.localisation import (
    Score,
    Shares,
    foreground_share,
    gaussian_mass,
    pointing_game,
    relevance_mass,
    relevance_rank,
    scores,
)
from explain.metrics.randomisation import Cascade, parameter_randomisation, randomised
from explain.metrics.stability import flip_consistency, max_sensitivity, occlusion_agreement, seed_consistency
from explain.metrics.table import METRICS, Metric

__all__ = [
    "CONTROLS", "METRICS", "Cascade", "Metric", "Score", "Shares", "Summary", "another_image", "control_explainers",
    "control_maps", "correlation", "deletion", "entropy", "flip_consistency", "foreground_share", "gaussian_mass", "gini",
    "infidelity", "insertion", "is_dead", "is_empty", "max_sensitivity", "mean_of", "measured", "null_maps",
    "occlusion_agreement", "parameter_randomisation", "pointing_game", "randomised", "rank_correlation", "relevance_mass",
    "relevance_rank", "scores", "seed_consistency", "wrong_class",
]
