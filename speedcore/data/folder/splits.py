"""Folders that name a split, and when a set of folders is one of splits rather than of classes.

Names alone cannot tell: `train` may be a class beside `bus`. What is certain is read; of what is not, both readings are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from speedcore.data.folder.tree import shown
from speedcore.errors import DataError

TRAIN, TEST, VALIDATION = "train", "test", "validation"
_ALIASES = {**dict.fromkeys(("train", "training", "trn"), TRAIN),
            **dict.fromkeys(("test", "testing", "tst", "holdout"), TEST),
            **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), VALIDATION)}
# Words that say nothing beside one of the above.
_FILLERS = frozenset({"set", "split", "folder", "data", "dataset", "image", "images", "img", "imgs", "picture", "pictures",
                      "photo", "photos", "file", "files", "sample", "samples", "example", "examples", "png", "jpg", "jpeg"})
_GLUED = re.compile(f"({'|'.join(_ALIASES)})({'|'.join(sorted(_FILLERS))})")


@dataclass(frozen=True)
class Splits:
    """Names of the folders that hold the splits. unlabelled: a test folder without class folders."""

    train: str
    test: str | None = None
    validation: str | None = None
    unlabelled: str | None = None


def split_of(name: str) -> str | None:
    """The split that a folder's name stands for: train, Training, valid, test_images, TrainSet; None for any other."""
    found = _about(name)
    return found[0] if found and not set(found[1]) - _FILLERS else None


def is_filler(name: str) -> bool:
    """Does a folder's name say nothing, as `images` does?"""
    return bool(words := _words(name)) and set(words) <= _FILLERS


def splits_of(folders: Mapping[str, frozenset[str]]) -> Splits | None:
    """What folders side by side mean as splits; None where they are classes.

    folders: name -> the folders in it that hold images, empty where images lie in it directly alone. Raises DataError naming
    both readings where two are possible, or what is missing.
    """
    kinds = _kinds(folders)
    others = [name for name in folders if name not in kinds]
    if not kinds:
        return None
    by_kind = {kind: [name for name in kinds if kinds[name] == kind] for kind in dict.fromkeys(kinds.values())}
    nested = [name for name in kinds if folders[name]]
    if others:
        if set(by_kind) == {TRAIN} and not nested:
            return None  # images of trains beside those of buses
        inner = [folders[name] for name in nested]
        if len(by_kind) < 2 or TRAIN not in by_kind or len(inner) < 2 or not frozenset.intersection(*inner):
            raise _ambiguous(list(kinds), others)
    for kind, names in by_kind.items():
        if len(names) > 1:
            raise DataError(f"{_listed(names)} both name the {kind} split, and which is meant cannot be told. Put their class "
                            "folders into one, or take one of them away.")
    if TRAIN not in by_kind:
        raise DataError(f"no image in train/<class>/, only {_listed(kinds)}. Put the training images into train/<class>/<image>.")
    (train,) = by_kind[TRAIN]
    if not folders[train]:
        raise DataError(f"no image in {shown(train)}/<class>/: they lie directly in {_listed(kinds)}. Read as splits, these hold "
                        f"no class folders; read as classes, they would be {_listed(kinds)}. Neither is taken. Lay them out as "
                        "train/<class>/<image> and test/<class>/<image>.")
    test, validation = (next(iter(by_kind.get(kind, ())), None) for kind in (TEST, VALIDATION))
    labelled = test if test and folders[test] else None
    return Splits(train, labelled, validation, None if labelled else test)


def _kinds(folders: Mapping[str, object]) -> dict[str, str]:
    """Folder -> split, of those that name one: by themselves, or with others like pets_train and pets_test."""
    about = {name: found for name in folders if (found := _about(name))}
    families: dict[tuple[str, ...], set[str]] = {}
    for kind, rest in about.values():
        families.setdefault(rest, set()).add(kind)
    kinds = {name: kind for name, (kind, rest) in about.items()
             if not set(rest) - _FILLERS or TRAIN in families[rest] and len(families[rest]) > 1}
    if not kinds and len(about) == len(folders) > 1 and len({kind for kind, _ in about.values()}) > 1:
        raise _ambiguous(list(about), [])
    return kinds


def _ambiguous(splits: list[str], others: list[str]) -> DataError:
    beside = f", and {_listed(others)} {'is' if len(others) == 1 else 'are'} left out" if others else ""
    are = "is a split" if len(splits) == 1 else "are splits"
    return DataError(
        f"the folders can be read in two ways: {_listed(splits)} {are}{beside}; or each of {_listed([*splits, *others])} is a "
        "class. Neither is taken. Give the splits a folder of their own "
        "(train/<class>/<image>, test/<class>/<image>), or rename the class.")


def _about(name: str) -> tuple[str, tuple[str, ...]] | None:
    """(split, the other words) of a name in which exactly one word is a split's."""
    words = _words(name)
    kinds = [_ALIASES[word] for word in words if word in _ALIASES]
    return (kinds[0], tuple(word for word in words if word not in _ALIASES)) if len(kinds) == 1 else None


def _words(name: str) -> list[str]:
    parts = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()
    words: list[str] = []
    for word in filter(None, re.split(r"[^a-z0-9]+", parts)):
        glued = _GLUED.fullmatch(word)
        words += glued.groups() if glued else [word]
    return words


def _listed(names: Iterable[str]) -> str:
    quoted = [f"'{shown(name)}'" for name in names]
    listed = quoted if len(quoted) <= 8 else [*quoted[:7], f"{len(quoted) - 7} more"]
    return " and ".join(filter(None, [", ".join(listed[:-1]), listed[-1]]))
