"""Writing of records, in one canonical form for each format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from mmrlhf_jobs.data.arrow_schema import record_schema
from mmrlhf_jobs.data.records import SCHEMA, RankedResponse
from mmrlhf_jobs.data.sources import file_format
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["to_json_line", "write_records"]

_GROUP_BYTES: Final = 1 << 20
"""JSON bytes of the records in one row group, so that one is read about like a JSONL block."""


def to_json_line(record: RankedResponse) -> bytes:
    """Canonical line of a record: fields in the schema's order, those at their default left out."""
    return record.model_dump_json(by_alias=True, exclude_defaults=True).encode() + b"\n"


def write_records(
    records: Iterable[RankedResponse], uri: str, *, storage: StorageOptions | None = None
) -> int:
    """Write records as a stream; the file appears whole or not at all.

    Args:
        records: In the order to write.
        uri: A file named ``*.jsonl``, ``*.ndjson`` or ``*.parquet``.
        storage: Where the object store is, for ``s3://``.

    Returns:
        Number of records.

    Raises:
        DataError: The name tells no format.
        StorageError: The disk is full or the store fails.
    """
    kind = file_format(uri)
    if kind is None:
        raise DataError("name the file *.jsonl or *.parquet to say its format", file=uri)
    with new_file(uri, storage) as path:
        if kind == "parquet":
            return _write_parquet(records, path)
        count = 0
        with path.open("wb") as file:
            for record in records:
                file.write(to_json_line(record))
                count += 1
        return count


def _write_parquet(records: Iterable[RankedResponse], path: Path) -> int:
    """Write records, in the schema of version 1 unless one of them needs that of version 2."""
    version = 1
    count = size = 0
    group: list[dict[str, object]] = []
    writer = pq.ParquetWriter(path, record_schema())
    try:
        for record in records:
            if version == 1 and record.schema_id != SCHEMA:
                version = 2
                writer.close()
                writer = _rewritten(path)
            group.append(record.model_dump(by_alias=True, exclude_defaults=True))
            count += 1
            size += len(to_json_line(record))
            if size >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=writer.schema))
                size, group = 0, []
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=writer.schema))
    finally:
        writer.close()
    return count


def _rewritten(path: Path) -> pq.ParquetWriter:
    """The file so far in the schema of version 2, open for more."""
    older = path.rename(path.with_name(f"{path.name}.v1"))
    schema = record_schema(2)
    writer = pq.ParquetWriter(path, schema)
    with pq.ParquetFile(older) as written:
        for group in range(written.num_row_groups):
            rows = written.read_row_group(group).to_pylist(maps_as_pydicts="strict")
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    older.unlink()
    return writer
