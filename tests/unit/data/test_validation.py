from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.data import duplicates, jsonl
from mmrlhf_jobs.data.duplicates import DuplicateFinder
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import validate
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import make_fields, make_record, save_image, write_rows


@pytest.fixture(autouse=True)
def image(tmp_path: Path) -> None:
    save_image(tmp_path)


def check(tmp_path: Path, rows: list[Any], **options: float) -> Any:
    return validate(Source(str(write_rows(tmp_path / "x.jsonl", rows))), **options)


def test_a_valid_source_is_counted(tmp_path: Path) -> None:
    report = check(
        tmp_path,
        [make_fields("a", (1, 2, 3)), b"", make_fields("b", (1, 1, 3, 4), type="mcq")],
    )
    assert (report.rows, report.num_records, report.num_invalid) == (2, 2, 0)
    assert report.categories == {"short": 1, "mcq": 1}
    assert (report.responses, report.pairs) == (7, 3 + 5)
    assert report.problems == ()
    assert len(report.digest) == 64
    assert report.to_dict()["rows"] == 2


BAD_ROWS: list[tuple[Any, str, str | None, str]] = [
    (make_fields("x", surplus=1), "schema", "surplus", "unknown field"),
    (make_fields("x", domain=7), "schema", "domain", "got 7"),
    (make_fields("x", responses=[]), "schema", "responses", "at least 2"),
    (make_fields("x", question_flag="confusing"), "unranked", "ranking.ranks", "is flagged"),
    (make_fields("a"), "duplicate", "record_id", "row 1; ids must be unique"),
    (
        make_fields("x", media=[{"uri": "no.png", "sha256": "0" * 64}]),
        "media",
        "media[0].uri",
        "does not exist",
    ),
    (b'{"schema": "\xff\xfe"}', "schema", None, "not UTF-8"),
    (b"{", "schema", None, "not valid JSON"),
    (b"\xef\xbb\xbf{}", "schema", "schema", "is missing"),
]


@pytest.mark.parametrize(("row", "kind", "field", "reason"), BAD_ROWS)
def test_an_invalid_row_is_told_with_file_row_and_field(
    tmp_path: Path, row: Any, kind: str, field: str | None, reason: str
) -> None:
    rows = [make_fields("a"), b"  ", row, make_fields("b")]
    with pytest.raises(DataError) as caught:
        check(tmp_path, rows)
    place = f"{tmp_path}/x.jsonl, row 3" + (f", field {field}" if field else "")
    assert "1 of 3 rows are invalid, and maxInvalidFraction 0 allows 0" in str(caught.value)
    assert f"\n  {place}: " in str(caught.value)
    assert reason in str(caught.value)
    report = check(tmp_path, rows, max_invalid_fraction=0.34)
    assert report.invalid == {kind: 1}
    assert [(p.row, p.field) for p in report.problems] == [(3, field)]
    assert (report.rows, report.num_records, report.responses) == (3, 2, 4)
    with pytest.raises(DataError, match="allows 0"):
        check(tmp_path, rows, max_invalid_fraction=0.33)


def test_the_first_twenty_problems_are_shown_and_all_are_counted(tmp_path: Path) -> None:
    rows = [make_fields("a"), *[make_fields("a")] * 10, *[b"{"] * 25, *[make_fields("a")] * 5]
    with pytest.raises(DataError) as caught:
        check(tmp_path, rows, max_invalid_fraction=0.5)
    lines = str(caught.value).splitlines()
    assert "40 of 41 rows are invalid" in lines[0]
    assert len(lines) == 22
    assert [f"row {number}" in line for number, line in enumerate(lines[1:21], 2)] == [True] * 20
    assert lines[-1] == "  and 20 more"


def test_the_budget_is_not_lost_to_rounding(tmp_path: Path) -> None:
    rows = [*(make_fields(str(number)) for number in range(71)), *[b"{"] * 29]
    assert check(tmp_path, rows, max_invalid_fraction=0.29).num_invalid == 29


@pytest.mark.parametrize("rows", [[], [b"", b"  "]])
def test_an_empty_data_set_is_an_error(tmp_path: Path, rows: list[bytes]) -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        check(tmp_path, rows, max_invalid_fraction=1.0)


