"""Writing and merging of side-cars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.errors import SidecarError
from mmrlhf_jobs.scores.file_format import ValueArray, key_array, open_file, schema
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["SidecarWriter", "merge"]

_GROUP_ROWS: Final = 65_536


class SidecarWriter:
    """Writes a side-car as a stream; the file appears when the ``with`` block ends well.

    Args:
        uri: Parquet file to write.
        identity: What the values are computed with.
        storage: Where the object store is, for ``s3://``.
    """

    def __init__(
        self, uri: str, identity: SidecarIdentity, *, storage: StorageOptions | None = None
    ) -> None:
        self._uri = uri
        self._schema = schema(identity)
        self._storage = storage
        self._resources = ExitStack()
        self._rows: list[tuple[bytes, float, str, str, str | None]] = []

    def __enter__(self) -> Self:
        with self._resources as resources:
            path = resources.enter_context(new_file(self._uri, self._storage))
            self._file = resources.enter_context(pq.ParquetWriter(path, self._schema))
            self._resources = resources.pop_all()
        return self

    def write(
        self,
        keys: Sequence[bytes],
        values: Sequence[float] | ValueArray,
        *,
        record_id: str,
        response_ids: Sequence[str],
        critiques: Sequence[str | None] | None = None,
    ) -> None:
        """Add the values of one record's responses.

        Args:
            keys: 32 bytes each (:func:`mmrlhf_jobs.scores.keys.record_keys`).
            values: One for each key.
            record_id: The record, for people and messages.
            response_ids: One for each key.
            critiques: One for each key, where a reward was read after a critique.

        Raises:
            SidecarError: A value is not finite.
            StorageError: The disk is full or the store fails.
        """
        texts = [None] * len(keys) if critiques is None else critiques
        for key, value, response_id, text in zip(keys, values, response_ids, texts, strict=True):
            if not math.isfinite(value):
                raise SidecarError(
                    f"{self._uri}: the value of record {record_id!r}, response {response_id!r} is"
                    f" {value}; the model gives no finite score for it"
                )
            self._rows.append((key, float(value), record_id, response_id, text))
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._resources as resources:
            if error is None:
                self._flush()
                resources.pop_all().close()
            else:
                resources.__exit__(kind, error, trace)

    def _flush(self) -> None:
        if self._rows:
            columns = [list(column) for column in zip(*self._rows, strict=True)]
            self._file.write_table(pa.table(columns, schema=self._schema))
            self._rows = []


def merge(
    parts: Sequence[str],
    out: str,
    *,
    tolerance: float = 0.0,
    storage: StorageOptions | None = None,
) -> int:
    """Merge the side-cars that several processes wrote into one, sorted by key.

    All rows are held in memory, about 200 bytes a response.

    Args:
        parts: Files of the same identity.
        out: File to write, with every key once.
        tolerance: Largest difference between two values of one key, relative to their size and
            at least to 1. Sums of the same log-probabilities differ a little when they were
            computed in batches of different shape. The value of the first part is kept.
        storage: Where the object store is, for ``s3://``.

    Returns:
        Number of responses written.

    Raises:
        SidecarError: A part is missing or of another identity, or two values of one response
            differ by more than the tolerance.
        StorageError: The disk is full or the store fails.
    """
    tables = []
    identity: SidecarIdentity | None = None
    for part in parts:
        file, found = open_file(part, storage)
        with file:
            identity = identity or found
            if found != identity:
                raise SidecarError(f"{part}: made with {found}, but {parts[0]} with {identity}")
            tables.append(file.read())
    if identity is None:
        raise SidecarError(f"{out}: there are no side-cars to merge into it")
    rows = pa.concat_tables(tables, promote_options="default")
    rows = rows.take(np.argsort(key_array(rows["key"]), kind="stable"))
    keys = key_array(rows["key"])
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]][: len(keys)])
    _check_repeated(rows, first, tolerance=tolerance, out=out)
    with new_file(out, storage) as path:
        pq.write_table(rows.take(first), path, row_group_size=_GROUP_ROWS)
    return len(first)


def _check_repeated(rows: pa.Table, first: np.ndarray, *, tolerance: float, out: str) -> None:
    """Compare every value with the first one of its key; ``first`` are the rows of those."""
    values = rows["value"].to_numpy()
    kept = np.repeat(first, np.diff(np.r_[first, len(values)]))
    allowed = tolerance * np.maximum(1.0, np.abs(values[kept]))
    clash = np.flatnonzero(~(np.abs(values - values[kept]) <= allowed))
    if len(clash):
        one, other = int(kept[clash[0]]), int(clash[0])
        names = [
            f"record {rows['record_id'][row]}, response {rows['response_id'][row]}: {values[row]!r}"
            for row in (one, other)
        ]
        raise SidecarError(
            f"{out}: {len(clash)} values differ for the same prompt, media and response, first"
            f" {names[0]} against {names[1]}; the parts were not made by the same model"
        )
