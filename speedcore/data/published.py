"""What can be known of a data set before it is seen: class names, file names, checksums, where it can be had. Plain data.

Each known set is a file of `speedcore.data.sets`. Checksums of IDX files are of the decoded content (without gzip), so they hold
for every copy, however compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from speedcore import plugins

if TYPE_CHECKING:
    from speedcore.data.dataset_files import DatasetFiles

Code = TypeVar("Code", bound=Callable[..., Any])


@dataclass(frozen=True)
class Source:
    """A place outside this machine. how: `(name, offline)` -> the official files by name, or "module:function" of that, which is
    imported when it is used. It raises NotFound with the reason where they cannot be had."""

    title: str
    how: Callable[[str, bool], dict[str, bytes]] | str

    def get(self, name: str, offline: bool) -> dict[str, bytes]:
        return resolved(self.how)(name, offline)


@dataclass(frozen=True)
class Manifest:
    """A known data set.

    place: where it stands among the others, ascending. title: for people; the name where empty.
    idx: md5 by IDX file name; empty where the set is not published so.
    pickles: md5 of every pickle file; empty where there are none.
    archive, archive_md5: the published archive of the pickles.
    sources: where it can be had, in the order in which they are asked. torchvision: its class there.
    make: of a set that is made or read in its own way, `name` -> the files that hold it, instead of all of these; or
    "module:function" of that. spelling: checks and orders what may follow the name after a colon. variants: that, for people.
    mirrored: whether the mirror image of one of its images is one of the same class; that of a digit is not.
    on_black: whether its objects are grey on black ground, so that brightness tells the object.
    """

    name: str
    classes: tuple[str, ...] = ()
    idx: Mapping[str, str] = field(default_factory=dict)
    archive: str = ""
    archive_md5: str = ""
    pickles: Mapping[str, str] = field(default_factory=dict)
    place: int = 100
    title: str = ""
    sources: tuple[Source, ...] = ()
    torchvision: str = ""
    make: Callable[[str], DatasetFiles] | str | None = None
    spelling: Callable[[str], str] | str | None = None
    variants: tuple[str, ...] = ()
    mirrored: bool = True
    on_black: bool = False


def resolved(code: Code | str) -> Code:
    """The function itself, or that of "module:function"."""
    return plugins.imported(code) if isinstance(code, str) else code


TORCHVISION = Source("torchvision's download", "speedcore.data.sources:torchvision")

# Split -> (images, labels), the names that MNIST gave and Fashion-MNIST took over.
IDX_FILES: Mapping[str, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

# Split -> files of CIFAR-10's archive, in the published order.
CIFAR_FILES: Mapping[str, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
CIFAR_FOLDER = "cifar-10-batches-py"
