"""Mutations of valid files: what is read of them is a row, a counted reason, or a clear error."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from mmrlhf_jobs.annotation.items import stream_items
from mmrlhf_jobs.data.decoding import UnreadableImageError, decode_image
from mmrlhf_jobs.data.importers.raw_rows import read_rows
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.endpoints.answers import GarbageError, parse_answer
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.drops import Drop
from mmrlhf_jobs.sampling.corpora.reading import READERS
from mmrlhf_jobs.sampling.corpora.rows import RowSettings, cut_rows
from mmrlhf_jobs.sampling.corpora.sources import Corpus, list_splits
from tests.unit.data.builders import IMAGE, make_fields, make_record, save_image
from tests.unit.data.mutants import LINE, MUTANTS, check_length, damaged, survives, twisted
from tests.unit.sampling.corpora import NoDigest, llava

RECORDS = [make_fields(f"r{number}") for number in range(4)]
CORPUS = [
    llava("a", "<image>\nWhat?", "That."),
    {"id": "b", "messages": [{"role": "user", "content": [
        {"type": "image", "image": "b.png"}, {"type": "text", "text": "Which?"}]},
        {"role": "assistant", "content": "This."}]},
    {"question": "What?", "answers": ["a", "b"], "image": {"path": "c.png"}, "options": ["a", "b"]},
    {"texts": [{"user": "What?", "assistant": "That."}], "images": ["d.png"]},
]  # fmt: skip


def mutants(rows: list[dict[str, Any]], form: str, folder: Path) -> Iterator[bytes]:
    """Files of these rows with faults in them; half of them in what the rows hold."""
    rng = random.Random(f"{form} 7")
    for number in range(MUTANTS):
        mine = [twisted(row, rng) if rng.random() < 0.5 else row for row in rows]
        yield packed(mine, form, folder)
        yield damaged(packed(rows if number % 2 else mine, form, folder), rng)


def packed(rows: list[Any], form: str, folder: Path) -> bytes:
    texts = [json.dumps(row).encode() for row in rows]
    match form:
        case "jsonl":
            return b"\n".join(texts) + b"\n"
        case "json":
            return b"[" + b",\n".join(texts) + b"]"
        case "jsonl.gz":
            return gzip.compress(b"\n".join(texts), mtime=0)
        case "parquet":
            write_records([make_record(f"r{n}") for n in range(4)], str(folder / "whole.parquet"))
            return (folder / "whole.parquet").read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as shard:
        for number, text in enumerate(texts):
            for name, content in ((f"{number}.png", IMAGE), (f"{number}.json", text)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read_as_records(path: Path) -> None:
    index, report = scan(Source(str(path)))
    assert report.rows == report.num_records + report.num_invalid + report.tied
    assert index.num_records == report.num_records
    for problem in report.problems:
        check_length(str(problem), path)
    faults = RowFaults()
    records = list(stream_records(Source(str(path)), faults))
    assert faults.rows == len(records) + faults.total == report.rows


def read_as_queries(path: Path) -> None:
    faults = RowFaults()
    queries = list(stream_queries(Source(str(path)), faults))
    assert faults.rows == len(queries) + faults.total


def read_as_pairs(path: Path) -> None:
    row: Any
    for row in read_rows(str(path)):
        if isinstance(row, DataError):
            check_length(str(row), path)
        else:
            assert all(value is not None for value in row.fields.values())


def read_as_corpus(path: Path) -> None:
    (split,) = list_splits([Corpus("corpus", str(path))])
    for raw in READERS[split.format](split, NoDigest()):
        found = list(cut_rows(split, raw, RowSettings()))
        assert found, "a row ends as a candidate or a drop"
        for one in found:
            if isinstance(one, Drop):
                assert one.reason
                check_length(one.message, path)
            else:
                one.question.encode()
                assert one.media


def read_as_items(path: Path) -> None:
    for item in stream_items(str(path)):
        if isinstance(item, RowFault):
            check_length(str(item), path)
        else:
            assert isinstance(item, dict)


@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("read", [read_as_records, read_as_queries, read_as_pairs])
def test_mutants_of_records(tmp_path: Path, form: str, read: Callable[[Path], None]) -> None:
    save_image(tmp_path)
    path = tmp_path / f"x.{form}"
    ends = set()
    for content in mutants(RECORDS, form, tmp_path):
        path.write_bytes(content)
        ends.add(survives(read, path))
    assert True in ends, "mutants must not all be broken as a whole"


@pytest.mark.parametrize("form", ["jsonl", "json", "jsonl.gz", "parquet", "tar"])
def test_mutants_of_corpora(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"
    ends = set()
    for content in mutants(CORPUS, form, tmp_path):
        path.write_bytes(content)
        ends.add(survives(read_as_corpus, path))
    assert True in ends


def test_mutants_of_exports(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for content in mutants(RECORDS, "json", tmp_path):
        path.write_bytes(content)
        survives(read_as_items, path)


def test_mutants_of_answers() -> None:
    rng = random.Random(3)
    choice = {"message": {"role": "assistant", "content": "Two."}, "finish_reason": "stop"}
    whole = {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 1}, "model": "m"}
    for _ in range(10 * MUTANTS):
        body = json.dumps(twisted(whole, rng)).encode()
        if rng.random() < 0.3:
            body = damaged(body, rng)
        try:
            answer = parse_answer(body, {}, request_id="r")
        except GarbageError as error:
            assert len(str(error)) < LINE  # noqa: PT017 - one of two good ends
        else:
            assert isinstance(answer.text, str)


def losing(read: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
    """A reader that passes over the first of what it finds, and of every three."""

    def found(*given: Any) -> Iterator[Any]:
        return (one for place, one in enumerate(read(*given)) if place % 3)

    return found


def careless(body: bytes, *_: Any, **__: Any) -> Any:
    """A reader of answers that takes for granted what they hold."""
    return json.loads(body)["choices"][0]["message"]


BROKEN: Final[list[tuple[str, Any, Callable[[Path], None]]]] = [
    ("stream_records", losing(stream_records),
     lambda folder: test_mutants_of_records(folder, "jsonl", read_as_records)),
    ("stream_queries", losing(stream_queries),
     lambda folder: test_mutants_of_records(folder, "jsonl", read_as_queries)),
    ("cut_rows", losing(cut_rows), lambda folder: test_mutants_of_corpora(folder, "jsonl")),
    ("parse_answer", careless, lambda _: test_mutants_of_answers()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "broken", "look"), BROKEN, ids=[one[0] for one in BROKEN])
def test_a_broken_reader_is_seen(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    broken: Any,
    look: Callable[[Path], None],
) -> None:
    monkeypatch.setattr(f"{__name__}.{name}", broken)
    with pytest.raises((AssertionError, AttributeError, LookupError, TypeError, ValueError)):
        look(tmp_path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_mutants_of_images(form: str) -> None:
    rng = random.Random(form)
    buffer = io.BytesIO()
    noise = Image.frombytes("RGB", (16, 12), random.Random(1).randbytes(16 * 12 * 3))
    noise.save(buffer, form)
    for _ in range(2 * MUTANTS):
        try:
            decode_image(damaged(buffer.getvalue(), rng), max_pixels=1 << 20)
        except UnreadableImageError as error:
            assert error.reason  # noqa: PT017 - one of two good ends
