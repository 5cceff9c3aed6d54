"""Figures: pure functions from plain data to SVG text or PNG bytes. No state, no clock, no files read but the style."""
