"""The ledger of imports and exports: rows in are rows that are used and rows by reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api.steps.records import QUERY_FORMATS
from mmrlhf_jobs.data.exporters.exporting import export_records
from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.registry import READERS
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import make_fields, save_image, write_rows
from tests.unit.data.public_files import FILES, write_media


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> None:
    write_media(tmp_path)


def bring_in(source: Path, name: str, **options: Any) -> ImportReport:
    out = str(source.parent / "out.jsonl")
    chosen: dict[str, Any] = {"max_invalid_fraction": 0.95, **options}
    report = import_rows(READERS[name], str(source), out, ImportOptions(**chosen))
    assert report.rows == report.used + report.unused_ties + sum(report.left_out.values())
    return report


@pytest.mark.parametrize("name", READERS)
def test_rows_of_every_format(tmp_path: Path, name: str) -> None:
    good = [_as_json(row) for row in FILES[name][1]]
    odd: list[Any] = [b"{", {"nothing": "of it"}, b"", b"[1]", {**good[0], "image": "gone.png"}]
    odd[-1] |= {"images": ["gone.png"]}
    report = bring_in(write_rows(tmp_path / "x.jsonl", [*odd, *good]), name)
    assert report.rows == len(odd) - 1 + len(good)
    assert report.used == len(good)
    assert report.left_out["unreadable-row"] == 2
    out = Source(str(tmp_path / "out.jsonl"))
    made = list(stream_queries(out) if name in QUERY_FORMATS else stream_records(out))
    assert report.records == len(made) > 0


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {
        "id": prompt, "image": "image.png", "prompt": f"<image>\n{prompt}", "chosen": chosen,
        "rejected": rejected, **more,
    }  # fmt: skip


PAIRS = [
    pair("order", "a", "b"),
    pair("order", "b", "c"),
    pair("order", "a", "b"),
    pair("order", "c", "d", is_tie=True),
    pair("open", "a", "b"),
    pair("open", "c", "d"),
    pair("against", "a", "b"),
    pair("against", "b", "a"),
    pair("same", "a", " a"),
    pair("equal", "a", "b", is_tie=True),
    *(pair("many", f"a{number}", f"b{number}") for number in range(9)),
    pair("many", "a1", "b2", is_tie=True),
]


@pytest.mark.parametrize(
    ("incomplete", "used", "ties", "left_out"),
    [
        ("fail", 5, 0, {"open-ranks": 2, "contradiction": 2, "same-texts": 1,
                        "too-many-responses": 10}),
        ("infer", 7, 0, {"contradiction": 2, "same-texts": 1, "too-many-responses": 10}),
        ("exact", 15, 2, {"contradiction": 2, "same-texts": 1}),
    ],
)  # fmt: skip
def test_rows_of_groups_of_pairs(
    tmp_path: Path, incomplete: str, used: int, ties: int, left_out: dict[str, int]
) -> None:
    path = write_rows(tmp_path / "x.jsonl", PAIRS)
    report = bring_in(path, "dpo-pairs", incomplete=incomplete)
    assert (report.rows, report.used, report.unused_ties) == (len(PAIRS), used, ties)
    assert report.left_out == left_out
    assert (report.tied_rows, report.repeated_pairs) == (3, 1)


def test_rows_of_several_files_are_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (ranking,) = FILES["mm-rlhf"][1]
    write_media(folder)
    for name in "ab":
        write_rows(folder / f"{name}.jsonl", [ranking])
    report = bring_in(folder, "mm-rlhf", media_root=str(folder))
    assert report.left_out == {"repeated-id": 1}, "the same row of another file"
    for name, (chosen, rejected) in {"a": ("x", "y"), "b": ("y", "x")}.items():
        write_rows(folder / f"{name}.jsonl", [pair("q", chosen, rejected), pair(name, "x", "y")])
    report = bring_in(folder, "dpo-pairs", media_root=str(folder))
    assert report.left_out == {"contradiction": 2}
    with pytest.raises(DataError, match=r"pairs of rows 1, 1 of b\.jsonl contradict each other"):
        bring_in(folder, "dpo-pairs", media_root=str(folder), max_invalid_fraction=0.0)
    for name in "ab":
        write_rows(folder / f"{name}.jsonl", [pair("q", "x", "y")])
    assert bring_in(folder, "dpo-pairs", media_root=str(folder)).repeated_pairs == 1


def test_questions_that_differ_in_nothing_that_counts_are_one(tmp_path: Path) -> None:
    rows = [pair("caf\u00e9", "a", "b", id=1), pair("cafe\u0301", "a", "b", id=1)]
    report = bring_in(write_rows(tmp_path / "x.jsonl", rows), "dpo-pairs")
    assert (report.used, report.left_out) == (1, {"repeated-id": 1})


def test_a_row_with_no_question_is_not_lost(tmp_path: Path) -> None:
    good, *_ = FILES["vlguard"][1]
    rows = [good, {**good, "id": "none", "instr-resp": []}]
    report = bring_in(write_rows(tmp_path / "x.jsonl", rows), "vlguard")
    assert (report.used, report.left_out) == (1, {"field": 1})


def test_half_a_character_within_a_text_of_json_is_a_fault(tmp_path: Path) -> None:
    said = json.dumps([{"role": "user", "content": "Which \ud83d?"}])
    answers = {"chosen": "It is a 7.", "rejected": "It is a 1."}
    rows = [FILES["trl"][1][0], {"prompt": said, **answers}]
    report = bring_in(write_rows(tmp_path / "x.jsonl", rows), "trl")
    assert (report.used, report.left_out) == (1, {"unreadable-row": 1})


def test_a_file_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="there are no rows"):
        bring_in(tmp_path / "x.jsonl", "trl")
    assert not (tmp_path / "out.jsonl").exists()


def scored(name: str, ranks: Sequence[int] = (1, 2), **changes: Any) -> dict[str, Any]:
    """A record whose ranks follow from its scores, which are all that some formats have."""
    record = make_fields(name, ranks, **changes)
    for response, rank in zip(record["responses"], ranks, strict=True):
        score = 6 - 2 * rank
        response["scores"] = dict.fromkeys(("faithfulness", "helpfulness", "ethics"), score)
    return record


def records(*more: Any) -> Sequence[Any]:
    two = scored("two", media=make_fields()["media"] * 2)
    return [scored("good"), b"{", b"", scored("tie", (1, 1)), two, *more]


@pytest.mark.parametrize("name", WRITERS)
def test_rows_of_exports(tmp_path: Path, name: str) -> None:
    save_image(tmp_path)
    source = Source(str(write_rows(tmp_path / "x.jsonl", records(b"[]"))))
    out = tmp_path / "x.json"
    with pytest.raises(DataError, match=r"of 5 records cannot be exported, and") as caught:
        export_records(WRITERS[name], source, str(out), max_invalid_fraction=0.2)
    assert "x.jsonl, row 2" in str(caught.value)
    assert "x.jsonl, row 6" in str(caught.value)
    assert not out.exists()
    report = export_records(WRITERS[name], source, str(out), max_invalid_fraction=0.9)
    assert report.left_out["schema"] == 2
    written = len(json.loads(out.read_text()))
    assert report.rows == written >= 1
    used = report.records - report.records_without_pairs - sum(report.left_out.values())
    # Of these records each has one pair, or one ranking.
    assert (report.records, used) == (5, written)


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    """The row with a file in the place of bytes, which JSON cannot hold."""
    return {name: "image.png" if _has_bytes(value) else value for name, value in row.items()}


def _has_bytes(value: Any) -> bool:
    return isinstance(value, bytes) or (isinstance(value, dict) and _has_bytes(value.get("bytes")))
