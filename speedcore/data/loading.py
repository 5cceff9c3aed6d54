"""Data sets by name: find the bytes, decode them, say where they came from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from speedcore.clock import Ledger, Phase
from speedcore.data import local, sources
from speedcore.data.cache import Cache
from speedcore.data.dataset import Dataset, Provenance
from speedcore.data.dataset_files import DatasetFiles, NotFound, RawDataset
from speedcore.data.folder import folders
from speedcore.data.folder.tree import shown
from speedcore.data.formats.archives import ARCHIVE_SUFFIXES, is_archive
from speedcore.data.published import resolved
from speedcore.data.sets import KNOWN, NAMES
from speedcore.data.sets import of as known_of
from speedcore.errors import DataError

ENVIRONMENT = "SPEEDCORE_DATA"
FOLDER = "folder:"


@dataclass(frozen=True)
class Listing:
    """One row of a listing of data sets. Counts, size, mean and std are empty where the set was not found.

    found: can it be loaded? source: where from; reason: why not; summary: of what was found, for people.
    size: (channels, height, width).
    """

    name: str
    found: bool
    source: str = ""
    path: Path | None = None
    official: bool = False
    classes: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    train: int = 0
    test: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fingerprint: str = ""
    note: str = ""
    reason: str = ""
    summary: str = ""


def load(name: str, data: Path | str | None = None, offline: bool = False, cache: Path | str | None = None,
         ledger: Ledger | None = None) -> Dataset:
    """The data set `name`: one of NAMES, `shapes:corner=0.9` or the like, or `folder:PATH`.

    data: a folder (or an archive) to look in first; the environment's SPEEDCORE_DATA where None. Then the cache, then,
    unless `offline`, torchvision's download and package mirrors. The data set of `folder:PATH` is called after the folder
    alone, and found again under that name where it lies in `data`. Time is charged to the ledger's PROVISION and LOAD.
    Raises DataError naming every place tried and why it failed, or the file that is at fault.
    """
    name = check_name(name)
    store = Cache.at(cache)
    ledger = ledger or Ledger()
    before = ledger.seconds()
    with ledger.phase(Phase.PROVISION):
        found = _find(name, data, store) or _obtain(name, data, store, offline)
    with ledger.phase(Phase.LOAD):
        decoded = _decoded(found, store)
        dataset = Dataset.make(own_name(name), decoded.classes, decoded.train, decoded.test,
                               Provenance(found.source, decoded.official, note=decoded.note))
    after = ledger.seconds()
    seconds = {str(phase): after.get(phase, 0.0) - before.get(phase, 0.0) for phase in (Phase.PROVISION, Phase.LOAD)}
    return replace(dataset, provenance=replace(dataset.provenance, seconds=seconds))


def locate(name: str, data: Path | str | None = None, cache: Path | str | None = None) -> Listing:
    """Where `name` lies on this machine, without reading more than folders: no decoding, no network."""
    try:
        name = check_name(name)
        found = _find(name, data, Cache.at(cache))
    except DataError as error:
        return Listing(own_name(name), False, reason=str(error))
    if found is None:
        titles = " and ".join(source.title for source in KNOWN[name].sources) or "nothing else"
        return Listing(name, False, reason=f"not on this machine; `load` tries {titles}")
    return Listing(own_name(name), True, found.source, found.path)


def describe(name: str, data: Path | str | None = None, offline: bool = False, cache: Path | str | None = None) -> Listing:
    """Load `name` and describe it; where it is not available, say why. Never raises DataError."""
    try:
        dataset = load(name, data, offline, cache)
    except DataError as error:
        return Listing(own_name(name), False, reason=str(error))
    provenance = dataset.provenance
    return replace(locate(name, data, cache), found=True, source=provenance.source,
                   official=provenance.official, classes=dataset.classes, size=(dataset.channels, *dataset.size),
                   train=len(dataset.train), test=len(dataset.test), mean=dataset.mean, std=dataset.std,
                   fingerprint=dataset.fingerprint, note=provenance.note, reason="", summary=dataset.summary)


def available(data: Path | str | None = None, cache: Path | str | None = None) -> tuple[Listing, ...]:
    """`locate` for every name in NAMES."""
    return tuple(locate(name, data, cache) for name in NAMES)


def check_name(name: str) -> str:
    """The usual spelling of a data set's name; looks at no file. Raises DataError unless it has the form of one."""
    if name.startswith(FOLDER) and name != FOLDER:
        return name
    if (known := known_of(name)) and known.spelling:
        return resolved(known.spelling)(name)
    if name in KNOWN:
        return name
    guess = difflib.get_close_matches(name.lower().replace("_", "-"), NAMES, 1)
    variants = [variant for known in KNOWN.values() for variant in known.variants]
    raise DataError(f"unknown data set '{name}'{f' (did you mean {guess[0]}?)' if guess else ''}. Known: "
                    f"{', '.join([*NAMES, *variants])}, folder:PATH.")


