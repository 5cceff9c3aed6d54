"""CIFAR-10: 60,000 photographs, 32×32 RGB. Checksums are those of https://www.cs.toronto.edu/~kriz/cifar.html and torchvision."""

from speedcore.data.published import TORCHVISION, Manifest

SET = Manifest(
    "cifar10", ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    place=3, title="CIFAR-10", sources=(TORCHVISION,), torchvision="CIFAR10",
    archive="cifar-10-python.tar.gz", archive_md5="c58f30108f718f92721af3b95e74349a",
    pickles={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    })
