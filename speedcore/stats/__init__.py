"""Intervals, tests, effects and verdicts: what may be said of numbers from several seeds."""
