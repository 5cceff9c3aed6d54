"""A sentence about heatmaps that was fixed beforehand, put to the test on paired seeds."""