def own_name(name: str) -> str:
    """The name of a data set in records and reports: `folder:PATH` without what lies around the folder."""
    if not name.startswith(FOLDER):
        return name
    return FOLDER + shown(Path(os.path.abspath(name.removeprefix(FOLDER))).name or "root")


def _find(name: str, data: Path | str | None, store: Cache) -> DatasetFiles | None:
    """The set on this machine, None if it is not there. Raises DataError for files that are there but unusable."""
    if name.startswith(FOLDER):
        return _folder(name.removeprefix(FOLDER), data or os.environ.get(ENVIRONMENT))
    if (known := known_of(name)) and known.make:
        return resolved(known.make)(name)
    for place in _places(data, store):
        try:
            return local.find(place, name)
        except NotFound:
            continue
    return None


def _places(data: Path | str | None, store: Cache) -> Iterator[Path]:
    if given := data or os.environ.get(ENVIRONMENT):
        option = "--data" if data else ENVIRONMENT
        place = _path(given, option)
        if not _exists(place, option):
            raise DataError(f"{place}, given as {option}, does not exist. Name the folder that holds the data sets.")
        yield place
    yield store.root


def _path(text: Path | str, option: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise DataError(f"{option} {text}: {str(error).rstrip('.')}. Write the path out.") from None


def _exists(path: Path, option: str) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # too long, not permitted, a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{option} {path}: {reason}. Name a folder that can be read.") from None
    return True


def _folder(text: str, data: Path | str | None) -> DatasetFiles:
    path = _path(text, "folder:")
    places = [path]
    if data and not path.parts[1:]:  # a bare name, as records have it
        place = _path(data, "--data")
        places += [place / path, *([place] if place.name == path.name else [])]
    found = next((place for place in places if _exists(place, "folder:")), None)
    if found is None:
        raise DataError(f"folder:{text}: there is no such folder or archive. Name a folder that holds train/<class>/<image> and "
                        "test/<class>/<image>; of a recorded name, give --data the folder that it lies in.")
    if not (found.is_dir() or found.is_file() and is_archive(found)):
        raise DataError(f"folder:{text} is neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)}). Name the folder that "
                        "holds the class folders.")
    source = f"class folders in {own_name(f'{FOLDER}{found}').removeprefix(FOLDER)}"
    return DatasetFiles(source, found, partial(folders.decode, found), partial(folders.content_key, found))


def _obtain(name: str, data: Path | str | None, store: Cache, offline: bool) -> DatasetFiles:
    reasons = []
    for source in KNOWN[name].sources:
        try:
            files = sources.obtain(name, source, offline)
        except NotFound as reason:
            reasons.append(f"{source.title}: {reason}")
            continue
        return local.find(store.keep(name, files, source.title).parent, name)
    raise DataError("\n".join([f"data set '{name}' is not available. Tried:",
                               *(f"  - {line}" for line in [*_local_reasons(name, data, store), *reasons]),
                               f"What to do: {_advice(name, offline)}"]))


def _local_reasons(name: str, data: Path | str | None, store: Cache) -> Iterator[str]:
    if not (data or os.environ.get(ENVIRONMENT)):
        yield f"--data and {ENVIRONMENT}: not given"
    for place in _places(data, store):
        try:
            local.find(place, name)
        except NotFound as reason:
            yield f"{'the user cache: ' if place == store.root else ''}{reason}"


def _advice(name: str, offline: bool) -> str:
    known = KNOWN[name]
    files = known.archive or known.idx and f"{', '.join(known.idx)} (.gz or not)"
    again = " or call again without --offline," if offline else ""
    return (f"put {f'{files}, or ' if files else ''}class folders of the images (train/<class>/…, test/<class>/…) or an archive "
            f"of them named {name}.tar.xz, into a folder and name it with --data or {ENVIRONMENT};{again} or go on "
            "without this data set.")


def _decoded(found: DatasetFiles, store: Cache) -> RawDataset:
    if found.key is None:
        return found.decode()
    key = found.key()
    if (decoded := store.read(key)) is None:
        decoded = found.decode()
        store.write(key, decoded)
    return decoded