def test_no_valid_row_is_an_error_at_any_budget(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 1 rows are invalid"):
        check(tmp_path, [b"{"], max_invalid_fraction=1.0)


def test_an_invalid_row_does_not_take_an_id(tmp_path: Path) -> None:
    flagged = make_fields("a", question_flag="confusing")
    report = check(tmp_path, [flagged, make_fields("a")], max_invalid_fraction=0.5)
    assert report.invalid == {"unranked": 1}


def test_ties_are_counted_apart_and_hide_no_broken_row(tmp_path: Path) -> None:
    ties = [make_fields(f"t{number}", (1, 1)) for number in range(8)]
    report = check(tmp_path, [*ties, make_fields("a")])
    assert (report.rows, report.tied, report.num_invalid, report.num_records) == (9, 8, 0, 1)
    assert "8 of 9 rows" in (report.sentence() or "")
    with pytest.raises(DataError, match=r"1 of 2 rows are invalid(.|\n)*8 more are ties") as caught:
        check(tmp_path, [*ties, make_fields("a"), b"{"], max_invalid_fraction=0.4)
    assert "x.jsonl, row 10" in str(caught.value)
    with pytest.raises(DataError, match="all of its 8 rows are ties"):
        check(tmp_path, ties, max_invalid_fraction=1.0)


def test_missing_files_and_unknown_formats_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.csv").touch()
    (tmp_path / "x.jsonl.zip").touch()
    (tmp_path / "x.parquet.gz").touch()
    for name, reason in (
        ("nowhere.jsonl", "no such file or folder"),
        ("empty", "no data files are there"),
        ("x.csv", "the format is not known"),
        ("x.jsonl.zip", "the format is not known"),
        ("x.parquet.gz", "compressed Parquet files are not read"),
        ("*.parquet", "no data files are there"),
    ):
        with pytest.raises(DataError, match=reason) as caught:
            validate(Source(str(tmp_path / name)))
        assert str(tmp_path / name) in str(caught.value)


def test_a_parquet_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_records([make_record(str(number)) for number in range(50)], str(path))
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"x.parquet: not a readable Parquet file"):
        validate(Source(str(path)))
    path.write_bytes(content[:4] + bytes(2000) + content[2004:])
    with pytest.raises(DataError, match=r"x.parquet: not a readable Parquet file"):
        validate(Source(str(path)))
    path.write_bytes(b"{}")
    with pytest.raises(DataError, match=r"x.parquet: not a readable Parquet file"):
        validate(Source(str(path)))


def test_rows_of_parquet_are_checked_like_lines(tmp_path: Path) -> None:
    rows = [make_fields("a"), make_fields("b"), make_fields("a")]
    rows[1]["query"] = {"text": None, "language": "en"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    with pytest.raises(DataError) as caught:
        validate(Source(str(tmp_path / "x.parquet")))
    assert "row 2, field query.text: is missing" in str(caught.value)
    assert "row 3, field record_id: the same id as in" in str(caught.value)


def test_a_file_without_line_ends_is_no_jsonl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 3 << 20)
    (tmp_path / "x.jsonl").write_bytes(b"x" * (5 << 20))
    with pytest.raises(DataError, match="is this a JSONL file"):
        validate(Source(str(tmp_path / "x.jsonl")))


def test_lines_longer_than_a_block_and_carriage_returns_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 50)
    path = write_rows(tmp_path / "x.jsonl", [make_fields(str(number)) for number in range(9)])
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").removesuffix(b"\r\n"))
    assert validate(Source(str(path))).num_records == 9


def test_duplicates_are_found_whether_or_not_they_spill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_BUFFER_BYTES", 100)
    numbers = random.Random(0).choices(range(900), k=2000)
    first: dict[int, int] = {}
    expected = []
    with DuplicateFinder() as finder:
        for ordinal, number in enumerate(numbers):
            if number in first:
                expected.append((ordinal, first[number], number))
            first.setdefault(number, ordinal)
            finder.add(str(number), ordinal=ordinal, note=number)
        spilled = list(Path(finder._folder.name).iterdir())
        assert sorted(finder.find()) == expected
    assert spilled
    assert not spilled[0].exists()
