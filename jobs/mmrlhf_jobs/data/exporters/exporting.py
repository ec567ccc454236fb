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

__all__ = ["ExportReport", "Locate", "Row", "RowWriter", "export_records", "export_rows"]

Row: TypeAlias = Mapping[str, Any]
"""A row of a format, as JSON has it."""
Locate: TypeAlias = Callable[[str], str]
"""The path to write for the URI of a medium."""
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

    def rows(faults: RowFaults, locate: Locate, report: ExportReport) -> Iterator[Row]:
        for record in stream_records(source, faults):
            try:
                found = write(Given(record, pairs, locate))
            except DataError as error:
                faults.add(error, "record")
                continue
            report.records_without_pairs += not found
            yield from found

    return export_rows(
        rows,
        source,
        out,
        told="records cannot be exported",
        absolute_media=absolute_media,
        max_invalid_fraction=max_invalid_fraction,
    )


def export_rows(
    rows: Callable[[RowFaults, Locate, ExportReport], Iterator[Row]],
    source: Source,
    out: str,
    *,
    told: str,
    absolute_media: bool,
    max_invalid_fraction: float,
) -> ExportReport:
    """Write the rows that are made of a source; the file appears whole or not at all.

    Args:
        rows: Makes them; notes what is at fault, and how paths of media are to be written.
        source: What they are made of.
        out: See `export_records`.
        told: What is at fault if there is too much of it.
        absolute_media: See `export_records`.
        max_invalid_fraction: See `export_records`.

    Raises:
        DataError: More than that share are wrong or do not fit the format.
        StorageError: The file cannot be written.
    """
    if not out.endswith((".jsonl", ".json")):
        raise DataError("name the file *.jsonl or *.json to say its format", file=out)
    folders = source.media_folders()
    report, faults = ExportReport(folders.root), RowFaults()
    locate: Locate = folders.resolve if absolute_media else lambda uri: uri

    def counted() -> Iterator[Row]:
        for row in rows(faults, locate, report):
            report.rows += 1
            yield row
        report.records = faults.rows
        faults.check(max_invalid_fraction, told=told)

    _write_rows(counted(), out, source.storage)
    report.left_out = {str(kind): number for kind, number in faults.counts.items()}
    return report


def _write_rows(rows: Iterator[Row], out: str, storage: StorageOptions | None) -> None:
    array = out.endswith(".json")
    with new_file(out, storage) as path, path.open("w", encoding="utf-8") as file:
        before = "[\n" if array else ""
        for row in rows:
            file.write(before + json.dumps(row, ensure_ascii=False))
            before = ",\n" if array else "\n"
        if before != "[\n":
            file.write("\n")
        file.write(("[]\n" if before == "[\n" else "]\n") if array else "")
