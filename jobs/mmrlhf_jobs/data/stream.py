"""Records of a source in the order of its files, read once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from mmrlhf_jobs.data.parsing import RawRow, parse_row
from mmrlhf_jobs.data.readers import READERS
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.errors import DataError

__all__ = ["SourceRow", "stream_records", "stream_rows"]


class SourceRow(NamedTuple):
    """A row and where it is."""

    raw: RawRow
    file: str
    row: int
    """1-based."""


def stream_rows(source: Source) -> Iterator[SourceRow]:
    """Read all rows; blank lines are passed over.

    Raises:
        DataError: A file is missing, damaged, or of an unknown format.
        StorageError: The store does not answer.
    """
    for file in list_data_files(source):
        row = 0
        for block in READERS[file.format].scan_blocks(file, hashlib.sha256()):
            for raw in block.rows:
                row += 1
                if not isinstance(raw, bytes) or raw.strip():
                    yield SourceRow(raw, file.uri, row)


def stream_records(source: Source, faults: RowFaults | None = None) -> Iterator[RankedResponse]:
    """Read all records; media are not looked for.

    Args:
        source: Where they are.
        faults: Takes rows that are no record, which are left out then.

    Raises:
        DataError: As :func:`stream_rows`, or a row is no record and nobody takes it; with file and
            row.
        StorageError: The store does not answer.
    """
    for raw, file, row in stream_rows(source):
        if faults is not None:
            faults.rows += 1
        try:
            record = parse_row(raw, file=file, row=row)
        except DataError as error:
            if faults is None:
                raise
            faults.add(error)
            continue
        yield record
