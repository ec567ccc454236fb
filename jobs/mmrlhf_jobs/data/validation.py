"""Checking a source: one streaming pass that also builds its block index.

A row is invalid when it is no record, its question is no good, it names a media file that is
missing, or has the id of an earlier valid row. One whose responses all have the same rank is no
fault; it is left out and counted apart. Images are decoded only when they are loaded. Memory does
not grow with the number of rows.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import numpy as np

from mmrlhf_jobs.data.duplicates import DuplicateFinder
from mmrlhf_jobs.data.index import BlockIndex, IndexedFile
from mmrlhf_jobs.data.media import MediaFinder
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.data.parsing import RawRow, parse_row
from mmrlhf_jobs.data.readers import READERS
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.report import LISTED_PROBLEMS, ProblemKind, RowProblem, ValidationReport
from mmrlhf_jobs.data.row_faults import repeated_id
from mmrlhf_jobs.data.sources import DataFile, Source, list_data_files
from mmrlhf_jobs.errors import DataError

__all__ = ["scan", "validate"]

_CHUNK_ROWS: Final = 256


def validate(source: Source, max_invalid_fraction: float = 0.0) -> ValidationReport:
    """Check every row of a source.

    Raises:
        DataError: More rows are invalid than the fraction allows, a file cannot be read, or there
            is no valid row.
        StorageError: The store does not answer.
    """
    _, report = scan(source)
    report.check(max_invalid_fraction)
    return report


def scan(source: Source) -> tuple[BlockIndex, ValidationReport]:
    """Index a source and check every row of it.

    Raises:
        DataError: A file is missing, damaged, or of an unknown format. Invalid rows raise nothing
            here; they are in the report and left out of the index.
        StorageError: The store does not answer.
    """
    hidden: list[str] = []
    files = list_data_files(source, hidden.append)
    with (
        MediaFinder(source.media_folders(files), source.storage) as media,
        DuplicateFinder() as ids,
    ):
        scanned = _Scan(media, ids)
        for file in files:
            scanned.read(file)
        index = scanned.index()
        scanned.find_duplicates(files, index)
        index = scanned.index()
    return index, replace(scanned.report(source, index), hidden_files=len(hidden))


class _Scan:
    """State of the pass."""

    def __init__(self, media: MediaFinder, ids: DuplicateFinder) -> None:
        self._media = media
        self._ids = ids
        self._files: list[IndexedFile] = []
        self._table: list[tuple[int, ...]] = []
        self._ordinal = 0
        self._blank = 0
        self._tied = 0
        self._skipped = array("q")
        self._invalid: Counter[ProblemKind] = Counter()
        self._problems: list[RowProblem] = []
        # Records are counted by (category, responses, pairs): few, whatever the number of rows.
        self._shapes: dict[tuple[str, int, int], int] = {}
        self._counts: Counter[int] = Counter()

    def read(self, file: DataFile) -> None:
        """Scan a file: add its blocks and check its rows."""
        digest = hashlib.sha256()
        row = 1
        for block in READERS[file.format].scan_blocks(file, digest):
            first = row
            rows = iter(block.rows)
            while chunk := list(islice(rows, _CHUNK_ROWS)):
                self._check(file, row, chunk)
                row += len(chunk)
            where = (len(self._files), block.start, block.stop, block.size, first, row - first)
            self._table.append(where)
        self._files.append(IndexedFile(file.name, file.size, digest.hexdigest()))

    def find_duplicates(self, files: Sequence[DataFile], index: BlockIndex) -> None:
        """Mark every valid row whose id an earlier valid row has."""
        listed: list[RowProblem] = []
        for found in self._ids.find():
            self._counts[found.note] -= 1
            number, row = index.locate(found.ordinal)
            first_number, first_row = index.locate(found.first)
            file, first_file = files[number].uri, files[first_number].uri
            reason = repeated_id(first_file, first_row)
            self._skip(found.ordinal, "duplicate")
            listed.append(RowProblem(found.ordinal, "duplicate", file, row, "record_id", reason))
            if len(listed) >= 2 * LISTED_PROBLEMS:
                listed = sorted(listed)[:LISTED_PROBLEMS]
        self._problems += listed

    def index(self) -> BlockIndex:
        """The index as far as it is known."""
        table = np.array(self._table, np.int64).reshape(-1, 6)
        skipped = np.sort(np.array(self._skipped, np.int64))
        return BlockIndex(tuple(self._files), table, skipped)

    def report(self, source: Source, index: BlockIndex) -> ValidationReport:
        """The report."""
        categories: Counter[str] = Counter()
        responses = pairs = 0
        for (category, num_responses, num_pairs), code in self._shapes.items():
            count = self._counts[code]
            categories[category] += count
            responses += count * num_responses
            pairs += count * num_pairs
        return ValidationReport(
            uri=source.uri,
            digest=index.digest,
            rows=self._ordinal - self._blank,
            invalid=dict(self._invalid),
            categories=dict(categories),
            responses=responses,
            pairs=pairs,
            largest_block_bytes=max((entry[3] for entry in self._table), default=0),
            problems=tuple(sorted(self._problems)[:LISTED_PROBLEMS]),
            tied=self._tied,
        )

    def _check(self, file: DataFile, first_row: int, chunk: Sequence[RawRow]) -> None:
        records: list[tuple[int, RankedResponse]] = []
        for row, raw in enumerate(chunk, first_row):
            ordinal = self._ordinal
            self._ordinal += 1
            if isinstance(raw, bytes) and not raw.strip():
                self._blank += 1
                self._skipped.append(ordinal)
                continue
            try:
                record = parse_row(raw, file=file.uri, row=row)
            except DataError as error:
                self._reject(ordinal, "schema", error)
                continue
            if len(set(record.ranks)) == 1:
                self._tied += 1
                self._skipped.append(ordinal)
            elif (why := record.obstacle) is not None:
                self._reject(ordinal, "unranked", _error(record, "ranking.ranks", why))
            else:
                records.append((ordinal, record))
        self._check_media(records)

    def _check_media(self, records: Sequence[tuple[int, RankedResponse]]) -> None:
        uris = {uri for _, record in records for medium in record.media for uri, _ in medium.files}
        missing = self._media.problems(sorted(uris))
        for ordinal, record in records:
            if (error := _missing_media(record, missing)) is not None:
                self._reject(ordinal, "media", error)
                continue
            shape = (record.category, len(record.responses), len(form_pairs(record.ranks)))
            code = self._shapes.setdefault(shape, len(self._shapes))
            self._counts[code] += 1
            self._ids.add(record.record_id, ordinal=ordinal, note=code)

    def _reject(self, ordinal: int, kind: ProblemKind, error: DataError) -> None:
        self._skip(ordinal, kind)
        if self._invalid.total() <= 2 * LISTED_PROBLEMS:
            self._problems.append(
                RowProblem(
                    ordinal, kind, error.file or "", error.row or 0, error.field, error.reason
                )
            )

    def _skip(self, ordinal: int, kind: ProblemKind) -> None:
        self._skipped.append(ordinal)
        self._invalid[kind] += 1


def _missing_media(record: RankedResponse, missing: dict[str, str]) -> DataError | None:
    for position, medium in enumerate(record.media):
        for number, (uri, _) in enumerate(medium.files):
            if uri in missing:
                frame = f".frames[{number}]" if medium.kind == "video" else ""
                return _error(record, f"media[{position}]{frame}.uri", missing[uri])
    return None


def _error(record: RankedResponse, field: str, reason: str) -> DataError:
    place = record.location
    return DataError(reason, file=place.file, row=place.row, field=field)
