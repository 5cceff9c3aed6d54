"""The data sets that a command line names."""

from __future__ import annotations

import re

from speedcore.errors import UserError


def dataset_names(all_: bool, names: str | None) -> list[str]:
    """The data sets that --all and --dataset name, checked. Raises UserError."""
    from speedcore.data import NAMES, check_name, own_name

    if names is None:
        if not all_:
            raise UserError("say which data sets: --all, or --dataset " + ",".join(NAMES))
        return list(NAMES)
    # A comma before key=value belongs to the name: shapes:corner=0.9,seed=1.
    named = [name.strip() for name in re.split(r",(?!\s*\w+=)", names) if name.strip()]
    if not named:
        raise UserError("--dataset is empty; name at least one of " + ", ".join(NAMES))
    named = list(dict.fromkeys([*(NAMES if all_ else ()), *named]))
    by_own_name: dict[str, str] = {}
    for name in named:
        check_name(name)
        if (other := by_own_name.setdefault(own_name(name), name)) != name:
            raise UserError(f"--dataset: '{other}' and '{name}' would both be called {own_name(name)}; rename one folder.")
    return named
