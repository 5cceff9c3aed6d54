"""Code of a user's own: found under an import path or as an entry point, and known again by the bytes of its source file.

A recipe names such code and holds the sha256 of the file it is in, so that the recipe's hash changes with the code, and a run is
never replayed, verified or explained with other code than it was trained with. What that file imports is not looked at.

Only code of this machine is ever called, never anything beside a run, and only with our own objects as its first arguments:
what a recorded run names must be a function or class of a module that can be imported here, defined in that very module, in a
file with the recorded bytes, and no part of Python itself.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from speedcore.errors import PluginError, notice

NETWORKS, TECHNIQUES, AUGMENTATIONS = "speedcore.networks", "speedcore.techniques", "speedcore.augmentations"
DATASETS, METHODS, SECTIONS = "speedcore.datasets", "explain.methods", "reports.sections"

# Our own modules go by the project's version and not by their bytes: a comment must not rename a recipe.
_OURS = "speedcore"


def entry_points(group: str) -> dict[str, str]:
    """Name -> "module:object" of what installed packages offer under `group`; nothing is imported."""
    return {point.name: f"{point.module}:{point.attr}" for point in metadata.entry_points(group=group)}


def loaded(group: str) -> dict[str, Any]:
    """Name -> object of what installed packages offer under `group`. What cannot be imported is told and left out."""
    found = {}
    for point in metadata.entry_points(group=group):
        try:
            found[point.name] = point.load()
        except Exception as error:
            notice(f"entry point '{point.name}' of {group} ({point.value}) is left out: {type(error).__name__}: {error}")
    return found


def import_path(code: str | Callable[..., Any], group: str, known: Mapping[str, str] | None = None) -> str:
    """"module:name" of a function or class, of an entry point of `group`, or of a name in `known`; a path as it is.

    Raises PluginError for what could not be imported again: a lambda, what is inside a function, what is in a script.
    """
    if isinstance(code, str):
        if ":" in code:
            return code
        names = {**(known or {}), **entry_points(group)}
        if code not in names:
            raise PluginError(f"'{code}' is no entry point of {group} (there are {', '.join(sorted(names)) or 'none'}); write "
                              f"module:name for code that is in a module.")
        return names[code]
    module, name = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if not (callable(code) and module and name):
        raise PluginError(f"{type(code).__name__} is no code that can be found again: give a function or a class, not what it "
                          f"made (functools.partial for its arguments).")
    if "<" in name or module == "__main__":
        where = "a script or notebook" if module == "__main__" else "another function, or without a name"
        raise PluginError(f"'{name}' is defined in {where} and cannot be imported again when its run is replayed or explained; "
                          f"put it into a module (a file NAME.py beside yours) and import it from there.")
    return f"{module}:{name}"


def taken_apart(code: Any) -> tuple[Any, dict[str, Any]]:
    """(code, arguments by name) of a functools.partial; of anything else the thing itself and no arguments."""
    if not isinstance(code, partial):
        return code, {}
    if code.args:
        raise PluginError(f"functools.partial of {code.func!r}: give its arguments by name.")
    return code.func, dict(code.keywords)


def sha256_of(path: str) -> str:
    """Of the source file that "module:name" is in; "" for our own modules. Raises PluginError where there is none."""
    module = path.partition(":")[0]
    if module.partition(".")[0] == _OURS:
        return ""
    return hashlib.sha256(source(path).read_bytes()).hexdigest()


def imported(path: str) -> Any:
    """What "module:name" stands for; raises whatever importing it does."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def load(path: str, sha256: str = "") -> Callable[..., Any]:
    """The function or class "module:name". sha256: what its source file must have. Raises PluginError."""
    module = path.partition(":")[0]
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise PluginError(f"'{path}' is a part of Python itself and no code for a recipe.")
    if sha256 and (found := sha256_of(path)) != sha256:
        raise PluginError(f"'{path}' is not the code that the recipe was made with: its file {source(path)} has the sha256 "
                          f"{found[:12]}…, the recipe names {sha256[:12]}…; bring the old file back, or leave sha256 out of the "
                          f"recipe to train anew with this one.")
    try:
        code = imported(path)
    except Exception as error:  # whatever the module does when it is imported
        raise PluginError(f"'{path}' cannot be imported: {type(error).__name__}: {error}.") from error
    if not callable(code) or getattr(code, "__module__", None) != module:
        raise PluginError(f"'{path}' is not a function or class defined in {module}; name the module that defines it, whose file "
                          f"the recipe is to remember.")
    return code


def source(path: str) -> Path:
    """The source file that "module:name" is in. Raises PluginError where there is none."""
    module, _, name = path.partition(":")
    if not (module and name):
        raise PluginError(f"'{path}' is no import path; write module:name.")
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        spec = None
    except Exception as error:  # a parent package is imported on the way
        raise PluginError(f"'{path}' is not here: {type(error).__name__}: {error}.") from error
    if spec is None or not spec.has_location or not (file := Path(spec.origin or "")).is_file():
        raise PluginError(f"'{path}' is not here: there is no module '{module}' with a source file. Install its package, or put "
                          f"its folder on PYTHONPATH.")
    return file
