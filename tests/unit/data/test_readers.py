"""One reader of each format, wherever rows come in: records, importers, samplings, questions."""

from __future__ import annotations

import bz2
import codecs
import gzip
import itertools
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.data import jsonl
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.importers.raw_rows import read_rows
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.reading import READERS
from mmrlhf_jobs.sampling.corpora.sources import Corpus, list_splits
from tests.unit.data.builders import make_fields, save_image, write_rows
from tests.unit.sampling.corpora import NoDigest

NAMES = ["a", "b", "c"]
LINES = b"".join(json.dumps(make_fields(name)).encode() + b"\n" for name in NAMES)
ARRAY = json.dumps([make_fields(name) for name in NAMES], indent=1).encode()


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


FORMS: dict[str, bytes] = {
    "mark.jsonl": codecs.BOM_UTF8 + LINES.replace(b"\n", b"\r\n"),
    "marks.jsonl": b"".join(codecs.BOM_UTF8 + line for line in LINES.splitlines(keepends=True)),
    "mark.json": codecs.BOM_UTF8 + ARRAY.replace(b"\n", b"\r\n"),
    "lines.json": LINES,
    "x.jsonl.gz": gzip.compress(LINES[:100]) + gzip.compress(LINES[100:]),
    "x.json.gz": gzip.compress(ARRAY),
    "x.jsonl.bz2": bz2.compress(LINES),
    "x.jsonl.xz": lzma.compress(LINES),
    "x.jsonl.zst": zstandard(LINES),
    "x.ndjson.zst": zstandard(LINES),
}


def records(path: Path) -> Iterator[str]:
    return (record.record_id for record in stream_records(Source(str(path))))


def queries(path: Path) -> Iterator[str]:
    return (query.record_id for query in stream_queries(Source(str(path))))


def imported(path: Path) -> Iterator[str]:
    return (row.fields["record_id"] for row in read_rows(str(path)))


def sampled(path: Path) -> Iterator[str]:
    (split,) = list_splits([Corpus("corpus", str(path))])
    for row in READERS[split.format](split, NoDigest()):
        assert row.content is not None, row.message
        yield row.content["record_id"]


