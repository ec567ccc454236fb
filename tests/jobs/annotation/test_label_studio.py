"""Through a real Label Studio and back, by the command line on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.annotation.__main__ import main
from mmrlhf_jobs.annotation.self_test import expected
from mmrlhf_jobs.annotation.tasks import Task, read_key
from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.validation import validate
from tests.jobs.annotation.label_studio import LabelStudio, run_label_studio
from tests.unit.annotation.forms import fill, make_query, results
from tests.unit.data.builders import save_image


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with run_label_studio(tmp_path_factory.mktemp("label-studio") / "data") as server:
        yield server


class Person:
    """Somebody who submits annotations."""

    def __init__(self, studio: LabelStudio, name: str, numbers: Mapping[str, int]) -> None:
        self.id, self._token = studio.add_user(name)
        self._studio = studio
        self._numbers = numbers

    def submit(self, task: Task, fields: Mapping[str, object], **more: object) -> None:
        path = f"/api/tasks/{self._numbers[task.task_id]}/annotations"
        content = {"result": results(fields), "lead_time": 12.5, **more}
        self._studio.call("POST", path, content, token=self._token)


def test_round_trip(
    studio: LabelStudio, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = [make_query(f"q{number}", num_responses=3 + number % 3) for number in range(7)]
    write_queries(queries, str(tmp_path / "queries.jsonl"))
    save_image(tmp_path)
    folder, key_file = str(tmp_path / "out"), str(tmp_path / "key.jsonl")
    exported = [str(tmp_path / "queries.jsonl"), folder, key_file]
    assert main(["export", "label-studio", *exported, "--embed-media"]) == 0

    project = studio.create_project((tmp_path / "out" / "page.xml").read_text())
    studio.load(project, json.loads((tmp_path / "out" / "tasks-00001.json").read_text()))
    key = read_key(key_file)
    numbers = studio.tasks(project)
    assert set(numbers) == set(key)
    first, second, reviewer = (Person(studio, name, numbers) for name in ("ada", "bo", "cy"))
    test, *tasks = sorted(key.values(), key=lambda task: (not task.self_test, task.query.record_id))

    honest = dict(expected(test)) | {
        **{f"{letter}.reason": "It says so." for letter in test.letters},
        "basis": "They say so.",
        "tie": "mixed",
    }
    for person in (first, second):
        person.submit(test, honest)
    # q0 by one, q1 tied and poor, q2 by two, q3 contradictory, q4 revised, q5 cancelled, q6 open.
    first.submit(tasks[0], fill(tasks[0], (2, 3, 1), [(1, 2, 3), (4, 5, 1), (2, 3, 4)]))
    first.submit(
        tasks[1],
        fill(tasks[1], (1, 1, 1, 1), tie="poor", constructed_positive="It is a seven. <3>"),
    )
    first.submit(tasks[2], fill(tasks[2], (1, 2, 3, 4, 5)))
    second.submit(tasks[2], fill(tasks[2], (2, 1, 3, 4, 5)))
    first.submit(tasks[3], fill(tasks[3], (1, 2, 3)))
    second.submit(tasks[3], fill(tasks[3], (3, 1, 2)))
    first.submit(tasks[4], fill(tasks[4], (1, 2, 3, 4)))
    revised = fill(
        tasks[4], (1, 1, 3, 4), tie="good", constructed_negative="Neun.", derived_from="C"
    )
    reviewer.submit(tasks[4], {**revised, "decision": "revise"})
    first.submit(tasks[5], fill(tasks[5], (1, 2, 3, 4, 5)), was_cancelled=True)

    (tmp_path / "export.json").write_bytes(studio.export(project))
    back = [str(tmp_path / name) for name in ("export.json", "key.jsonl", "ranked.jsonl")]
    unresolved = str(tmp_path / "again.jsonl")
    capsys.readouterr()
    options = ["--reviewer", reviewer.id, "--unresolved", unresolved]
    assert main(["import", "label-studio", *back, *options]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    records = {record.record_id: record for record in stream_records(Source(back[2]))}

    assert {name: record.ranks for name, record in records.items()} == {
        "q0": (2, 3, 1),
        "q1": (2, 2, 2, 2, 1),
        "q2": (1, 1, 3, 4, 5),
        "q4": (1, 1, 3, 4, 5),
    }
    for query in queries:
        if query.record_id in records:
            record = records[query.record_id]
            given = record.responses[: len(query.responses)]
            assert [(one.response_id, one.text, one.model) for one in given] == [
                (one.response_id, one.text, one.model) for one in query.responses
            ]
    scores = [one.scores for one in records["q0"].responses]
    assert [one and (one.faithfulness, one.helpfulness, one.ethics) for one in scores] == [
        (1, 2, 3), (4, 5, 1), (2, 3, 4),
    ]  # fmt: skip
    positive = records["q1"].responses[4]
    assert (positive.origin, positive.text) == ("constructed_positive", "It is a seven. <3>")
    negative = records["q4"].responses[4]
    assert (negative.text, negative.derived_from) == ("Neun.", tasks[4].slots[2])
    assert [one.role for one in records["q4"].annotations] == ["annotator", "reviewer"]
    assert records["q4"].annotations[0].annotator_id == first.id
    assert records["q4"].annotations[0].seconds == 12.5
    assert {name: one.tie for name, one in records.items()} == {
        "q0": "none", "q1": "poor", "q2": "mixed", "q4": "good",
    }  # fmt: skip

    assert report["tasks"] == 7
    assert report["unanswered"] == 2
    assert report["unresolved"] == {"contradictory": 1}
    assert report["methods"] == {"majority": 1, "reviewer": 1, "single": 2}
    assert report["set_aside"]["cancelled"] == 1
    assert report["self_tests"] == {"passed": 2, "unanswered": 1}
    assert [query.record_id for query in stream_queries(Source(unresolved))] == ["q3"]
    assert validate(Source(back[2])).pairs == report["pairs"]

    # What it writes while people annotate holds the same, an object an annotation.
    stored = studio.write_storage(project)
    assert len(list(stored.iterdir())) == 11
    there = [str(stored), key_file, str(tmp_path / "stored.jsonl")]
    assert main(["import", "label-studio", *there, *options]) == 0
    assert Path(there[2]).read_bytes() == Path(back[2]).read_bytes()

    studio.call("DELETE", f"/api/tasks/{numbers[tasks[0].task_id]}")
    data = studio.call("GET", f"/api/tasks/{numbers[tasks[1].task_id]}")["data"]
    data["responses"][0], data["responses"][1] = (
        {**data["responses"][0], "text": data["responses"][1]["text"]},
        {**data["responses"][1], "text": data["responses"][0]["text"]},
    )
    studio.call("PATCH", f"/api/tasks/{numbers[tasks[1].task_id]}", {"data": data})
    (tmp_path / "export.json").write_bytes(studio.export(project))
    assert main(["import", "label-studio", *back]) == 2
    assert "(record q1), field A.text: another text was shown" in capsys.readouterr().err
