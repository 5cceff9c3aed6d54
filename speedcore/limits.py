"""How much of somebody else's files is read. Every reader asks here before it reads, so that no small file costs much.

They stand far above what a data set of small images needs: what they stop is damage, malice, or the wrong folder.
"""

from __future__ import annotations

MIB = 1 << 20

# Files under a folder, or members of an archive.
MEMBERS = 2_000_000
# One image file as it is stored, and the pixels (width × height) that it may decode to.
IMAGE_BYTES = 64 * MIB
PIXELS = 64 * MIB
# All images of a data set, decoded: they are held in memory.
DECODED_BYTES = 16 * 1024 * MIB
# Bytes that come out of an archive for each of its own, and bytes of pixels for each byte of the files they come from.
# Only asked above the floor: a small archive of zeros harms nobody.
UNPACKED_RATIO = 200
DECODED_RATIO = 1000
RATIO_FLOOR = 256 * MIB
# The target of a link in a zip, and links that lead to one another.
LINK_BYTES = 4096
LINK_HOPS = 40
# An IDX file, unpacked (MNIST's largest has 47 MB), and the published archive of CIFAR-10 (170 MB).
IDX_BYTES = 1024 * MIB
PUBLISHED_BYTES = 512 * MIB
# A recipe's TOML.
TOML_BYTES = MIB
# Files of our own, in bytes, and the digits of one integer in JSON.
RECORD = 32 << 20      # run.json, explanation.json, result.json, climb.json, a plan
MANIFEST = 64 << 10
TABLE = 512 << 20      # steps.csv, epochs.csv
WEIGHTS = 8 << 30
ARRAYS = 2 << 30       # arrays.npz of an explanation
DIGITS = 20            # of one integer in JSON


def size_of(count: float) -> str:
    """A number of bytes for people: 64 MB, 2.6 GB (decimal units)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 1000 * scale else f"{count / scale:,.0f} {unit}"
    return f"{count:.0f} bytes"


def too_much(coming: int, own: int, ratio: int) -> bool:
    """Would `coming` bytes out of `own` be more than the ratio allows?"""
    return coming > RATIO_FLOOR and coming > ratio * own
