"""How many rows a file can hold at most, told without reading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import pyarrow.parquet as pq

from mmrlhf_jobs.data.parquet import arrow_errors
from mmrlhf_jobs.data.plain_bytes import packing_of
from mmrlhf_jobs.sampling.corpora.sources import Split
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["Extent", "extent_of", "extents_from"]

_ANY_BYTES: Final = 2
"""The shortest line that is a row, if a broken one: ``x``, and its end."""

_SOUND_BYTES: Final = 12
"""The shortest row that is no fault, one without media: ``{"texts":[]}``. A question with its
answer takes more, also where several are in one conversation."""


@dataclass(frozen=True)
class Extent:
    """At most so many rows.

    Attributes:
        any: Rows of any kind, left out or not.
        sound: Rows that are no fault: candidates, and those that are none by nature.
    """

    any: int = 0
    sound: int = 0

    def __add__(self, other: Extent) -> Extent:
        """Rows of both."""
        return Extent(self.any + other.any, self.sound + other.sound)


_UNKNOWN: Final = Extent(1 << 62, 1 << 62)
"""Of a compressed file, which may hold a thousand times its size."""


def extent_of(split: Split) -> Extent:
    """Most rows of a file: by its size, or by the number of values that Parquet's footer tells.

    Raises:
        DataError: A Parquet file has no footer.
        StorageError: The store does not answer.
    """
    if packing_of(split.uri):
        return _UNKNOWN
    if split.format != "parquet":
        size = split.fingerprint.size
        return Extent(size // _ANY_BYTES + 1, size // _SOUND_BYTES + 1)
    with (
        storage_errors(split.uri, "read"),
        split.location.fs.open(split.location.path, "rb") as handle,
        arrow_errors(split.uri),
        pq.ParquetFile(handle) as file,
    ):
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    # Every turn of a conversation is at least one value of some column.
    values = sum(
        max(group.column(number).num_values for number in range(group.num_columns))
        for group in groups
    )
    return Extent(values, values)


def extents_from(splits: Sequence[Split]) -> list[Extent]:
    """Most rows of the splits from each place on, and of none at last."""
    return [*accumulate(map(extent_of, reversed(splits)), initial=Extent())][::-1]