READING: dict[str, Callable[[Path], Iterator[str]]] = {
    "records": records,
    "queries": queries,
    "importers": imported,
    "samplings": sampled,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reading", READING)
def test_a_file_is_read_alike_whoever_reads_it(tmp_path: Path, form: str, reading: str) -> None:
    (tmp_path / form).write_bytes(FORMS[form])
    assert list(READING[reading](tmp_path / form)) == NAMES


@pytest.mark.parametrize("form", FORMS)
def test_epochs_of_any_form_are_those_of_plain_lines(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jsonl, "BLOCK_BYTES", 700)

    def epoch(name: str, content: bytes) -> list[list[str]]:
        save_image(tmp_path)
        (tmp_path / name).write_bytes(content)
        dataset = RankedDataset.open(Source(str(tmp_path / name)))
        batches = dataset.batches(seed=1, epoch=0, batch_size=2)
        return [[record.record_id for record in batch] for batch in batches]

    found = epoch(form, FORMS[form])
    assert sorted(itertools.chain(*found)) == NAMES
    if codecs.BOM_UTF8 not in FORMS[form] and "json" not in form.split(".")[1:2]:
        assert found == epoch("plain.jsonl", LINES)


BAD: dict[str, tuple[bytes, str, str]] = {
    "cut emoji": (b'{"text": "\\ud83d"}', "not-utf8", "lone surrogate"),
    "latin": (b'{"text": "caf\xe9"}', "not-utf8", "not UTF-8"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid-json", "deeply"),
    "deep within Python's limit": (
        b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}",
        "invalid-json",
        "deeply",
    ),
    "key twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "invalid-json", "'c' is there twice"),
    "digits": (b'{"a": ' + b"9" * 5000 + b"}", "invalid-json", "digits"),
    "half": (b'{"a": ', "invalid-json", "not valid JSON"),
    "list": (b"[1]", "invalid-row", "no JSON object"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_line_that_is_no_row_is_told_alike(tmp_path: Path, bad: str) -> None:
    line, reason, message = BAD[bad]
    path = write_rows(tmp_path / "x.jsonl", [make_fields("a"), line, make_fields("b")])
    for reading in (records, queries, imported):
        with pytest.raises(DataError, match=message) as caught:
            list(reading(path))
        assert caught.value.row == 2
        assert len(str(caught.value)) < 300
    (split,) = list_splits([Corpus("corpus", str(path))])
    rows = list(READERS[split.format](split, NoDigest()))
    assert [row.reason for row in rows] == ["", reason, ""]
    assert message in rows[1].message


def test_what_looks_deep_and_is_text_is_read(tmp_path: Path) -> None:
    text = '[{"' * 500 + "\\"
    path = write_rows(tmp_path / "x.jsonl", [make_fields("a", query={"text": text})])
    (record,) = stream_records(Source(str(path)))
    assert record.query.text == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl.gz", gzip.compress(LINES)[:-20], "cannot be unpacked as .gz"),
        ("x.jsonl.gz", LINES, "cannot be unpacked as .gz"),
        ("x.jsonl.zst", zstandard(LINES)[:-9], "cannot be unpacked as .zst"),
        ("x.jsonl.bz2", bz2.compress(LINES)[:-9], "cannot be unpacked as .bz2"),
        ("x.jsonl.xz", lzma.compress(LINES)[:-9], "cannot be unpacked as .xz"),
        ("x.jsonl", LINES.decode().encode("utf-16"), "text in UTF-16"),
        ("x.jsonl", gzip.compress(LINES), "bytes are those of a .gz file; name it so"),
        ("x.json", zstandard(LINES), "bytes are those of a .zst file; name it so"),
        ("x.jsonl", bz2.compress(LINES), "bytes are those of a .bz2 file; name it so"),
        ("x.jsonl", lzma.compress(LINES), "bytes are those of a .xz file; name it so"),
        ("x.jsonl", b"PK\x03\x04" + LINES, "bytes are those of a .zip file; unpack it"),
        ("x.json", b"PAR1" + LINES, "bytes are those of a .parquet file; name it so"),
        ("x.json", ARRAY[:-3], "broken or cut off"),
    ],
)
@pytest.mark.parametrize("reading", READING)
def test_a_file_that_cannot_be_unpacked_is_told(
    tmp_path: Path, reading: str, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        list(READING[reading](tmp_path / name))
    assert caught.value.file == str(tmp_path / name)


def test_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    save_image(tmp_path)
    for name in ("x.jsonl", "._x.jsonl", ".old.jsonl"):
        write_rows(tmp_path / name, [make_fields("a")])
    _, report = scan(Source(str(tmp_path)))
    assert (report.rows, report.hidden_files) == (1, 2)
    hidden: list[str] = []
    (split,) = list_splits([Corpus("corpus", f"{tmp_path}/*.jsonl")], None, hidden.append)
    assert split.relative == "x.jsonl"
    assert len(hidden) in (0, 2)  # patterns may not find them at all
    (named,) = list_data_files(Source(str(tmp_path / "._x.jsonl")))
    assert named.name == "._x.jsonl"


def test_statistics_beside_the_rows_are_no_rows(tmp_path: Path) -> None:
    write_rows(tmp_path / "queries.jsonl", [make_fields("a")])
    (tmp_path / "statistics.json").write_text('{"schema": "other"}')
    assert [file.name for file in list_data_files(Source(str(tmp_path)))] == ["queries.jsonl"]
    (tmp_path / "queries.jsonl").unlink()
    assert [file.name for file in list_data_files(Source(str(tmp_path)))] == ["statistics.json"]


def test_messages_stay_short_whatever_the_row_holds(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        make_fields("a") | {"x" * 100_000: 1},
        make_fields("b", query={"text": ["y" * 1_000_000]}),
        make_fields("c", domain="z" * 1_000_000),
        {str(number): number for number in range(10_000)},
    ]
    path = write_rows(tmp_path / "x.jsonl", rows)
    _, report = scan(Source(str(path)))
    assert report.num_invalid == 4
    assert max(len(str(problem)) for problem in report.problems) < 900


def test_a_parquet_file_of_text_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    """Arrow takes a file's word for it, and Python finds out."""
    fields = make_fields("a")
    bad = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    table = (
        pa.Table.from_pylist([fields]).drop_columns(["record_id"]).append_column("record_id", bad)
    )
    pq.write_table(table, tmp_path / "x.parquet")
    for reading in (records, queries, imported):
        with pytest.raises(DataError, match="not a readable Parquet file"):
            list(reading(tmp_path / "x.parquet"))
