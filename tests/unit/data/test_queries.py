"""Queries before they are ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.data.queries import QUERY_SCHEMA, as_query, stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import make_fields, make_record, write_rows


def fields(**changes: Any) -> dict[str, Any]:
    made = make_fields("q", **{"schema": QUERY_SCHEMA, **changes})
    del made["ranking"]
    return made


def test_queries_are_read_with_any_number_of_responses(tmp_path: Path) -> None:
    rows = [
        fields(),
        fields(responses=[]),
        fields(responses=[{"response_id": "a", "text": "One."}]),
    ]
    source = Source(str(write_rows(tmp_path / "q.jsonl", [rows[0], b"", *rows[1:]])))
    found = list(stream_queries(source))
    assert [len(query.responses) for query in found] == [2, 0, 1]
    assert [query.location.row for query in found] == [1, 3, 4]
    assert write_queries(found, str(tmp_path / "out.jsonl")) == 3
    assert list(stream_queries(Source(str(tmp_path / "out.jsonl")))) == found


@pytest.mark.parametrize("name", ["r.jsonl", "r.parquet"])
def test_a_ranked_record_stands_for_its_query(tmp_path: Path, name: str) -> None:
    record = make_record("r", (2, 1))
    write_records([record], str(tmp_path / name))
    (query,) = stream_queries(Source(str(tmp_path / name)))
    assert query == as_query(record)
    assert query.responses == ()
    assert query.media_sha256s == record.media_sha256s


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (fields(schema="x"), "row 1, field schema: "),
        (fields(domain="video"), "row 1, field media: a record of domain video needs"),
        (fields(type=None), "row 1, field type: only a record of domain safety"),
        (
            fields(responses=[{"response_id": i, "text": "Same."} for i in "ab"]),
            r"row 1, field responses\[1\].text: same text as response 'a'",
        ),
        (fields(media=[]), "row 1, field media: needs at least 1 items"),
        (make_fields("r", (1, 3)), r"row 1, field ranking.ranks.b: rank 3, but"),
        (b"{", "row 1: not valid JSON"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, row: Any, reason: str) -> None:
    source = Source(str(write_rows(tmp_path / "q.jsonl", [row])))
    with pytest.raises(DataError, match=reason):
        list(stream_queries(source))


def test_queries_are_written_as_lines_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name the file \*.jsonl"):
        write_queries([], str(tmp_path / "out.parquet"))
