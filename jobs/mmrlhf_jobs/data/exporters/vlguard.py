"""Queries as rows of VLGuard, the one format without judgements; see the importer of this name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from mmrlhf_jobs.data.exporters.exporting import ExportReport, Locate, Row, export_rows
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError

__all__ = ["export_vlguard"]

_INSTRUCTIONS: Final = {"safe": "safe_instruction", "unsafe": "unsafe_instruction"}
"""Field of an instruction by the split of its query; any other is of an unsafe image."""


def export_vlguard(
    source: Source,
    out: str,
    *,
    absolute_media: bool = False,
    max_invalid_fraction: float = 0.0,
) -> ExportReport:
    """Write queries with reference answers as rows, those of one image and id as one.

    Args:
        source: The queries; of ranked records, their questions.
        out: ``*.jsonl`` for JSON lines, ``*.json`` for a JSON array.
        absolute_media: Write whole paths of images; False: as the queries have them.
        max_invalid_fraction: Share of the queries that the format may not be able to hold.

    Raises:
        DataError: A query is wrong, or more than that share do not fit the format.
        StorageError: The file cannot be written.
    """

    def rows(faults: RowFaults, locate: Locate, _report: ExportReport) -> Iterator[Row]:
        for _, found in groupby(stream_queries(source, faults), key=_row_of):
            entries: list[tuple[QueryRecord, dict[str, str]]] = []
            for query in found:
                try:
                    entries.append((query, _entry(query)))
                except DataError as error:
                    faults.add(error, "record")
            if entries:
                yield _row(entries, locate)

    return export_rows(
        rows,
        source,
        out,
        told="queries cannot be exported",
        absolute_media=absolute_media,
        max_invalid_fraction=max_invalid_fraction,
    )


def _row_of(query: QueryRecord) -> tuple[str, tuple[str, ...]]:
    origin = query.source
    return (origin.parent_id if origin else None) or query.record_id, query.media_sha256s


def _row(entries: Sequence[tuple[QueryRecord, dict[str, str]]], locate: Locate) -> Row:
    first, entry = entries[0]
    return {
        "id": _row_of(first)[0],
        "image": locate(first.media[0].uri or ""),
        "safe": "instruction" not in entry,
        "instr-resp": [entry for _, entry in entries],
    }


def _entry(query: QueryRecord) -> dict[str, str]:
    if [medium.kind for medium in query.media] != ["image"]:
        raise _fault(query, "media", "the format has one image a row")
    if not isinstance(query.asked, str):
        raise _fault(query, "query", "the format has one question and its image, nothing else")
    answer = query.query.reference_answer
    if answer is None:
        raise _fault(query, "query.reference_answer", "is missing; the format has a response")
    split = query.source.split if query.source else None
    return {_INSTRUCTIONS.get(split or "", "instruction"): query.query.text, "response": answer}


def _fault(query: QueryRecord, field: str, message: str) -> RowFault:
    place = query.location
    return RowFault(message, kind="unsupported", file=place.file, row=place.row, field=field)
