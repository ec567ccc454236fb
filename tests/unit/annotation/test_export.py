from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mmrlhf_jobs.annotation.__main__ import main
from mmrlhf_jobs.annotation.answers import AnsweredTask
from mmrlhf_jobs.annotation.label_studio.answers import read_label_studio
from mmrlhf_jobs.annotation.label_studio.page import make_page
from mmrlhf_jobs.annotation.tasks import make_task, read_key
from mmrlhf_jobs.data.queries import QueryRecord, write_queries
from tests.unit.annotation.forms import fill, make_query, results
from tests.unit.data.builders import IMAGE, save_image

UI = Path(__file__).with_name("label_studio_1_23.json")


def export(
    folder: Path, *options: str, tool: str = "label-studio", queries: list[QueryRecord]
) -> int:
    write_queries(queries, str(folder / "queries.jsonl"))
    save_image(folder)
    paths = [str(folder / name) for name in ("queries.jsonl", "out", "key.jsonl")]
    return main(["export", tool, *paths, *options])


def read_tasks(folder: Path) -> list[dict[str, Any]]:
    return [task["data"] for task in json.loads((folder / "out" / "tasks-00001.json").read_text())]


def read_one(path: Path) -> AnsweredTask:
    (task,) = read_label_studio(str(path))
    assert isinstance(task, AnsweredTask)
    return task


def test_slots_are_blind_and_a_function_of_seed_and_record() -> None:
    firsts = Counter(
        make_task(make_query(f"q{number}"), seed=0).slots[0][-1] for number in range(600)
    )
    assert all(150 < count < 250 for count in firsts.values())
    query = make_query()
    turned = query.model_copy(update={"responses": query.responses[::-1]})
    assert make_task(query, seed=0).slots == make_task(turned, seed=0).slots
    assert len({make_task(make_query(num_responses=8), seed=seed).slots for seed in range(5)}) == 5


def test_the_tool_learns_nothing_of_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tool in ("label-studio", "argilla"):
        options = ("--media-url", "https://host/media")
        assert export(tmp_path, *options, tool=tool, queries=[make_query()]) == 0
    report = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    assert (report["tasks"], report["self_tests"]) == (1, 1)
    for path in (tmp_path / "out").rglob("*.*"):
        if path.is_file():
            text = path.read_text()
            assert "model-" not in text
            assert "q1-" not in text
    (task,) = read_tasks(tmp_path)[1:]
    assert task["media"] == ["https://host/media/image.png"]
    key = read_key(str(tmp_path / "key.jsonl"))
    assert [one["text"] for one in task["responses"]] == [
        response.text for response in key[task["task_id"]].shown
    ]


def test_local_media_need_a_link_or_go_along(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, queries=[make_query()]) == 2
    assert "--media-url" in capsys.readouterr().err
    assert export(tmp_path, "--embed-media", queries=[make_query()]) == 0
    assert read_tasks(tmp_path)[1]["media"][0].startswith("data:image/png;base64,")
    (tmp_path / "image.png").unlink()
    for option in ("--embed-media", "--media-url=https://host"):
        write_queries([make_query()], str(tmp_path / "queries.jsonl"))
        paths = [str(tmp_path / name) for name in ("queries.jsonl", "out", "key.jsonl")]
        assert main(["export", "label-studio", *paths, option]) == 2
        assert "field media: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([make_query(), make_query()], r"field record_id: record 'q1': the same id as in"),
        ([make_query(num_responses=15)], "at most 14 can be ranked"),
        ([make_query(num_responses=1)], "none of 1 queries has two responses"),
        (
            [
                make_query(
                    responses=[
                        {"response_id": "a", "text": "A."},
                        {"response_id": "b", "text": "B.", "origin": "constructed_positive"},
                    ]
                )
            ],
            r"responses\[1\].origin",
        ),
    ],
)
def test_what_cannot_be_ranked_is_told(
    queries: list[QueryRecord], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, "--embed-media", queries=queries) == 2
    assert re.search(message, capsys.readouterr().err)


def test_queries_with_one_response_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = [make_query("q1"), make_query("q2", num_responses=1)]
    assert export(tmp_path, "--embed-media", queries=queries) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["queries"], report["tasks"], report["too_few_responses"]) == (2, 1, 1)


