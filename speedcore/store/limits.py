"""The most that is read of a stored file, in bytes. Checked before a byte is read."""

from __future__ import annotations

RECORD = 32 << 20      # run.json, explanation.json, result.json, climb.json, a plan
MANIFEST = 64 << 10
TABLE = 512 << 20      # steps.csv, epochs.csv
WEIGHTS = 8 << 30
ARRAYS = 2 << 30       # arrays.npz of an explanation
DIGITS = 20            # of one integer in JSON
