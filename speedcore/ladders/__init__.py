"""Ladders: a base recipe and rungs that each change something, run and compared rung by rung."""
