"""The way from a file of a public format to records, the same for all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, TypeAlias

from mmrlhf_jobs.data.importers.grouping import Incomplete, PairGroups, refuse_repeated
from mmrlhf_jobs.data.importers.judged_rows import PairRow, RankedRow
from mmrlhf_jobs.data.importers.media_files import MediaFiles, VideoFrames
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, rows_or_faults, unpacked
from mmrlhf_jobs.data.importers.records_of_rows import count_record, ranked_record
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.queries import QueryRecord, write_queries
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError, SpecError
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = ["Found", "ImportOptions", "RowReader", "import_rows", "look_at_rows", "read_mapping"]

Found: TypeAlias = PairRow | RankedRow | QueryRecord
"""What a row of a public format holds."""


class RowReader(Protocol):
    """What a format does with a row."""

    def __call__(
        self, row: RawPairRow, media: MediaFiles, report: ImportReport, /
    ) -> Sequence[Found]:
        """Read a row: one pair or ranking, or all its queries.

        Raises:
            RowFault: It cannot be imported.
        """


@dataclass(frozen=True)
class ImportOptions:
    """How to import.

    Attributes:
        media_root: Folder that media paths start from; None: that of the source.
        incomplete: What to do when pairs leave ranks open; see ``PairGroups``.
        mapping: Field of the source -> name that the format has for it. Dots go into objects.
        max_invalid_fraction: Share of the rows that may be left out.
        storage: Where the object store is, for ``s3://``.
        video_frames: Decodes video files; None: rows of such are at fault.
        copy_media: Folder beside the records that all media are copied into; None: they stay.
    """

    media_root: str | None = None
    incomplete: Incomplete = "fail"
    mapping: Mapping[str, str] = field(default_factory=dict)
    max_invalid_fraction: float = 0.0
    storage: StorageOptions | None = None
    video_frames: VideoFrames | None = None
    copy_media: str | None = None

    def media_files(self, root: str, *, save: bool = True) -> MediaFiles:
        """The media of the rows.

        Args:
            root: Folder that their paths start from.
            save: Save images and frames that rows bring; False only looks at them.
        """
        return MediaFiles(
            root,
            self.storage,
            save=save,
            video_frames=self.video_frames,
            copies=self.copy_media,
        )


def read_mapping(texts: Sequence[str]) -> dict[str, str]:
    """Read ``question=prompt`` as: their field question is what the format calls prompt.

    Raises:
        SpecError: A text is not like that, or a name is there twice.
    """
    mapping: dict[str, str] = {}
    for text in texts:
        theirs, equals, ours = (part.strip() for part in text.partition("="))
        if not (theirs and equals and ours):
            raise SpecError(f"--map {text}: write THEIRS=OURS, such as question=prompt")
        if theirs in mapping or ours in mapping.values():
            raise SpecError(f"--map {text}: a name on one of its sides is mapped already")
        mapping[theirs] = ours
    return mapping


def import_rows(
    read: RowReader,
    source: str,
    out: str,
    options: ImportOptions,
    *,
    hint: Callable[[], str] | None = None,
) -> ImportReport:
    """Convert a source to records, or to queries where a format has no judgements.

    Args:
        read: What the format does with a row.
        source: A file of JSON lines, a JSON array or Parquet, or a folder of them.
        out: File to write, ``*.jsonl`` or ``*.parquet``.
        options: How.
        hint: What else to say when no row can be read.

    Raises:
        DataError: More rows are at fault than the budget allows.
        SpecError: A mapping names a field that no row has.
        StorageError: The output or an embedded image cannot be written.
    """
    report = ImportReport(options.media_root or parent_uri(source))
    media = options.media_files(report.media_root)
    run = _Import(read, source, options, report, media)
    first, found = _peek(run.found(hint))
    if isinstance(first, QueryRecord):
        queries = (one for one in found if isinstance(one, QueryRecord))
        report.records = write_queries(queries, out, storage=options.storage)
    else:
        records = (one for one in found if isinstance(one, RankedResponse))
        write_records(records, out, storage=options.storage)
    report.decoded_videos = media.decoded_videos
    report.written_media, report.written_bytes = len(media.written), sum(media.written.values())
    report.left_out = {str(kind): number for kind, number in run.faults.counts.items()}
    return report


def look_at_rows(
    read: RowReader,
    source: str,
    options: ImportOptions,
    *,
    rows: int,
    hint: Callable[[], str] | None = None,
) -> list[RankedResponse | QueryRecord]:
    """What the first rows become; nothing is written.

    Raises:
        DataError: One of them cannot be imported.
    """
    report = ImportReport(options.media_root or parent_uri(source))
    media = options.media_files(report.media_root, save=False)
    # The pairs of a question may go on behind the first rows.
    patient = replace(options, incomplete="exact") if options.incomplete == "fail" else options
    return list(_Import(read, source, patient, report, media, most=rows).found(hint))


class _Import:
    def __init__(
        self,
        read: RowReader,
        source: str,
        options: ImportOptions,
        report: ImportReport,
        media: MediaFiles,
        *,
        most: int | None = None,
    ) -> None:
        self.faults = RowFaults()
        self._read = read
        self._source = source
        self._options = options
        self._report = report
        self._media = media
        self._most = most
        self._mapped: set[str] = set()

    def found(self, hint: Callable[[], str] | None) -> Iterator[RankedResponse | QueryRecord]:
        """Records as they come; the budget is checked before the end."""
        groups = PairGroups(self._report, self._options.incomplete)
        names: dict[str, tuple[str, int]] = {}
        rows = rows_or_faults(self._source, self._options.storage)
        for row in islice(rows, self._most):
            self._report.rows += 1
            self.faults.rows += 1
            try:
                if isinstance(row, RowFault):
                    raise row
                made = self._made(row, groups, names)
            except DataError as error:
                self.faults.add(_located(error, row), "record")
                continue
            # All of a row or nothing: it is counted as used, or with what is wrong with it.
            for one in made:
                if isinstance(one, RankedResponse):
                    count_record(one, self._report)
                yield one
            self._report.used += bool(made)
        yield from groups.records(self.faults, names)
        unmapped = sorted(set(self._options.mapping) - self._mapped)
        if unmapped and self._report.rows:
            raise SpecError(f"--map: no row has the field {', '.join(unmapped)}")
        none_used = self.faults.total == self._report.rows
        self.faults.check(
            self._options.max_invalid_fraction,
            told="rows cannot be imported",
            hint=hint() if hint and none_used and self._report.rows > 0 else "",
        )

    def _made(
        self, row: RawPairRow, groups: PairGroups, names: dict[str, tuple[str, int]]
    ) -> list[RankedResponse | QueryRecord]:
        """What a row becomes by itself; pairs go to their groups, and become nothing yet."""
        found = self._read(self._renamed(row), self._media, self._report)
        if not found:
            raise row.error(None, "holds nothing that could be imported")
        made: list[RankedResponse | QueryRecord] = []
        for one in found:
            if isinstance(one, PairRow):
                groups.add(one)
                continue
            record = one if isinstance(one, QueryRecord) else ranked_record(one, self._report)
            refuse_repeated(names, record.record_id, row.file, row.row)
            made.append(record)
        return made

    def _renamed(self, row: RawPairRow) -> RawPairRow:
        if not self._options.mapping:
            return row
        fields: dict[str, Any] = dict(row.fields)
        taken: dict[str, Any] = {}
        for theirs, ours in self._options.mapping.items():
            value = _within(fields, theirs)
            if value is not None:
                self._mapped.add(theirs)
                taken[ours] = value
        left = {
            name: value
            for name, value in fields.items()
            if name not in self._options.mapping and name not in taken
        }
        return replace(row, fields={**left, **taken})


def _located(error: DataError, row: RawPairRow | RowFault) -> DataError:
    """The error, with file and row if it has none."""
    if error.file is not None:
        return error
    return DataError(error.reason, file=row.file, row=row.row, field=error.field, fault=error.fault)


def _within(fields: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON
    """The value at a path with dots, unless a field is called just like that."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for name in path.split("."):
        value = unpacked(value)
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _peek(
    found: Iterator[RankedResponse | QueryRecord],
) -> tuple[RankedResponse | QueryRecord | None, Iterator[RankedResponse | QueryRecord]]:
    first = next(found, None)
    if first is None:
        return None, iter(())

    def again() -> Iterator[RankedResponse | QueryRecord]:
        yield first
        yield from found

    return first, again()
