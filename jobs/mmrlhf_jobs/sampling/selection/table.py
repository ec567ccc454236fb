"""Candidates as columns: what decides which are picked, without their texts.

The columns are NumPy arrays of one length; row ``i`` of each belongs to one candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES

__all__ = ["SCHEMA", "Candidates", "Ids", "Keys", "category_number", "to_keys"]

Keys = npt.NDArray[np.bytes_]
"""Digests of media, S32[N]."""

Ids = npt.NDArray[np.bytes_]
"""Record ids as ASCII, S32[N]."""

_TYPES: Final = {
    "media": pa.binary(32),
    "record_id": pa.binary(32),
    "category": pa.int8(),
    "key": pa.float64(),
    "tie": pa.uint64(),
    "block": pa.int32(),
    "row": pa.int32(),
    "cluster": pa.int32(),
    "distance": pa.float32(),
}


SCHEMA: Final = pa.schema(list(_TYPES.items()))
"""Of candidates as a table."""


@dataclass(frozen=True)
class Candidates:
    """Some candidates.

    Attributes:
        media: SHA-256 of the first medium, which places the candidate in a cluster.
        record_id: Id of the record.
        category: Number of its type in :data:`~.quotas.CATEGORIES`.
        key: The lower, the sooner it is picked.
        tie: Digest of what differs between two rows of one id; the lower one stands for both.
        block: Number of its block among all blocks of the run.
        row: 0-based row in the block.
        cluster: Its cluster; -1 while that is not known.
        distance: Distance of its medium to the centre; NaN while that is not known.
    """

    media: Keys
    record_id: Ids
    category: npt.NDArray[np.int8]
    key: npt.NDArray[np.float64]
    tie: npt.NDArray[np.uint64]
    block: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]
    cluster: npt.NDArray[np.int32]
    distance: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.key)

    def take(self, rows: npt.NDArray[Any]) -> Candidates:
        """Some of them, by numbers or by a mask."""
        return Candidates(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    @classmethod
    def join(cls, parts: Sequence[Candidates]) -> Candidates:
        """All of several."""
        if not parts:
            return cls.from_arrow(SCHEMA.empty_table())
        return cls(
            **{
                each.name: np.concatenate([getattr(part, each.name) for part in parts])
                for each in fields(cls)
            }
        )

    def to_arrow(self) -> pa.Table:
        """As a table, digests as 32 raw bytes."""
        columns = {}
        for name, kind in _TYPES.items():
            values = getattr(self, name)
            if kind == pa.binary(32):
                buffer = pa.py_buffer(np.ascontiguousarray(values).tobytes())
                columns[name] = pa.Array.from_buffers(kind, len(values), [None, buffer])
            else:
                columns[name] = pa.array(values, kind)
        return pa.table(columns, schema=SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Candidates:
        """From what :meth:`to_arrow` made."""
        columns: dict[str, Any] = {}
        for name, kind in _TYPES.items():
            column = table.column(name)
            columns[name] = to_keys(column) if kind == pa.binary(32) else column.to_numpy()
        return cls(**columns)


def to_keys(column: pa.ChunkedArray) -> Keys:
    """A column of 32 raw bytes as an array."""
    array = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    raw = np.frombuffer(array.buffers()[1] or b"", dtype="S32")
    keys: Keys = raw[array.offset : array.offset + len(array)]
    return keys


def category_number(name: Category) -> int:
    """Number of a type."""
    return CATEGORIES.index(name)
