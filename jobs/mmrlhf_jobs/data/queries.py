"""``Query``: a question about media before people have ranked answers to it.

It is a ``RankedResponse`` of the same version without a ranking, and with any number of responses.
A record that is ranked already can stand in its place: its question and media count, its responses
do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from mmrlhf_jobs.data.conversation import Asked, asked_of, check_places
from mmrlhf_jobs.data.parsing import RawRow, explain, fields_of, parse_row
from mmrlhf_jobs.data.parts import Items, Media, Origin, Part, Provenance, Query, Selection
from mmrlhf_jobs.data.records import (
    SCHEMA,
    SCHEMA_2,
    RankedResponse,
    Ranking,
    RowLocation,
    schema_for,
)
from mmrlhf_jobs.data.responses import Id, Response, check_media, check_responses
from mmrlhf_jobs.data.row_faults import RowFaults
from mmrlhf_jobs.data.sources import Source, file_format
from mmrlhf_jobs.data.stream import stream_rows
from mmrlhf_jobs.data.versions import check_version, needs_version_2
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = [
    "QUERY_SCHEMA",
    "QUERY_SCHEMA_2",
    "QueryRecord",
    "as_query",
    "as_ranked",
    "query_schema_for",
    "stream_queries",
    "write_queries",
]

QUERY_SCHEMA: Final = "mmrlhf.io/query/v1"
"""Value of a query's ``schema`` field."""

QUERY_SCHEMA_2: Final = "mmrlhf.io/query/v2"
"""The same of a query that asks more than one question about media."""

QuerySchema: TypeAlias = Literal["mmrlhf.io/query/v1", "mmrlhf.io/query/v2"]

_RANKED: Final = (SCHEMA, SCHEMA_2)


class QueryRecord(Part):
    """A query with its media and what models answered so far."""

    schema_id: QuerySchema = Field(alias="schema")
    record_id: Id
    domain: Literal["image", "video", "safety", "text"]
    type: Literal["long", "short", "mcq"] | None
    source: Origin | None = None
    query: Query
    media: Items[Media]
    selection: Selection | None = None
    responses: Annotated[Items[Response], Field(max_length=16)] = ()
    provenance: Provenance | None = None

    _location: RowLocation = PrivateAttr(default_factory=RowLocation)

    @property
    def location(self) -> RowLocation:
        """Where the query was read from; empty for one made in Python."""
        return self._location

    def at(self, location: RowLocation) -> QueryRecord:
        """The same query, read from there."""
        copy = self.model_copy()
        copy._location = location  # noqa: SLF001 - its own class
        return copy

    @property
    def asked(self) -> Asked:
        """What its responses answer."""
        return asked_of(self.query, self.media)

    @property
    def media_sha256s(self) -> tuple[str, ...]:
        """Digest of each medium's content, in order."""
        return tuple(medium.content_sha256 for medium in self.media)

    @model_validator(mode="after")
    def _could_be_ranked(self) -> QueryRecord:
        check_version(self.schema_id, QUERY_SCHEMA, self.domain, self.query, self.media)
        check_media(self.domain, self.type, self.media)
        check_places(self.query, self.media)
        check_responses(self.responses)
        return self


def query_schema_for(domain: str, query: Query, media: Sequence[Media]) -> QuerySchema:
    """The oldest schema that holds a query of this."""
    return QUERY_SCHEMA_2 if needs_version_2(domain, query, media) else QUERY_SCHEMA


def as_query(record: RankedResponse) -> QueryRecord:
    """The question and media of a ranked record."""
    return QueryRecord(
        schema=query_schema_for(record.domain, record.query, record.media),
        record_id=record.record_id,
        domain=record.domain,
        type=record.type,
        source=record.source,
        query=record.query,
        media=record.media,
        selection=record.selection,
    )


def as_ranked(
    query: QueryRecord,
    responses: Iterable[Response],
    ranking: Ranking,
    **more: Any,  # noqa: ANN401 - fields of the record, which it checks
) -> RankedResponse:
    """A query with responses and their ranking in the place of its own.

    Args:
        query: The query.
        responses: Its responses.
        ranking: Their ranking.
        more: Further fields of the record.

    Raises:
        ValidationError: The record breaks a rule of the schema.
    """
    return RankedResponse(
        schema=schema_for(query.domain, query.query, query.media),
        record_id=query.record_id,
        domain=query.domain,
        type=query.type,
        source=query.source,
        query=query.query,
        media=query.media,
        selection=query.selection,
        responses=tuple(responses),
        ranking=ranking,
        **more,
    )


def stream_queries(
    source: Source, faults: RowFaults | None = None, *, part: tuple[int, int] = (0, 1)
) -> Iterator[QueryRecord]:
    """Read all queries in the order of their files; media are not looked for.

    Args:
        source: Where they are.
        faults: Takes rows that are no query, which are left out then.
        part: Number and count: only every count-th row from this one on, query or not.

    Raises:
        DataError: A file is wrong, or a row is and nobody takes it; with file and row.
        StorageError: The store does not answer.
    """
    for raw, file, row in islice(stream_rows(source), part[0], None, part[1]):
        if faults is not None:
            faults.rows += 1
        try:
            query = _parse_query(raw, file, row)
        except DataError as error:
            if faults is None:
                raise
            faults.add(error)
            continue
        yield query


def _parse_query(raw: RawRow, file: str, row: int) -> QueryRecord:
    try:
        fields = fields_of(raw, file=file, row=row)
        if fields.get("schema") in _RANKED:
            query = as_query(parse_row(fields, file=file, row=row))
        else:
            query = QueryRecord.model_validate(fields)
    except ValidationError as error:
        field, reason = explain(error)
        raise DataError(reason, file=file, row=row, field=field or None) from error
    return query.at(RowLocation(file, row))


def write_queries(
    queries: Iterable[QueryRecord], uri: str, *, storage: StorageOptions | None = None
) -> int:
    """Write queries as JSON lines; the file appears whole or not at all.

    Returns:
        Number of queries.

    Raises:
        DataError: The file is not named ``*.jsonl``.
        StorageError: The disk is full or the store fails.
    """
    if file_format(uri) != "jsonl":
        raise DataError("queries are written as JSON lines; name the file *.jsonl", file=uri)
    count = 0
    with new_file(uri, storage) as path, path.open("wb") as file:
        for query in queries:
            file.write(query.model_dump_json(by_alias=True, exclude_defaults=True).encode() + b"\n")
            count += 1
    return count
