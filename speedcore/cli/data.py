"""python -m speedcore data: which data sets can be had, and from where."""

from __future__ import annotations

from speedcore.cli.console import console
from speedcore.cli.datasets import dataset_names
from speedcore.cli.options import DataDir, DatasetNames, Offline


def data(dataset: DatasetNames = None, data: DataDir = None, offline: Offline = False) -> None:
    """List each data set: where it was found, whether its bytes are the official ones, size, mean and std; then its classes, and
    how many files were used, left out and ignored, and why. All known ones where none is named."""
    from rich.markup import escape
    from rich.table import Table

    from speedcore.data import describe

    out = console(stderr=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("data set", "official", "train / test", "size", "mean", "std"):
        table.add_column(heading, no_wrap=True)
    table.add_column("found")
    words = []
    for name in dataset_names(dataset is None, dataset):
        row = describe(name, data, offline)
        words.append(row.summary or f"{row.name}: {row.reason}")
        if not row.found:
            table.add_row(escape(row.name), *["–"] * 5, "no: see below")
            continue
        values = [" ".join(f"{v:.3f}" for v in by_channel) for by_channel in (row.mean, row.std)]
        table.add_row(escape(row.name), "yes" if row.official else "no", f"{row.train:,} / {row.test:,}",
                      "×".join(map(str, row.size)), *values, escape(row.source))
    out.print(table)
    for line in words:
        out.print(f"\n{line}", markup=False, soft_wrap=True)
