"""The studies beside the runs that are no ladders, read back."""

from __future__ import annotations

from collections.abc import Iterator

from speedcore.store.runs import RunStore
from speedcore.studies import batch_norm_scales, compute_bound, forgetting, lr_by_dataset_size, lr_finder
from speedcore.studies.records import StudyRecord, stored

KINDS: dict[str, type[StudyRecord]] = {
    lr_finder.NAME: lr_finder.RangeRecord, lr_by_dataset_size.NAME: lr_by_dataset_size.SizeRecord,
    forgetting.NAME: forgetting.ForgettingRecord, batch_norm_scales.NAME: batch_norm_scales.ScalesRecord,
    compute_bound.NAME: compute_bound.BoundRecord}


def load_all(store: RunStore) -> Iterator[StudyRecord]:
    """All of them, study by study."""
    for name, kind in KINDS.items():
        yield from stored(store, name, kind)
