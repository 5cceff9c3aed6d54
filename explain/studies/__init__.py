"""Experiments that train networks in order to question their heatmaps, one a file (`python -m explain.studies --help`)."""
