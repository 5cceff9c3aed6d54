"""The ladder from airbench94's published method to this project's `record`, each step with its measured effect.

Its rungs are filled in by whoever changes `record`, one rung a change that paid. While there are none there is no ladder.
"""

from __future__ import annotations

from speedcore.ladders.model import Ladder, Rung

# ---- RUNGS OF THE RECORD: fill in here, from `airbench94-muon` up to `record` -------------------------------------------
RUNGS: tuple[Rung, ...] = ()
# -------------------------------------------------------------------------------------------------------------------------


def _ladder() -> Ladder | None:
    if not RUNGS:
        return None
    from speedcore import recipes

    return Ladder(name="record", describe="from airbench94_muon's method to the record", dataset="cifar10",
                  base=recipes.get("airbench94-muon", "cifar10"), rungs=RUNGS, clock="dawnbench")


LADDER = _ladder()
