"""Finding a published data set in a folder: official files, class folders, or an archive of class folders."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from speedcore.data.cache import SOURCE_FILE
from speedcore.data.dataset_files import DatasetFiles, NotFound, RawDataset
from speedcore.data.folder import folders
from speedcore.data.folder.splits import TRAIN, split_of
from speedcore.data.formats import cifar, idx
from speedcore.data.formats.archives import ARCHIVE_SUFFIXES, is_archive
from speedcore.data.published import CIFAR_FOLDER, IDX_FILES, Manifest
from speedcore.data.sets import KNOWN
from speedcore.errors import DataError

NOT_OFFICIAL = "not the official files: {}"


def find(place: Path, name: str) -> DatasetFiles:
    """Data set `name` in the folder `place` or in its subfolder of that name; `place` may be an archive, too.

    Raises NotFound where there is nothing of that name, DataError where there is and it is incomplete.
    """
    known = KNOWN[name]
    if place.is_file():
        if not _named(place, name) and any(_named(place, other) for other in KNOWN):
            raise NotFound(f"{place} is another data set, by its name")
        return _archive(place, known)
    for folder, own in _places(place, name):
        for look in (_idx, _cifar, _class_folders, _archives):
            if found := look(folder, known, own):
                return found
    raise NotFound(f"{place} holds neither the official files of '{name}', nor class folders of its classes, nor an "
                  f"archive of them named {name}*")


def _places(place: Path, name: str) -> Iterator[tuple[Path, bool]]:
    """(folder, is it the data set's own) where to look; torchvision's layout, NAME/raw, among them."""
    try:
        inner = sorted(path for path in place.iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{place} does not exist yet") from None
    except OSError as error:
        raise DataError(f"{place} cannot be read ({error.strerror or error}). Make it readable, or name another "
                        "folder.") from error
    yield place, False
    for path in inner:
        if folders.spelling(path.name) == folders.spelling(name):
            yield path, True
            if (path / "raw").is_dir():
                yield path / "raw", True


def _idx(folder: Path, known: Manifest, own: bool) -> DatasetFiles | None:
    if not known.idx:
        return None
    paths = {name: path for name in known.idx for path in _idx_spellings(folder, name) if path.is_file()}
    # One folder may hold either set under the same file names; its own folder, or its checksums, tell which.
    if not paths or not own and _other_set(paths, known):
        return None
    if missing := sorted(known.idx.keys() - paths.keys()):
        raise DataError(f"{folder} holds IDX files but lacks {', '.join(missing)} (.gz or not). Put the missing files "
                        "there, or remove the others so that the next source is tried.")
    return DatasetFiles(f"IDX files{_origin(folder)}", folder, partial(idx.decode, paths, known))


def _idx_spellings(folder: Path, name: str) -> Iterator[Path]:
    for spelling in (name, name.replace("-idx", ".idx")):
        # The last one that exists is taken: a raw file before a packed one, for speed.
        yield folder / f"{spelling}.gz"
        yield folder / spelling


def _other_set(paths: dict[str, Path], known: Manifest) -> bool:
    labels = IDX_FILES["train"][1]
    if labels not in paths:
        return False
    md5 = hashlib.md5(idx.read_bytes(paths[labels])).hexdigest()
    return any(md5 == other.idx.get(labels) for other in KNOWN.values() if other is not known)


def _cifar(folder: Path, known: Manifest, own: bool) -> DatasetFiles | None:
    if not known.pickles:
        return None
    if (path := folder / CIFAR_FOLDER).is_dir():
        return DatasetFiles(f"official files in {CIFAR_FOLDER}", path, *_verified(path, known))
    if own and (folder / "test_batch").is_file():
        return DatasetFiles("official files, extracted", folder, *_verified(folder, known))
    if (path := folder / known.archive).is_file():
        return DatasetFiles(f"official archive {known.archive}{_origin(folder)}", path, *_verified(path, known))
    return None


def _verified(path: Path, known: Manifest) -> tuple[Callable[[], RawDataset], Callable[[], str]]:
    return partial(cifar.decode, path, known), partial(cifar.archive_key, path)


def _class_folders(folder: Path, known: Manifest, own: bool) -> DatasetFiles | None:
    train = next((path for path in sorted(folder.iterdir()) if split_of(path.name) == TRAIN and path.is_dir()), None)
    if train is None:
        return None
    classes = [path.name for path in train.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if not own and folders.class_order(classes, known.classes) is None:
        return None
    return _images(folder, f"class folders in {folder.name}", known)


def _archives(folder: Path, known: Manifest, own: bool) -> DatasetFiles | None:
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and is_archive(path)
             and (own or _named(path, known.name))]
    if len(paths) > 1:
        raise DataError(f"{folder} holds several archives for '{known.name}': {', '.join(path.name for path in paths)}. "
                        "Leave the one that is meant.")
    return _archive(paths[0], known) if paths else None


def _named(path: Path, name: str) -> bool:
    """Does the file name begin with the data set's? cifar10.tar and cifar-10-png.zip do, cifar100.tar does not."""
    mine, its = folders.spelling(name), folders.spelling(path.name)
    return its.startswith(mine) and not (mine[-1].isdigit() and its[len(mine):len(mine) + 1].isdigit())


def _archive(path: Path, known: Manifest) -> DatasetFiles:
    if not is_archive(path):
        raise DataError(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)}). Name the folder "
                        "that holds the data sets.")
    if known.archive == path.name:
        return DatasetFiles(f"official archive {path.name}", path, *_verified(path, known))
    return _images(path, f"class folders in {path.name}", known)


def _images(path: Path, source: str, known: Manifest) -> DatasetFiles:
    note = NOT_OFFICIAL.format(source)
    return DatasetFiles(source, path, partial(folders.decode, path, known.classes, note), partial(_key, path, known.name, note))


def _key(path: Path, name: str, note: str) -> str:
    # The classes' order and the note are part of the copy, the bytes alone do not tell them.
    return hashlib.sha256(f"{folders.content_key(path)} {name} {note}".encode()).hexdigest()


def _origin(folder: Path) -> str:
    """Where files that this project put into the cache came from, as was written beside them."""
    path = folder / SOURCE_FILE
    return f" from {path.read_text().strip()}" if path.is_file() else ""
