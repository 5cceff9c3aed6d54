"""The known data sets, one file each: whatever is particular to a set is there, as a `Manifest` named SET.

They are found by listing this folder; installed packages add theirs under the entry point group `speedcore.datasets`, each a
Manifest (docs/extending.md). Importing this imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from speedcore import plugins
from speedcore.data.published import Manifest
from speedcore.errors import notice


def _found() -> dict[str, Manifest]:
    ours = [import_module(f"{__name__}.{module.name}").SET for module in iter_modules(__path__)]
    found = {known.name: known for known in sorted(ours, key=lambda known: known.place)}
    for name, known in sorted(plugins.loaded(plugins.DATASETS).items(), key=lambda item: getattr(item[1], "place", 0)):
        if not isinstance(known, Manifest) or known.name in found or ":" in known.name:
            notice(f"entry point '{name}' of {plugins.DATASETS} is left out: it is no Manifest, or of a name that is taken.")
        else:
            found[known.name] = known
    return found


KNOWN: dict[str, Manifest] = _found()
NAMES = tuple(KNOWN)


def of(name: str) -> Manifest | None:
    """What is known of the set `name`, whatever follows a colon in it; None of folders and of sets that nobody knows."""
    return KNOWN.get(name.partition(":")[0])


def title(name: str) -> str:
    """The title of a known set; "" of any other."""
    known = KNOWN.get(name)
    return (known.title or name) if known else ""
