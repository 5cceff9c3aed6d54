"""What `make check` leaves out: folders, files and tests that take more than about a second of processor time, by measurement.

A new test says it of itself: `@pytest.mark.slow`. Paths are from this folder; "FILE::TEST" is one test of a file.
"""

from __future__ import annotations

SLOW = frozenset({
    # Kernels are compiled, most of them when their tests are imported.
    "speedcore/kernels", "benchmarks",
    "speedcore/techniques/test_batch_norm.py::test_the_fused_way_takes_them_too",
    # Training: built-in recipes on simulated GPUs, whole studies, ladders and plans.
    "speedcore/training/test_accelerators.py", "speedcore/training/test_training.py",
    "speedcore/planning/test_execute.py", "speedcore/ladders/test_ladders.py", "speedcore/studies/test_studies.py",
    "explain/claim/test_claim.py", "explain/studies/test_shortcuts.py",
    "reports/sections/studies/test_studies.py", "reports/sections/test_ladder.py",
    "speedcore/machine/test_room.py::test_an_evaluation_is_the_same_in_smaller_parts_and_leaves_the_network_as_it_came",
    "speedcore/techniques/test_cards.py::test_a_climb_becomes_a_result_file_and_a_row_of_a_card",
    "speedcore/techniques/test_cards.py::test_the_committed_cards_are_what_the_generator_writes",
    "speedcore/techniques/test_loss_scale.py::test_steps_and_factors_are_those_of_torchs_scaler",
    # Heatmaps of public architectures, and of every metric on simulated GPUs.
    "explain/attribution/test_accelerators.py", "explain/attribution/test_parity.py",
    "explain/test_artefact.py", "explain/inspector/test_inspector.py",
    # Whole programs: command lines, builds, notebooks, packages.
    "speedcore/cli/test_command_line.py", "reports/test_build.py", "test_notebooks.py", "test_packaging.py",
    "speedcore/data/test_shapes.py::test_same_bytes_on_a_plainer_processor",
    "speedcore/store/test_runs.py::test_a_killed_process_leaves_finished_runs_whole_and_no_half_ones",
})
# Whatever needs one of these: a browser; a whole report with its PDF.
SLOW_FIXTURES = frozenset({"chromium", "whole"})
