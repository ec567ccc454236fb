"""The way from records to a file of a public format, the same for all formats."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from mmrlhf_jobs.data.exporters.given import Given
from mmrlhf_jobs.data.pairs import PairMode
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["ExportReport", "RowWriter", "check_name", "export_records", "write_rows"]

RowWriter: TypeAlias = Callable[[Given], list[dict[str, Any]]]
"""Rows of a record; raises ``RowFault`` where the format cannot hold it."""


@dataclass
class ExportReport:
    """What became of the records.

    Attributes:
        media_root: Folder that the paths in the file start from.
        records: Rows read: records that are written, or have no pair, or are left out.
        rows: Rows written.
        left_out: Rows that are no records, and records that the format cannot hold, by reason.
        records_without_pairs: Records whose responses are all equal, of which a format of pairs
            has nothing.
    """

    media_root: str
    records: int = 0
    rows: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    records_without_pairs: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def export_records(
    write: RowWriter,
    source: Source,
    out: str,
    *,
    pairs: PairMode = "all",
    absolute_media: bool = False,
    max_invalid_fraction: float = 0.0,
) -> ExportReport:
    """Write records as rows; the file appears whole or not at all.

    Args:
        write: Rows of a record in the format.
        source: The records.
        out: ``*.jsonl`` for JSON lines, ``*.json`` for a JSON array.
        pairs: Which pairs of a record to form, for formats of pairs.
        absolute_media: Write whole paths of media; False: as the records have them.
        max_invalid_fraction: Share of the rows that may be no records, or that the format may not
            be able to hold.

    Raises:
        DataError: More than that share are wrong or do not fit the format.
        StorageError: The file cannot be written.
    """
    check_name(out)
    folders = source.media_folders()
    report = ExportReport(folders.root)
    faults = RowFaults()
    locate: Callable[[str], str] = folders.resolve if absolute_media else lambda uri: uri

    def rows() -> Iterator[Mapping[str, Any]]:
        for record in stream_records(source, faults):
            try:
                found = write(Given(record, pairs, locate))
            except DataError as error:
                faults.add(error, "record")
                continue
            report.records_without_pairs += not found
            report.rows += len(found)
            yield from found
        report.records = faults.rows
        faults.check(max_invalid_fraction, told="records cannot be exported")

    write_rows(rows(), out, source.storage)
    report.left_out = {str(kind): number for kind, number in faults.counts.items()}
    return report


def check_name(out: str) -> None:
    """Check that a name tells a format that rows are written in.

    Raises:
        DataError: It does not.
    """
    if not out.endswith((".jsonl", ".json")):
        raise DataError("name the file *.jsonl or *.json to say its format", file=out)


def write_rows(rows: Iterator[Mapping[str, Any]], out: str, storage: StorageOptions | None) -> None:
    """Write rows as JSON lines, or as a JSON array if the file is named like one.

    Raises:
        StorageError: The file cannot be written.
    """
    array = out.endswith(".json")
    with new_file(out, storage) as path, path.open("w", encoding="utf-8") as file:
        before = "[\n" if array else ""
        for row in rows:
            file.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n" if array else "\n"
        if before != "[\n":
            file.write("\n")
        file.write(("[]\n" if before == "[\n" else "]\n") if array else "")
