"""Mutations of files of public formats: each row ends as a record, or is counted by reason."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import pytest

from mmrlhf_api.steps.records import QUERY_FORMATS
from mmrlhf_jobs.data.importers import importing
from mmrlhf_jobs.data.importers.importing import Found, ImportOptions, RowReader, import_rows
from mmrlhf_jobs.data.importers.media_files import MediaFiles
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, rows_or_faults
from mmrlhf_jobs.data.importers.registry import READERS
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.row_faults import FaultReason
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from tests.unit.data.mutants import MUTANTS, damaged, survives, twisted
from tests.unit.data.public_files import FILES, write_media

PAIRS = ("dpo-pairs", "reward-bench", "trl", "llama-factory", "ms-swift", "rlhf-v", "rlaif-v",
         "llava-rlhf", "multimodal-reward-bench")  # fmt: skip
"""Formats whose rows are pairs; a row of the others is a record, or some queries."""


def rows_of(name: str) -> list[dict[str, Any]]:
    """Rows of a format, with files in the place of bytes."""
    return [
        {key: "image.png" if isinstance(value, dict) and "bytes" in value else value
         for key, value in row.items()}
        for row in FILES[name][1]
    ]  # fmt: skip


def mutants(name: str) -> Iterator[tuple[bytes, int | None]]:
    """Files of a format: a few whole rows, faults in what others hold, some in their bytes.

    Yields:
        A file and its number of rows, None where that is not known any more.
    """
    rng = random.Random(f"{name} 11")
    for number in range(MUTANTS):
        rows = rows_of(name)
        rows += [twisted(row, rng) for row in rows for _ in range(2)]
        rng.shuffle(rows)
        if name in QUERY_FORMATS:  # nothing joins rows: the id tells them apart
            key = "question_id" if name == "safety-bench" else "id"
            rows = [
                {**row, key: f"v{at}"} if isinstance(row, dict) else row
                for at, row in enumerate(rows)
            ]
        content = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n"
        yield (damaged(content, rng), None) if number % 3 == 0 else (content, len(rows))


def read_with(name: str, reader: RowReader, rows: int | None) -> Callable[[Path], None]:
    """Imports a file and looks where its rows went."""

    def read(path: Path) -> None:
        out = str(path.parent / "out.jsonl")
        options = ImportOptions(incomplete="exact", max_invalid_fraction=1.0)
        report = import_rows(reader, str(path), out, options)
        assert rows in (None, report.rows)
        assert set(report.left_out) <= set(get_args(FaultReason))
        left = sum(report.left_out.values())
        assert report.rows == report.used + left
        if name in QUERY_FORMATS:
            queries = list(stream_queries(Source(out)))
            assert len({one.record_id for one in queries}) == len(queries) == report.records
            used = {one.source.row_id for one in queries if one.source}
            assert report.rows == len(used) + left
            return
        records = list(stream_records(Source(out)))
        assert len({one.record_id for one in records}) == len(records) == report.records
        if name not in PAIRS:
            assert report.rows == len(records) + left
        elif "contradiction" not in report.left_out:
            assert report.rows == report.pairs + report.repeated_pairs + report.tied_rows + left

    return read


def read_mutants(folder: Path, name: str, reader: RowReader) -> Iterator[bool]:
    """Whether each mutant was read."""
    path = folder / "x.jsonl"
    for content, rows in mutants(name):
        path.write_bytes(content)
        yield survives(read_with(name, reader, rows), path)


@pytest.mark.parametrize("name", list(READERS))
def test_mutants_of_public_formats(tmp_path: Path, name: str) -> None:
    write_media(tmp_path)
    ends = set(read_mutants(tmp_path, name, READERS[name]))
    assert True in ends, "mutants must not all be broken as a whole"


def forgets_a_check(reader: RowReader) -> RowReader:
    """A reader that takes the first of its texts for granted."""

    def read(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[Found]:
        for value in row.fields.values():
            if isinstance(value, list):
                value[0]
        return reader(row, media, report)

    return read


def gives_twice(reader: RowReader) -> RowReader:
    """A reader that makes two of some rows."""

    def read(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[Found]:
        found = reader(row, media, report)
        if row.row % 3 or not found:
            return found
        return [*found, *reader(replace(row, row=row.row + 1000), media, report)]

    return read


@pytest.mark.parametrize("broken", [forgets_a_check, gives_twice])
@pytest.mark.parametrize("name", ["trl", "mm-rlhf", "vlguard"])
def test_a_broken_reader_is_seen(
    tmp_path: Path, name: str, broken: Callable[[RowReader], RowReader]
) -> None:
    write_media(tmp_path)
    with pytest.raises((AssertionError, IndexError)):
        list(read_mutants(tmp_path, name, broken(READERS[name])))


def test_lines_that_are_lost_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_media(tmp_path)
    monkeypatch.setattr(
        importing, "rows_or_faults", lambda *given: islice(rows_or_faults(*given), 1, None)
    )
    with pytest.raises(AssertionError):
        list(read_mutants(tmp_path, "trl", READERS["trl"]))
