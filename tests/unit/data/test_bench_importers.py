"""Importers of the reward benchmarks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.data.importers.__main__ import main
from mmrlhf_jobs.data.importers.grouping import ImportReport
from mmrlhf_jobs.data.importers.reward_bench import import_reward_bench
from mmrlhf_jobs.data.importers.vl_reward_bench import import_vl_reward_bench
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.rewardbench import bench_query
from tests.unit.data.builders import IMAGE, IMAGE_SHA256, write_rows


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> None:
    for name in ("bench/mcq/1.png", "safety_7.png", "1.png", "video/clip/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(IMAGE)


def pair(better: str, worse: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": 7,
        "image": "bench/mcq/1.png",
        "prompt": "What?",
        "chosen": better,
        "rejected": worse,
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def bench(tmp_path: Path, rows: list[Any]) -> tuple[ImportReport, list[RankedResponse]]:
    out = str(tmp_path / "out.jsonl")
    source = write_rows(tmp_path / "mm_reward_bench.jsonl", rows)
    report = import_reward_bench(str(source), out)
    return report, list(stream_records(Source(out)))


def vl(tmp_path: Path, rows: list[Any]) -> tuple[ImportReport, list[RankedResponse]]:
    out = str(tmp_path / "out.jsonl")
    report = import_vl_reward_bench(str(write_rows(tmp_path / "vl.jsonl", rows)), out)
    return report, list(stream_records(Source(out)))


def categories(records: list[RankedResponse]) -> list[str]:
    return [bench_query(record, [0.0] * len(record.responses)).category for record in records]


def test_pairs_of_the_official_bench_become_queries_of_their_category(tmp_path: Path) -> None:
    rows = [
        pair("A", "B"),
        pair("A", "C"),
        pair("B", "C"),
        pair("x", "y", id=8, image=None, video="video/clip"),
        pair("x", "y", id=9, image="safety_7.png"),
        pair("x", "y", id=10, image="1.png", category="long"),
    ]
    report, records = bench(tmp_path, rows)
    assert categories(records) == ["mcq", "video", "safety", "long"]
    assert [record.source.row_id for record in records if record.source] == ["7", "8", "9", "10"]
    assert report.pairs == report.rows == 6
    assert report.implied_pairs == 0
    assert report.guessed_categories == {"safety": 1}, "only the one that no folder tells"


def test_pairs_that_only_follow_are_told(tmp_path: Path) -> None:
    report, _ = bench(tmp_path, [pair("A", "B"), pair("B", "C")])
    assert (report.rows, report.pairs, report.implied_pairs) == (2, 3, 1)


def test_several_queries_of_one_id_are_told_apart(tmp_path: Path) -> None:
    report, records = bench(tmp_path, [pair("A", "B"), pair("B", "A", prompt="And now?")])
    assert len(records) == 2
    assert report.ids_of_several_queries == 1


def test_a_bench_row_without_a_category_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 2: no category: '1.png' holds none of mcq, long"):
        bench(tmp_path, [pair("A", "B"), pair("A", "B", id=8, image="1.png")])


def test_an_unknown_category_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1, field category: 'maths' is none of mcq"):
        bench(tmp_path, [pair("A", "B", category="maths")])


def ranking(**changes: Any) -> dict[str, Any]:
    fields = {
        "id": "RLAIF-V-1",
        "query": "What is it?",
        "response": ["A cat.", "A dog."],
        "human_ranking": [1, 0],
        "image": "1.png",
        "models": ["m1", "m2"],
        "judge": "gpt-4o",
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not None}


def test_vl_reward_bench_rows_become_records(tmp_path: Path) -> None:
    rows = [
        ranking(),
        ranking(id="mathverse_12", human_ranking=[0, 1], models=None),
        ranking(id="wildvision-battle-3", response=["a", "b", "c"], human_ranking=[0, 2, 0],
                models=["x", "y", "z"]),
        ranking(id="new-4"),
        ranking(id="new-5", category="reasoning"),
    ]  # fmt: skip
    report, records = vl(tmp_path, rows)
    assert categories(records) == [
        "hallucination", "reasoning", "general", "general", "reasoning",
    ]  # fmt: skip
    assert [record.ranks for record in records[:3]] == [(2, 1), (1, 2), (1, 3, 1)]
    assert [one.model.name for one in records[2].responses if one.model] == ["x", "y", "z"]
    assert report.pairs == 6
    assert report.guessed_categories == {"general": 1}
    assert report.ignored_fields == {"judge": 5}


def test_vl_reward_bench_is_read_from_parquet_with_images_inside(tmp_path: Path) -> None:
    rows = [ranking(image={"bytes": IMAGE, "path": None})]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    out = tmp_path / "out.parquet"
    assert main(["vl-reward-bench", str(tmp_path / "test.parquet"), str(out)]) == 0
    (record,) = stream_records(Source(str(out)))
    assert record.media_sha256s == (IMAGE_SHA256,)
    assert (tmp_path / str(record.media[0].uri)).read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"human_ranking": [0]}, "field human_ranking: has 1 places for 2 responses"),
        ({"human_ranking": [0.5, 1]}, "field human_ranking: must be a list of int"),
        ({"human_ranking": [True, False]}, "field human_ranking: must be a list of int"),
        ({"response": "A cat."}, "field response: must be a list of str"),
        ({"response": ["A cat."], "human_ranking": [0], "models": None}, "makes no valid record"),
        ({"response": ["A.", "A. "]}, "same text as response"),
        ({"models": ["m1"]}, "field models: has 1 names for 2 responses"),
        ({"image": "2.png"}, "media file does not exist"),
        ({"image": None}, "needs at least one image"),
        ({"id": None}, "field id: is missing"),
        ({"query": "<image>"}, "field query: is empty"),
        ({"category": "maths"}, "field category: 'maths' is none of general"),
    ],
)
def test_wrong_vl_reward_bench_rows_are_told(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        vl(tmp_path, [ranking(id="mmmu-9"), ranking(**changes)])
    assert caught.value.row == 2
    assert not (tmp_path / "out.jsonl").exists()


def test_the_same_row_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 2, field id: same id, query and image as row 1"):
        vl(tmp_path, [ranking(), ranking()])


def test_a_bench_of_the_paper_s_composition_keeps_its_numbers(tmp_path: Path) -> None:
    """46 queries and 170 pairs, in any order of rows."""
    sizes = {"mcq": [6, 6, 6, 6, 3, 3, 3, 3, 3, 3], "safety": [6, 6, 5, 5, 5, 5]}
    rows = []
    for category, pairs in sizes.items():
        for number, size in enumerate(pairs):
            n = 3 if size == 3 else 4
            couples = [(i, j) for i in range(n) for j in range(i + 1, n)][-size:]
            rows += [
                pair(f"r{i}", f"r{j}", id=f"{category}{number}", category=category)
                for i, j in couples
            ]
    report, records = bench(tmp_path, rows[::-1])
    assert Counter(categories(records)) == {"mcq": 10, "safety": 6}
    assert report.pairs == 42 + 32
    json.dumps(report.to_dict())
