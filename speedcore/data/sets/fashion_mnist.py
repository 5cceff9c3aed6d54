"""Fashion-MNIST: 70,000 articles of clothing, 28×28 grey. Checksums are those of the original distribution."""

from pathlib import Path

from speedcore.data.published import TORCHVISION, Manifest, Source

# Debian's package, installed or only downloaded, for networks that reach nothing but a package mirror.
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

SET = Manifest(
    "fashion-mnist", ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    place=2, title="Fashion-MNIST", on_black=True, torchvision="FashionMNIST",
    sources=(TORCHVISION, Source(f"Debian's package {DEBIAN_PACKAGE}", "speedcore.data.mirrors:debian")),
    idx={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    })
