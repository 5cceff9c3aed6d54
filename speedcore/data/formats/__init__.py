"""Bytes to pixels: archives, IDX files, the batches of CIFAR, pictures. Each reader is given limits and trusts nothing."""
