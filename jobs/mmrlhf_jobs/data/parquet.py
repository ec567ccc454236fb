"""Parquet files as blocks, one a row group.

Columns are those of :func:`mmrlhf_jobs.data.arrow_schema.record_schema`; ones that a record may
lack may be absent. A null is the same as an absent field. Maps such as ``ranking.ranks`` may also
be lists of ``{key, value}``, for writers that know no maps.

A row group is read as a whole. Writers make them much larger than the blocks of JSONL; where
memory is short, write the file again with smaller ones (``mmrlhf_jobs.data.writers`` does).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.blocks import BlockRows, ScannedBlock
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import DataFile
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.uris import storage_errors

__all__ = ["arrow_errors", "plain_rows", "read_block", "scan_blocks"]

_BATCH_ROWS: Final = 256
_SHOWN: Final = 200
_DAMAGED: Final = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, TypeError)
_FIELDS: Final = {
    field.alias or name: field.is_required() for name, field in RankedResponse.model_fields.items()
}


def scan_blocks(file: DataFile, digest: Any) -> Iterator[ScannedBlock]:  # noqa: ANN401 - hashlib names no type
    """Read a file from start to end, once for its digest and once for its rows.

    Args:
        file: The file.
        digest: A ``hashlib`` object, fed with all bytes.

    Yields:
        One block a row group; its rows are dictionaries.
    """
    with storage_errors(file.uri, "read"), file.location.fs.open(file.location.path, "rb") as data:
        while chunk := data.read(1 << 20):
            digest.update(chunk)
    with _open(file) as parquet:
        for name in parquet.schema_arrow.names:
            if name not in _FIELDS:
                raise DataError(
                    "unknown column; remove it or correct its name", file=file.uri, field=name
                )
        for group in range(parquet.num_row_groups):
            size = parquet.metadata.row_group(group).total_byte_size
            yield ScannedBlock(group, group + 1, size, _rows(file, parquet, group))


def plain_rows(file: DataFile) -> Iterator[Mapping[str, Any]]:
    """All rows of a file of any columns, as dictionaries without nulls."""
    with _open(file) as parquet:
        for group in range(parquet.num_row_groups):
            yield from _rows(file, parquet, group)


def read_block(file: DataFile, start: int, stop: int) -> BlockRows:
    """Read the row groups from ``start`` to ``stop``, exclusive."""
    with _open(file) as parquet:
        return _Rows(parquet.read_row_groups(list(range(start, stop))))


class _Rows:
    def __init__(self, table: pa.Table) -> None:
        self._table = _filled(table)

    def row(self, index: int) -> Mapping[str, Any]:
        return _record(self._table.slice(index, 1).to_pylist(maps_as_pydicts="strict")[0])


def _rows(file: DataFile, parquet: pq.ParquetFile, group: int) -> Iterator[Mapping[str, Any]]:
    with storage_errors(file.uri, "read"), arrow_errors(file.uri):
        for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group]):
            for row in _filled(batch).to_pylist(maps_as_pydicts="strict"):
                yield _record(row)


@contextmanager
def _open(file: DataFile) -> Iterator[pq.ParquetFile]:
    with (
        storage_errors(file.uri, "read"),
        file.location.fs.open(file.location.path, "rb") as data,
        arrow_errors(file.uri),
        pq.ParquetFile(data) as parquet,
    ):
        yield parquet


@contextmanager
def arrow_errors(uri: str) -> Iterator[None]:
    """Turn what Arrow raises over a damaged file into one clear error.

    Raises:
        DataError: The file is damaged, or holds what no row can: text that is not UTF-8, dates
            beyond the calendar, a key twice in one map.
    """
    try:
        yield
    except _DAMAGED as error:
        # Arrow says OSError without a number for damaged pages; a real one has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            "not a readable Parquet file, it is damaged or was cut short:"
            f" {str(error)[:_SHOWN] or type(error).__name__}",
            file=uri,
        ) from error


def _filled(table: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
    """Without columns of nothing but nulls: most optional fields are, and decoding them is slow."""
    keep = [
        name
        for name, column in zip(table.schema.names, table.columns, strict=True)
        if column.null_count < len(table) or _FIELDS.get(name, False)
    ]
    return table.select(keep)


def _record(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row without nulls, but for required fields: those must be named even when null."""
    return {
        name: _plain(value)
        for name, value in row.items()
        if value is not None or _FIELDS.get(name, False)
    }


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        if value and all(isinstance(one, dict) and set(one) == {"key", "value"} for one in value):
            return {one["key"]: one["value"] for one in value}
        return [_plain(one) for one in value]
    return value
