"""The ledger of annotate-import: answers in are answers used and answers by reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.annotation.__main__ import main
from mmrlhf_jobs.annotation.answers import AnsweredTask
from mmrlhf_jobs.annotation.label_studio.answers import read_label_studio
from mmrlhf_jobs.annotation.tasks import Task, make_task, write_key
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.row_faults import RowFault
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from tests.unit.annotation.forms import fill, make_query, results

TASKS = [make_task(make_query(name), seed=0) for name in "abcdefgh"]
RANKS = ((2, 1, 3), (3, 1, 2), (1, 3, 2))


def studio(task: Task, *given: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """A task of Label Studio's export; None is a cancelled annotation."""
    data = {
        "task_id": task.task_id,
        "question": task.question,
        "responses": [{"text": response.text} for response in task.shown],
        **changes,
    }
    annotations = [
        {
            "id": place,
            "was_cancelled": fields is None,
            "completed_by": place,
            "created_at": "2026-01-01",
            "result": results(fields or {}),
        }
        for place, fields in enumerate(given, 1)
    ]
    return {"id": 7, "data": data, "annotations": annotations}


def argilla(task: Task, *given: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    """A record of Argilla's client; None is a discarded response."""
    shown = {"question": changes.get("question", task.question)}
    texts = changes.get("responses") or [{"text": one.text} for one in task.shown]
    for letter, text in zip(task.letters, texts, strict=True):
        shown[f"response_{letter.lower()}"] = text["text"]
    responses = []
    for user, fields in enumerate(given, 1):
        for name, value in (fields or {"basis": "x"}).items():
            responses.append(
                {
                    "user_id": str(user),
                    "status": "submitted" if fields else "discarded",
                    "question_name": name.lower().replace(".", "_"),
                    "value": value,
                }
            )
    name = changes.get("task_id", task.task_id)
    record = {"id": "7", "external_id": name, "fields": shown, "suggestions": []}
    return {**record, "responses": responses}


def items(make: Any) -> list[Any]:
    """An export with a fault of each kind, and thirteen answers that count."""
    good = [fill(task, RANKS[place % 3]) for place, task in enumerate(TASKS)]
    a, b, c, d, e, f, g, _ = TASKS
    return [
        make(a, good[0], None),
        make(b, good[1], {**good[1], "basis": "Mine."}),
        make(c, {**good[2], "A.ethics": "9" * 5000}),
        make(d, good[3], None, question="What else?"),
        make(e, good[4], good[4], responses=[{"text": one} for one in "xyz"]),
        make(f),
        make(f, good[5], question=["no", "text"]),
        make(g, good[6]),
        make(g, good[6]),
        make(a, good[0], task_id="unknown" * 200),
        make(a, good[0], task_id=["no", "name"]),
        "no object",
        {"id": 9},
    ]


@pytest.mark.parametrize(("tool", "make"), [("label-studio", studio), ("argilla", argilla)])
def test_answers_in_are_used_or_left_out_by_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: str, make: Any
) -> None:
    write_key(TASKS, str(tmp_path / "key.jsonl"))
    (tmp_path / "export.json").write_text(json.dumps(items(make)))
    paths = [str(tmp_path / name) for name in ("export.json", "key.jsonl", "out.jsonl")]
    again = str(tmp_path / "again.jsonl")
    arguments = ["import", tool, *paths, "--unresolved", again, "--max-invalid-fraction"]
    assert main([*arguments, "0.5"]) == 2
    told = capsys.readouterr().err
    assert "10 of 14 answers break a rule" in told, told
    for part in ("(record d), field question", "(record e), field A.text", "are the same one",
                 "'unknown", "row 12", "row 13", "field A.ethics"):  # fmt: skip
        assert part in told, "all faults are told, the first one does not end the reading"
    assert max(map(len, told.splitlines())) < 500
    assert not (tmp_path / "out.jsonl").exists()

    assert main([*arguments, "0.8"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["reasons"] == {
        "rules": 1, "other-texts": 4, "unknown-task": 2, "repeated-id": 1, "unreadable-row": 2,
    }  # fmt: skip
    assert report["answers"] == report["used"] + report["invalid"] == 14
    assert sum(report["reasons"].values()) == report["invalid"] == 10
    assert report["set_aside"]["cancelled"] == 2
    assert report["unresolved"] == {"invalid": 1, "shown-otherwise": 2}
    resolved = report["records"] + sum(report["unresolved"].values())
    assert resolved + report["unanswered"] == report["tasks"] == len(TASKS)
    records = list(stream_records(Source(str(tmp_path / "out.jsonl"))))
    assert [one.record_id for one in records] == ["a", "b", "g"]
    assert sum(len(one.annotations) for one in records) == report["used"] == 4
    assert [one.record_id for one in stream_queries(Source(again))] == ["c", "d", "e"]


def test_a_field_of_very_many_digits_is_a_fault_of_its_task(tmp_path: Path) -> None:
    made = [studio(task, fill(task, RANKS[0])) for task in TASKS[:2]]
    made[0]["annotations"][0]["result"][0]["from_name"] = "reason_" + "9" * 5000
    (tmp_path / "export.json").write_text(json.dumps(made))
    fault, task = read_label_studio(str(tmp_path / "export.json"))
    assert isinstance(fault, RowFault)
    assert (fault.row, fault.fault) == (1, "unreadable-row")
    assert not isinstance(task, RowFault)


def test_a_target_storage_is_read_as_the_export_is_and_what_is_none_is_told(tmp_path: Path) -> None:
    made = [
        {**studio(task, fill(task, RANKS[0]), fill(task, RANKS[1])), "id": number}
        for number, task in enumerate(TASKS)
    ]
    (tmp_path / "export.json").write_text(json.dumps(made))
    folder = tmp_path / "target"
    folder.mkdir()
    for number, task in enumerate(made):
        shown = {name: value for name, value in task.items() if name != "annotations"}
        for annotation in task["annotations"]:
            name = 10 * annotation["id"] + number  # first all of one annotator, then of the other
            (folder / str(name)).write_text(json.dumps({**annotation, "id": name, "task": shown}))
    (folder / "empty").touch()  # a mark of a folder
    exported, stored = (
        [
            (one.task_id, one.question, one.texts, [told.fields for told in one.answers])
            for one in read_label_studio(str(tmp_path / name))
            if isinstance(one, AnsweredTask)
        ]
        for name in ("export.json", "target")
    )
    assert len(exported) == len(TASKS)
    assert stored == exported
    (folder / "5").write_text(json.dumps({"id": 5, "result": []}))
    (folder / "6").write_text("[]")
    faults = [one for one in read_label_studio(str(folder)) if isinstance(one, RowFault)]
    assert [(Path(one.file or "").name, one.fault) for one in faults] == [
        ("5", "unreadable-row"),
        ("6", "unreadable-row"),
    ]
    assert "target storage" in str(faults[0])
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no annotation is there"):
        list(read_label_studio(str(tmp_path / "none")))


def test_an_export_of_another_kind_is_no_share_of_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(TASKS, str(tmp_path / "key.jsonl"))
    (tmp_path / "export.json").write_text(json.dumps([{"id": n, "A.rank": 1} for n in range(30)]))
    paths = [str(tmp_path / name) for name in ("export.json", "key.jsonl", "out.jsonl")]
    assert main(["import", "label-studio", *paths, "--max-invalid-fraction", "1"]) == 2
    told = capsys.readouterr().err
    assert "choose the format JSON" in told
    assert Counter("choose the format JSON" in line for line in told.splitlines())[True] == 20


def test_answers_that_make_no_record_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_key(TASKS, str(tmp_path / "key.jsonl"))
    made = [studio(task, fill(task, RANKS[place % 3])) for place, task in enumerate(TASKS)]
    made[0]["annotations"][0]["lead_time"] = "long"
    (tmp_path / "export.json").write_text(json.dumps(made))
    paths = [str(tmp_path / name) for name in ("export.json", "key.jsonl", "out.jsonl")]
    assert main(["import", "label-studio", *paths]) == 2
    assert "makes no valid record" in capsys.readouterr().err
    assert main(["import", "label-studio", *paths, "--max-invalid-fraction", "0.2"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["records"], report["used"], report["reasons"]) == (7, 7, {"record": 1})
    assert report["unresolved"] == {"invalid": 1}
