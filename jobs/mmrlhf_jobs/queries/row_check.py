"""A look at every row before the first step: what cannot be used is found at once, not by an hour.

Whether a sequence fits the model depends on its tokenizer, so the validation of the data set, which
knows no model, cannot tell; and whether an image can be decoded shows only when it is. What is
found is held to the same budget as what the validation found.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import check_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.report import KINDS, RowProblem
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["UnusableRows", "find_unusable"]

_DECODERS: Final = 4
_CHUNK: Final = 32
_LISTED: Final = 20


@dataclass(frozen=True)
class UnusableRows:
    """Rows that cannot be used, over all processes.

    Attributes:
        ordinals: Their ordinals, in order.
        counts: Their number by kind.
        problems: The first of them.
    """

    ordinals: tuple[int, ...]
    counts: dict[str, int]
    problems: tuple[RowProblem, ...]


def find_unusable(
    dataset: RankedDataset,
    check: Callable[[RankedResponse], None],
    *,
    runtime: Runtime,
    storage: StorageOptions | None = None,
    media: bool = True,
) -> UnusableRows:
    """Decode the media of all records and check them, shared among the processes.

    Args:
        dataset: Records.
        check: Raises DataError on a record that cannot be used.
        runtime: Process group.
        storage: How to reach an object store.
        media: False where they were decoded before.

    Raises:
        StorageError: The store does not answer.
    """
    numbers = {file.uri: number for number, file in enumerate(dataset.files)}
    ordinals: list[int] = []
    counts: Counter[str] = Counter()
    listed: list[tuple[int, str, str, int, str, str]] = []
    for record, error in _checked(dataset, check, runtime, storage, media=media):
        place = record.location
        ordinal = dataset.index.ordinal(numbers[place.file or ""], place.row or 0)
        kind = KINDS.get(error.fault or "", "unusable")
        ordinals.append(ordinal)
        counts[kind] += 1
        field = error.field or ""
        listed.append((ordinal, kind, place.file or "", place.row or 0, field, error.reason))
        # Of all processes together some are shown; rows come in another order than they lie.
        listed = sorted(listed)[:_LISTED]
    everywhere = runtime.gather((ordinals, dict(counts), listed))
    total: Counter[str] = Counter()
    for _, found, _ in everywhere:
        total.update(found)
    problems = sorted(
        RowProblem(ordinal, KINDS[kind], file, row, field or None, reason)
        for _, _, shown in everywhere
        for ordinal, kind, file, row, field, reason in shown
    )
    found_ordinals = sorted(ordinal for mine, _, _ in everywhere for ordinal in mine)
    return UnusableRows(tuple(found_ordinals), dict(total), tuple(problems[:_LISTED]))


def _checked(
    dataset: RankedDataset,
    check: Callable[[RankedResponse], None],
    runtime: Runtime,
    storage: StorageOptions | None,
    *,
    media: bool,
) -> Iterator[tuple[RankedResponse, DataError]]:
    """This process's records that cannot be used, and why."""
    folders = dataset.media_folders

    def media_of(record: RankedResponse) -> DataError | None:
        try:
            if media:
                check_media(record, folders, storage=storage)
        except DataError as error:
            return error
        return None

    records = dataset.share(rank=runtime.rank, world_size=runtime.world_size)
    # Pillow decodes without Python's lock; tokenizers are not asked by several threads at once.
    with ThreadPoolExecutor(min(_DECODERS, os.cpu_count() or 1)) as pool:
        while chunk := list(islice(records, _CHUNK)):
            for record, broken in zip(chunk, pool.map(media_of, chunk), strict=True):
                if broken is not None:
                    yield record, broken
                    continue
                try:
                    check(record)
                except DataError as error:
                    yield record, error
