"""What is known of the published data sets: class names, file names, checksums. Plain data.

Checksums of IDX files are of the decoded content (without gzip), so they hold for every copy, however compressed.
Sources: the MNIST and Fashion-MNIST distributions, https://www.cs.toronto.edu/~kriz/cifar.html, torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Manifest:
    """A published data set.

    idx: md5 by IDX file name; empty where the set is not published so.
    pickles: md5 of every pickle file; empty where there are none.
    archive, archive_md5: the published archive of the pickles.
    """

    name: str
    classes: tuple[str, ...]
    idx: Mapping[str, str] = field(default_factory=dict)
    archive: str = ""
    archive_md5: str = ""
    pickles: Mapping[str, str] = field(default_factory=dict)


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

PUBLISHED: Mapping[str, Manifest] = {known.name: known for known in (
    Manifest("mnist", tuple("0123456789"), idx={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }),
    Manifest("fashion-mnist", ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
                                "Bag", "Ankle boot"), idx={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    }),
    Manifest("cifar10", ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
              archive="cifar-10-python.tar.gz", archive_md5="c58f30108f718f92721af3b95e74349a", pickles={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    }),
)}
