"""Through the models of Argilla's client and back; its server, with Elasticsearch, has no part."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest

from mmrlhf_jobs.annotation.__main__ import main
from mmrlhf_jobs.annotation.self_test import expected
from mmrlhf_jobs.annotation.tasks import Task, read_key
from mmrlhf_jobs.data.queries import write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from tests.jobs.annotation.environments import python_with
from tests.unit.annotation.forms import fill, make_query
from tests.unit.data.builders import save_image

_ADA, _BO, _CY = (str(UUID(int=number)) for number in (1, 2, 3))


def entered(
    task: Task, fields: Mapping[str, object], by: str, status: str = "submitted"
) -> dict[str, object]:
    values = {
        f"{name[0].lower()}_{name[2:]}" if name[1] == "." else name: value
        for name, value in fields.items()
    }
    return {"task_id": task.task_id, "user_id": by, "status": status, "values": values}


def test_round_trip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queries = [make_query(f"q{number}", num_responses=3 + number % 2) for number in range(4)]
    write_queries(queries, str(tmp_path / "queries.jsonl"))
    save_image(tmp_path)
    key_file = tmp_path / "key.jsonl"
    paths = [str(tmp_path / "queries.jsonl"), str(tmp_path / "out"), str(key_file)]
    assert main(["export", "argilla", *paths, "--embed-media"]) == 0
    key = read_key(str(key_file)).values()
    tests = [task for task in key if task.self_test]
    tasks = {task.query.record_id: task for task in key if not task.self_test}
    assert [len(task.slots) for task in tests] == [3, 4]

    tied = fill(tasks["q1"], (1, 1, 3, 4), tie="good", constructed_negative="No.", derived_from="B")
    answers = [
        *(entered(test, expected(test), by) for test in tests for by in (_ADA, _BO)),
        entered(tasks["q0"], fill(tasks["q0"], (2, 3, 1)), _ADA),
        entered(tasks["q0"], fill(tasks["q0"], (1, 2, 3)), _BO, "discarded"),
        entered(tasks["q0"], fill(tasks["q0"], (1, 2, 3)), _CY, "draft"),
        entered(tasks["q1"], tied, _ADA),
        entered(tasks["q3"], fill(tasks["q3"], (1, 2, 3, 4)), _ADA),
        entered(tasks["q3"], {"decision": "reject"}, _CY),
    ]
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    python = python_with("argilla==2.8.0", "requests")  # which it does not declare
    collected = []
    for name in ("3-responses", "4-responses"):
        out = tmp_path / f"{name}.json"
        script = Path(__file__).with_name("argilla_client.py")
        run: list[str | Path] = [
            python,
            "-I",
            script,
            tmp_path / "out" / name,
            tmp_path / "answers.json",
            out,
        ]
        subprocess.run(run, check=True)
        collected += json.loads(out.read_text())
    (tmp_path / "records.json").write_text(json.dumps(collected))

    back = [str(tmp_path / name) for name in ("records.json", "key.jsonl", "ranked.jsonl")]
    capsys.readouterr()
    assert main(["import", "argilla", *back, "--reviewer", _CY]) == 0
    report = json.loads(capsys.readouterr().out)
    records = {record.record_id: record for record in stream_records(Source(back[2]))}
    assert {name: record.ranks for name, record in records.items()} == {
        "q0": (2, 3, 1),
        "q1": (1, 1, 3, 4, 5),
    }
    assert records["q1"].responses[4].derived_from == tasks["q1"].slots[1]
    assert records["q0"].annotations[0].annotator_id == _ADA
    assert report["set_aside"] == {"cancelled": 1, "drafts": 1, "suggestions": 0}
    assert report["unresolved"] == {"rejected": 1}
    assert report["unanswered"] == 1


def test_records_without_a_status_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The client's `records.to_json` mixes drafts with what was submitted."""
    write_queries([make_query()], str(tmp_path / "queries.jsonl"))
    save_image(tmp_path)
    paths = [str(tmp_path / name) for name in ("queries.jsonl", "out", "key.jsonl")]
    assert main(["export", "argilla", *paths, "--embed-media"]) == 0
    records = json.loads((tmp_path / "out" / "3-responses" / "records.json").read_text())
    records[1]["responses"] = {"a_rank": [{"value": 1, "user_id": _ADA}]}
    (tmp_path / "records.json").write_text(json.dumps(records))
    back = [str(tmp_path / name) for name in ("records.json", "key.jsonl", "ranked.jsonl")]
    assert main(["import", "argilla", *back]) == 2
    assert "record.serialize()" in capsys.readouterr().err