@pytest.mark.parametrize(("tool", "most"), [("label-studio", 14), ("argilla", 10)])
def test_rows_at_fault_are_left_out_within_their_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str, most: int
) -> None:
    digest = hashlib.sha256(IMAGE[:45]).hexdigest()
    (tmp_path / "cut.png").write_bytes(IMAGE[:45])
    shown: dict[str, Any] = {"media": [{"uri": "cut.png", "sha256": digest}]}
    lost: dict[str, Any] = {"media": [{"uri": "none.png", "sha256": digest}]}
    constructed = [
        {"response_id": "a", "text": "A."},
        {"response_id": "b", "text": "B.", "origin": "constructed_positive"},
    ]
    queries = [
        make_query("good"),
        make_query("cut", **shown),
        make_query("one", num_responses=1),
        make_query("lost", **lost),
        make_query("good"),
        make_query("many", num_responses=most + 1),
        make_query("by people", responses=constructed),
        make_query("most", num_responses=most),
    ]
    options = ("--media-url", "https://host/media", "--max-invalid-fraction")
    write_queries(queries, str(tmp_path / "queries.jsonl"))
    save_image(tmp_path)
    path = tmp_path / "queries.jsonl"
    path.write_bytes(b"{\n" + path.read_bytes())
    paths = [str(tmp_path / name) for name in ("queries.jsonl", "out", "key.jsonl")]
    assert main(["export", tool, *paths, *options, "0.5"]) == 2
    told = capsys.readouterr().err
    assert "6 of 9 rows are invalid, and maxInvalidFraction 0.5 allows 4" in told
    for row in (1, 3, 5, 6, 7, 8):
        assert f"queries.jsonl, row {row}" in told
    assert not (tmp_path / "out").exists(), "nothing is written before all rows are known"
    assert main(["export", tool, *paths, *options, "0.7"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["invalid"] == {
        "schema": 1, "media": 2, "repeated-id": 1, "too-many-responses": 1, "constructed": 1,
    }  # fmt: skip
    left_out = report["too_few_responses"] + sum(report["invalid"].values())
    assert report["rows"] == report["tasks"] + left_out == 9
    key = read_key(str(tmp_path / "key.jsonl")).values()
    tasks = [one for one in key if not one.self_test]
    assert sorted(one.query.record_id for one in tasks) == ["good", "most"]


def test_the_page_asks_for_all_fields_and_has_a_rank_for_each_response() -> None:
    page = ET.fromstring(make_page(4))
    names = {one.get("name") for tag in ("Choices", "TextArea", "Ranker") for one in page.iter(tag)}
    index = "{{idx}}"
    asked = {f"{name}_{index}" for name in ("faithfulness", "helpfulness", "ethics", "reason")}
    assert names == asked | {
        "ranking", "basis", "tie", "constructed_positive", "constructed_negative",
        "derived_from", "question_flag", "decision",
    }  # fmt: skip
    assert [one.get("name") for one in page.iter("Bucket")] == ["rank1", "rank2", "rank3", "rank4"]
    assert len(list(page.iter("Repeater"))) == 1


def test_what_the_page_of_label_studio_submits_is_read() -> None:
    """The file holds what its page submitted, filled in by hand in a browser."""
    task = read_one(UI)
    (answer,) = task.answers
    assert answer.annotator == "1"
    assert answer.seconds == 15.72
    assert answer.fields == {
        "A.rank": "1", "B.rank": "2", "C.rank": "2", "D.rank": "4",
        "A.faithfulness": "1", "A.helpfulness": "2", "A.ethics": "3",
        "B.faithfulness": "2", "B.helpfulness": "3", "B.ethics": "4",
        "C.faithfulness": "3", "C.helpfulness": "4", "C.ethics": "5",
        "D.faithfulness": "4", "D.helpfulness": "5", "D.ethics": "1",
        "A.reason": "reason number 0", "B.reason": "reason number 1",
        "C.reason": "reason number 2", "D.reason": "reason number 3",
        "tie": "good", "derived_from": "B", "basis": "B and C are about as good.",
        "constructed_negative": "An astronaut in a green flight suit.",
    }  # fmt: skip


def test_the_tests_submit_what_the_page_does() -> None:
    (task,) = json.loads(UI.read_text())
    real = {
        one["from_name"]: (one["type"], one["to_name"], list(one["value"]))
        for one in task["annotations"][0]["result"]
    }
    key = make_task(make_query(num_responses=4), seed=0)
    fields = fill(
        key, (1, 2, 2, 4), tie="good", constructed_negative="No.", derived_from="B"
    )  # fmt: skip
    made = {
        one["from_name"]: (one["type"], one["to_name"], list(one["value"]))
        for one in results(fields)
    }
    assert made == real


def test_only_submitted_annotations_are_read(tmp_path: Path) -> None:
    (task,) = json.loads(UI.read_text())
    task["annotations"].append({**task["annotations"][0], "id": 2, "was_cancelled": True})
    task["drafts"] = [{"result": []}]
    task["predictions"] = [{"result": []}]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    read = read_one(path)
    assert len(read.answers) == 1
    assert read.set_aside == {"cancelled": 1, "drafts": 1, "predictions": 1}


@pytest.mark.parametrize("content", ['[{"id": 1, "A.rank": 1}]', '{"id": 1', "[1, 2]"])
def test_another_format_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, "--embed-media", queries=[make_query()]) == 0
    (tmp_path / "export.json").write_text(content)
    paths = [str(tmp_path / name) for name in ("export.json", "key.jsonl", "out.jsonl")]
    assert main(["import", "label-studio", *paths]) == 2
    assert "export.json" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_response_that_is_in_no_bucket_is_not_ranked(tmp_path: Path) -> None:
    (task,) = json.loads(UI.read_text())
    (ranker,) = (one for one in task["annotations"][0]["result"] if one["type"] == "ranker")
    ranker["value"]["ranker"] = {"_": ["B"], "rank1": ["A"], "rank2": ["C", "D"]}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    read = read_one(path)
    ranks = {name: value for name, value in read.answers[0].fields.items() if "rank" in name}
    assert ranks == {"A.rank": "1", "C.rank": "2", "D.rank": "2"}
